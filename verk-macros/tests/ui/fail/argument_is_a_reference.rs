#[verk::worker]
async fn import(path: &str) {
    let _ = path;
}

fn main() {
    let _ = Import::enqueue("a");
}
