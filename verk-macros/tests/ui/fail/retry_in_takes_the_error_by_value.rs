fn after(_attempt: u32, _error: String) -> verk::RetryIn {
    verk::RetryIn::Default
}

#[verk::worker(retry_in = after)]
async fn import() -> Result<(), String> {
    Ok(())
}

fn main() {}
