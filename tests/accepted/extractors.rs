//! Parameters that are no arguments.
#![deny(warnings)]

use verk::{BoxError, Requirement, Worker, prelude::*};

#[derive(Clone)]
struct PgPool;

#[derive(Clone)]
struct Attempt(u32);

impl FromJob for Attempt {
    async fn from_job(ctx: &JobContext) -> Result<Self, BoxError> {
        Ok(Self(ctx.attempt()))
    }
}

mod maps {
    #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
    pub(super) struct State {
        pub(super) name: String,
    }
}

#[verk::worker(queue = "low")]
async fn import(
    State(pool): State<PgPool>,
    path: String,
    ctx: JobContext,
    #[extract] Attempt(attempt): Attempt,
    #[arg] state: maps::State,
    #[extract] numbers: verk::State<Vec<u8>>,
    #[allow(unused_variables)] line: u32,
) -> Result<(), BoxError> {
    let _: PgPool = pool;
    drop((path, ctx, attempt, state.name, numbers));
    Ok(())
}

#[test]
fn accepted() {
    let job = Import::new(
        "a",
        maps::State {
            name: "Ohio".to_owned(),
        },
        5,
    );
    assert_eq!(job.encode_args().unwrap(), r#"["a",{"name":"Ohio"},5]"#);
    assert_eq!(
        Import::requires(),
        [
            Requirement::state::<PgPool>(),
            Requirement::state::<Vec<u8>>()
        ]
    );
}
