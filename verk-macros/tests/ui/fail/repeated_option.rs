#[verk::worker(queue = "low", queue = "high")]
async fn import(path: String) {
    drop(path);
}

fn main() {}
