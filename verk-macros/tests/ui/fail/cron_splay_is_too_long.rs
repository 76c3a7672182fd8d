#[verk::worker(cron(every = "10m", splay = "10m"))]
async fn report() {}

fn main() {
    let _ = Report::new();
}
