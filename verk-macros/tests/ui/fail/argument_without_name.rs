#[verk::worker]
async fn import(_: String) {}

fn main() {
    let _ = Import::new(String::new());
}
