#[verk::worker(cron("0 0 31 2 *"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
