#[verk::worker(cron("0 7 * * *", tz = "Europe/Berln"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
