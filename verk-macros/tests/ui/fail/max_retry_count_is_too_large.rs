#[verk::worker(max_retry_count = 4294967296)]
async fn import(path: String) {
    drop(path);
}

fn main() {}
