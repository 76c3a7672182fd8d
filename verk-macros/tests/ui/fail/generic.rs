#[verk::worker]
async fn import<T: Send>(path: T) {
    drop(path);
}

fn main() {
    let _ = Import::enqueue("a");
}
