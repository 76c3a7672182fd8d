#[verk::worker(cron("0 7 * * *", every = "10m"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
