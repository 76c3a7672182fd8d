#[verk::worker(timeout = "3 fortnights")]
async fn import(path: String) {
    drop(path);
}

fn main() {}
