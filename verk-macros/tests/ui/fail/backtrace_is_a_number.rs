#[verk::worker(backtrace = 1)]
async fn import(path: String) {
    drop(path);
}

fn main() {}
