#[verk::worker(retry_at = "later")]
async fn import(path: String) {
    drop(path);
}

fn main() {}
