#[verk::worker(cron)]
async fn report() {}

fn main() {
    let _ = Report::new();
}
