#[verk::worker(unique(throttle = "0s"))]
async fn sync_all(user: u64, kind: String) {
    drop((user, kind));
}

fn main() {
    let _ = SyncAll::new(1, "full");
}
