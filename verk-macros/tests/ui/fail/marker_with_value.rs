#[verk::worker]
async fn import(#[extract(now)] ctx: verk::JobContext) {
    drop(ctx);
}

fn main() {}
