#[verk::worker(max_retry_count = -1)]
async fn import(path: String) {
    drop(path);
}

fn main() {}
