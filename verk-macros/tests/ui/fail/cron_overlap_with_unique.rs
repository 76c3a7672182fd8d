#[verk::worker(unique, cron("0 7 * * *", overlap = "skip"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
