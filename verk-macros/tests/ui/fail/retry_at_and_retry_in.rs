use std::time::SystemTime;

use verk::RetryIn;

fn at(failed_at: SystemTime, _failures: u32) -> SystemTime {
    failed_at
}

fn after(_attempt: u32, _error: &String) -> RetryIn {
    RetryIn::Default
}

#[verk::worker(retry_at = at, retry_in = after)]
async fn import() -> Result<(), String> {
    Ok(())
}

fn main() {
    let _ = at;
}
