#[verk::worker(unique(by = (), debounce = "5s", max_wait = "1m"), queue = "low")]
async fn index(document: u64) {}
