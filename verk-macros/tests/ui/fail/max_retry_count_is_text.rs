#[verk::worker(max_retry_count = "5")]
async fn import(path: String) {
    drop(path);
}

fn main() {}
