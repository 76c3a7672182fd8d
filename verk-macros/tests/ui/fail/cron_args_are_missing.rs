#[verk::worker(cron("0 7 * * *"))]
async fn report(user: u64, kind: String) {
    let _ = (user, kind);
}

fn main() {}
