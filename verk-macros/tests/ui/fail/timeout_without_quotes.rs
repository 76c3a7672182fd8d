#[verk::worker(timeout = 30s)]
async fn import(path: String) {
    drop(path);
}

fn main() {}
