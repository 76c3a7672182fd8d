#[verk::worker]
async fn import<'a>(path: String) {
    drop(path);
}

fn main() {
    let _ = Import::enqueue("a");
}
