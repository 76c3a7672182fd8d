//! What a user can rely on, end to end: real workers, real managers, a real storage.

mod build;
mod crash;
mod extremes;
mod faults;
mod lifecycle;
mod process;
mod queues;
mod redis;
mod shutdown;
mod stats;
mod support;
mod worker;
