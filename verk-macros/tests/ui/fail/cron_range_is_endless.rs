#[verk::worker(cron("0 0 1--100000000 * *"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
