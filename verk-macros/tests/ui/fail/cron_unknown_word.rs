#[verk::worker(cron("0 7 * * *", timezone = "UTC"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
