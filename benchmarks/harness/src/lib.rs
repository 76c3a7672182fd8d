//! The parts that every benchmarked program shares: its command line ([`Options`]), its messages on
//! standard output ([`Said`]), and the [`Job`] that it enqueues and runs. Only the [`System`]
//! differs.
//!
//! A program connects, says `ready`, waits for a line on its standard input, does its work, says
//! `done`, and ends when its standard input does.

mod job;
mod protocol;
mod system;

pub use job::{Job, cores_available, perform};
pub use protocol::{Done, Latency, Options, Role, Said};
pub use system::{System, main, run, threads};
