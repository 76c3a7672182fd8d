#[verk::worker(cron("0 7 * * *", within = 60))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
