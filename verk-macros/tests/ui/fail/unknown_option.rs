#[verk::worker(queu = "low")]
async fn import(path: String) {
    drop(path);
}

fn main() {
    let _ = Import::enqueue("a");
}
