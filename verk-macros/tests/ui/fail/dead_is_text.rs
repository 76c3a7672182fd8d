#[verk::worker(dead = "false")]
async fn import(path: String) {
    drop(path);
}

fn main() {}
