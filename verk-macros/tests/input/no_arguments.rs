#[verk::worker]
async fn sweep() {}
