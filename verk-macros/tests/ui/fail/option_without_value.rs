#[verk::worker(dead)]
async fn import(path: String) {
    drop(path);
}

fn main() {}
