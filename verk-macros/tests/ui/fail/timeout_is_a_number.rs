#[verk::worker(timeout = 30)]
async fn import(path: String) {
    drop(path);
}

fn main() {}
