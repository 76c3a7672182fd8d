#[verk::worker]
async fn import() -> impl Clone {
    5
}

fn main() {
    let _ = Import::new();
}
