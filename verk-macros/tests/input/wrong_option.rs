#[verk::worker(queu = "low", timeout = "30")]
async fn import(path: String) {}
