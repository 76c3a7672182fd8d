#[verk::worker]
async fn import(path: Option<&str>) {
    let _ = path;
}

fn main() {
    let _ = Import::new(Some("a"));
}
