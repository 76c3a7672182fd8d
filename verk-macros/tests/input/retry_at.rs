#[verk::worker(retry_at = backoff::tomorrow)]
async fn retry(count: u32) -> anyhow::Result<()> {
    Ok(())
}
