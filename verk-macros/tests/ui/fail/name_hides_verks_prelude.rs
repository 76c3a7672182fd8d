use verk::prelude::*;

#[verk::worker]
async fn state(State(pool): State<String>) {
    drop(pool);
}

fn main() {}
