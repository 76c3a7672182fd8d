#[verk::worker]
async fn import(path: String) {
    drop(path);
}

async fn enqueue() {
    let _ = Import::enqueue(42).await;
}

fn main() {
    drop(enqueue());
}
