#[verk::worker(retries = 3)]
async fn import() {}

fn main() {}
