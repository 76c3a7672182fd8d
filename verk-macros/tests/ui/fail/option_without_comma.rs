#[verk::worker(queue = "low" dead = true)]
async fn import(path: String) {
    drop(path);
}

fn main() {}
