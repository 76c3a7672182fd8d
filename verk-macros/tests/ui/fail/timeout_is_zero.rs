#[verk::worker(timeout = "0s")]
async fn import(path: String) {
    drop(path);
}

fn main() {}
