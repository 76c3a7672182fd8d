#[verk::worker(cron("0 7 * * *", overlap = "skp"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
