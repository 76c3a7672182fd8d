#[verk::worker(every = 10)]
async fn report() {}

fn main() {
    let _ = Report::new();
}
