#[verk::worker(cron("0 7 * * *", name = "a"), cron("0 8 * * *", name = "a"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
