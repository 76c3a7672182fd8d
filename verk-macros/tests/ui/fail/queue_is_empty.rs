#[verk::worker(queue = "")]
async fn import(path: String) {
    drop(path);
}

fn main() {}
