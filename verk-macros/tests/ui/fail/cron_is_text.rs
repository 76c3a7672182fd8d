#[verk::worker(cron = "0 7 * * *")]
async fn report() {}

fn main() {
    let _ = Report::new();
}
