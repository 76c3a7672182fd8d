#[verk::worker(unique, cron("0 7 * * *", catch_up = "all"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
