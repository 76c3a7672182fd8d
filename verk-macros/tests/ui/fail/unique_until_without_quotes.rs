#[verk::worker(unique(until = done))]
async fn sync_all(user: u64, kind: String) {
    drop((user, kind));
}

fn main() {
    let _ = SyncAll::new(1, "full");
}
