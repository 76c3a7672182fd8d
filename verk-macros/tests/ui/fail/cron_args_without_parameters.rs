#[verk::worker(cron("0 7 * * *", args = (1,)))]
async fn report(_tick: verk::cron::Tick) {}

fn main() {}
