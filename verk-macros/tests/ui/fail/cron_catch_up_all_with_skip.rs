#[verk::worker(cron("0 7 * * *", overlap = "skip", catch_up = "all"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
