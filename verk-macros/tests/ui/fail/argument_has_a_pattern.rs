#[verk::worker]
async fn import((path, line): (String, u32)) {
    drop((path, line));
}

fn main() {
    let _ = Import::new((String::new(), 1));
}
