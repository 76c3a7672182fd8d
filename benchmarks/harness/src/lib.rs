//! What every benchmarked program has in common: its command line ([`Options`]), what it says on
//! its standard output ([`Said`]), and the [`Job`] that it enqueues and runs. A [`System`] is all
//! that differs.
//!
//! A program connects, says `ready`, waits for a line on its standard input, does what it was told,
//! says `done`, and ends when its standard input does.

mod job;
mod protocol;
mod system;

pub use job::{Job, perform};
pub use protocol::{Done, Latency, Options, Role, Said};
pub use system::{System, main, run, threads};
