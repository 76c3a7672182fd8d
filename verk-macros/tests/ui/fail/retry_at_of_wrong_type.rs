fn at(failures: u32) -> u32 {
    failures
}

#[verk::worker(retry_at = at)]
async fn import(path: String) {
    drop(path);
}

fn main() {}
