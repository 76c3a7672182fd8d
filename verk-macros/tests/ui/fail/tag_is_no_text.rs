#[verk::worker(tags = ["mail", 5])]
async fn import(path: String) {
    drop(path);
}

fn main() {}
