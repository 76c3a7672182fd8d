//! What a user can rely on, end to end: real workers, real managers, a real storage.

mod build;
mod crash;
mod extremes;
mod failover;
mod faults;
mod health;
mod lifecycle;
mod many_queues;
mod middleware;
mod nodes;
mod pauses;
mod poison;
mod process;
mod queues;
mod redis;
mod schedule;
mod shutdown;
mod stats;
mod support;
mod worker;
