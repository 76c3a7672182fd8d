#[verk::worker]
async fn import(#[arg] #[extract] ctx: verk::JobContext) {
    drop(ctx);
}

fn main() {}
