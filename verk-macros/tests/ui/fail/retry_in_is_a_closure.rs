#[verk::worker(retry_in = |_, _| RetryIn::Kill)]
async fn import(path: String) {
    drop(path);
}

fn main() {}
