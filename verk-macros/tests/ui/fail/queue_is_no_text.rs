#[verk::worker(queue = low)]
async fn import(path: String) {
    drop(path);
}

fn main() {}
