//! What a user can rely on, end to end: real workers, real managers, a real storage.

mod build;
mod crash;
mod events;
mod extremes;
mod faults;
mod lifecycle;
mod logs;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "otel")]
mod otel;
mod queues;
mod redis;
mod shutdown;
mod stats;
mod support;
mod worker;
