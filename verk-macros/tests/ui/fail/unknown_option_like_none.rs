#[verk::worker(wibble = 5)]
async fn import(path: String) {
    drop(path);
}

fn main() {
    let _ = Import::enqueue("a");
}
