#[verk::worker]
async fn import(path: String, _: ...) {
    drop(path);
}

fn main() {
    let _ = Import::enqueue("a");
}
