#[verk::worker(queue = "two\nlines")]
async fn import(path: String) {
    drop(path);
}

fn main() {}
