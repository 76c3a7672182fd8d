#[verk::worker(cron("0 7 * * MONDAY-FRI"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
