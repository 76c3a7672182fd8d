#[verk::worker(cron(every = "10m", tz = "UTC"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
