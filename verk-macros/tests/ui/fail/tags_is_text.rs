#[verk::worker(tags = "mail")]
async fn import(path: String) {
    drop(path);
}

fn main() {}
