//! The totals of the fleet, now and by the day.

use std::time::SystemTime;

use serde::Serialize;
use verk_core::{manage::Overview, stats::DayStats};

use super::time;

/// The totals of the fleet.
#[derive(Debug, Serialize)]
pub struct StatsValue {
    at: Option<String>,
    processed: u64,
    failed: u64,
    waiting: usize,
    scheduled: usize,
    retries: usize,
    dead: usize,
    queues: usize,
    processes: usize,
    running: usize,
    concurrency: usize,
    /// Runs that ended in a second; `null` until the server has watched for 10 seconds.
    rate: Option<f64>,
    /// The share of them that failed, from 0 to 1.
    failed_share: Option<f64>,
}

impl StatsValue {
    /// The totals at a time, with the rate and the share of failures if they are known.
    #[must_use]
    pub fn new(
        at: Option<SystemTime>,
        overview: &Overview,
        rate: Option<f64>,
        failed_share: Option<f64>,
    ) -> Self {
        let Overview {
            stats,
            queues,
            processes,
            ..
        } = overview;
        let (running, concurrency) = overview.running();
        Self {
            at: at.map(time),
            processed: stats.processed,
            failed: stats.failed,
            waiting: stats.enqueued(),
            scheduled: stats.scheduled,
            retries: stats.retry,
            dead: stats.dead,
            queues: queues.len(),
            processes: processes.len(),
            running,
            concurrency,
            rate,
            failed_share,
        }
    }
}

/// What was done in a day.
#[derive(Debug, Serialize)]
pub struct DayValue {
    day: String,
    processed: u64,
    failed: u64,
}

impl DayValue {
    /// The counts of a day.
    #[must_use]
    pub fn new(day: &DayStats) -> Self {
        Self {
            day: day.day.to_string(),
            processed: day.processed,
            failed: day.failed,
        }
    }
}
