#[verk::worker]
async fn import(paths: &[String]) {
    let _ = paths;
}

fn main() {
    let _ = Import::new(&[]);
}
