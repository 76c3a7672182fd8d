#[verk::worker(class = "")]
async fn import(path: String) {
    drop(path);
}

fn main() {}
