#[verk::worker]
async fn import(path: String)
where
    String: Clone,
{
    drop(path);
}

fn main() {
    let _ = Import::enqueue("a");
}
