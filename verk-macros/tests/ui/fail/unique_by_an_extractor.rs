#[verk::worker(unique(by = ctx))]
async fn sync_all(user: u64, kind: String, ctx: verk::JobContext) {
    drop((user, kind, ctx));
}

fn main() {
    let _ = SyncAll::new(1, "full");
}
