//! What an operator reads, as JSON: the answers of the API, and of a command line.
//!
//! Times are RFC 3339 in UTC; durations are seconds. `openapi.json` describes every value.

mod audit;
#[cfg(feature = "cron")]
pub(crate) mod cron;
mod job;
mod lock;
mod metrics;
mod node;
mod process;
mod queue;
mod server;
mod stats;
mod tail;
mod why;

use std::time::{Duration, SystemTime};

#[cfg(feature = "cron")]
pub use self::cron::CronValue;
pub use self::{
    audit::AuditValue,
    job::{EntryValue, JobValue, RunningValue},
    lock::LockValue,
    metrics::{ClassHistoryValue, ClassValue},
    node::NodeValue,
    process::ProcessValue,
    queue::{PauseValue, QueueValue},
    server::ServerValue,
    stats::{DayValue, StatsValue},
    tail::{CountsValue, TailValue},
    why::WhyValue,
};

use crate::text;

/// A time.
pub(crate) fn time(at: SystemTime) -> String {
    text::rfc3339(at)
}

/// A duration in seconds.
pub(crate) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
