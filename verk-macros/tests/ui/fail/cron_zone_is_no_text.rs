#[verk::worker(cron("0 7 * * *", tz = Berlin))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
