#[verk::worker(crate = "my verk")]
async fn import(path: String) {
    drop(path);
}

fn main() {}
