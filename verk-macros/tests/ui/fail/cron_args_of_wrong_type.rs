#[verk::worker(cron("0 7 * * *", args = ("seven",)))]
async fn report(user: u64) {
    let _ = user;
}

fn main() {}
