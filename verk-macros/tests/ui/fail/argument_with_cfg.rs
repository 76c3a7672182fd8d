#[verk::worker]
async fn import(#[cfg(unix)] path: String) {
    drop(path);
}

fn main() {}
