fn after(_attempt: u32, _error: &String) -> u32 {
    5
}

#[verk::worker(retry_in = after)]
async fn import() -> Result<(), String> {
    Ok(())
}

fn main() {}
