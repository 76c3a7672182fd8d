//! Breaks everything around verk that can break, while jobs run, and counts the lost jobs.
//!
//! A [`Plan`] of faults follows from a seed. [`run`] starts a Redis, worker processes and
//! producers, follows the plan, repairs everything, and waits until no job is left. It judges by
//! the [`ledger`], a file to which every process appends what it does. So it knows what happened
//! without asking Redis or verk.
//!
//! ```console
//! $ cargo run --release -p verk-chaos -- --seed 1 --seconds 45 --json
//! ```

#![allow(
    clippy::disallowed_macros,
    reason = "a tool logs through tracing itself"
)]

mod backlog;
mod fault;
mod fleet;
mod judge;
mod kind;
pub mod ledger;
mod left;
mod payload;
mod plan;
mod producer;
mod queue_move;
mod run;
mod store;
pub mod worker;

pub use fault::Fault;
pub use fleet::{Fleet, Size, this_program};
pub use judge::Verdict;
pub use kind::Kind;
pub use plan::{Plan, Step};
pub use producer::Production;
pub use run::{Run, run};
pub use store::Place;
