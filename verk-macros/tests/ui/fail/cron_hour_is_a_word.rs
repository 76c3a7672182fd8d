#[verk::worker(cron("0 noon * * *"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
