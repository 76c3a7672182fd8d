#[verk::worker(retry = false)]
async fn import() {}

fn main() {}
