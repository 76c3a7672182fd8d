use std::error::Error;

#[verk::worker]
async fn import() -> Result<(), Box<dyn Error>> {
    Ok(())
}

fn main() {}
