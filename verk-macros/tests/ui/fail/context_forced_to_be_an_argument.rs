#[verk::worker]
async fn import(#[arg] ctx: verk::JobContext) {
    drop(ctx);
}

fn main() {}
