#[verk::worker(cron("0 7 * * *", within = "0s"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
