#[verk::worker(cron("0 7 * * *", args = (1, 2)))]
async fn report(user: u64, _tick: verk::cron::Tick) {
    let _ = user;
}

fn main() {}
