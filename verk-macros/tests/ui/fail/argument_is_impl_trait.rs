#[verk::worker]
async fn import(path: impl Into<String> + Send) {
    drop(path.into());
}

fn main() {
    let _ = Import::enqueue("a");
}
