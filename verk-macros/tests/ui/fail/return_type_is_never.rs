#[verk::worker]
async fn import() -> ! {
    panic!()
}

fn main() {
    let _ = Import::new();
}
