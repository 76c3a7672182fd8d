use verk::JobContext;

#[verk::worker]
async fn import(ctx: &JobContext) {
    let _ = ctx;
}

fn main() {
    let _ = Import::new();
}
