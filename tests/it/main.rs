//! What a user can rely on, end to end: real workers, real managers, a real storage.

#![allow(
    clippy::disallowed_macros,
    reason = "tests log as users do, through tracing itself"
)]

mod build;
mod cells;
mod client_middleware;
mod cluster;
mod coming_from;
mod crash;
mod doctor;
mod enqueueing;
mod errors;
mod events;
mod extremes;
mod failover;
mod faults;
mod foreign_code;
mod forms;
mod health;
mod lifecycle;
mod logs;
mod manage;
mod many_queues;
#[cfg(feature = "metrics")]
mod metrics;
mod middleware;
mod moved;
mod nodes;
#[cfg(feature = "otel")]
mod otel;
mod panics;
mod pauses;
mod poison;
mod prefetch;
mod process;
mod program;
mod queue_moves;
mod queues;
mod redis;
mod restore;
mod schedule;
mod secrets;
mod sentinel;
mod settings;
mod short_jobs;
mod shutdown;
#[cfg(unix)]
mod signals;
mod stats;
mod support;
#[cfg(feature = "cron")]
mod timetable;
#[cfg(feature = "tls")]
mod tls;
mod unique;
mod worker;
