#[verk::worker]
async fn import() -> Result<(), impl std::error::Error> {
    Err(std::fmt::Error)
}

fn main() {
    let _ = Import::new();
}
