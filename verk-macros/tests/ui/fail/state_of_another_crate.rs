/// As `axum::extract::State`.
mod axum {
    #[derive(Clone)]
    pub struct State<S>(pub S);
}

use axum::State;

#[verk::worker]
async fn import(State(pool): State<String>) {
    drop(pool);
}

fn main() {}
