use verk::prelude::*;
struct PgPool;

#[verk::worker]
async fn import(State(pool): State<PgPool>) {
    drop(pool);
}

fn main() {}
