#[verk::worker(every = "10m")]
async fn report(user: u64) {
    let _ = user;
}

fn main() {}
