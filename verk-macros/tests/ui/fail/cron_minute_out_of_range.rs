#[verk::worker(cron("61 7 * * *"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
