#[verk::worker(unique(by = (user, kind, user)))]
async fn sync_all(user: u64, kind: String) {
    drop((user, kind));
}

fn main() {
    let _ = SyncAll::new(1, "full");
}
