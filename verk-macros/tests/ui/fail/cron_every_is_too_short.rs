#[verk::worker(every = "10ms")]
async fn report() {}

fn main() {
    let _ = Report::new();
}
