#[verk::worker(cron("0 7 * * *", catch_up = "lats"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
