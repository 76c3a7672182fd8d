//! Queues, and who paused them.

use serde::Serialize;
use verk_core::manage::{Pause, QueueOverview};

use super::{seconds, time};

/// A queue.
#[derive(Debug, Serialize)]
pub struct QueueValue<'a> {
    queue: &'a str,
    waiting: usize,
    /// How long the oldest waiting job has waited, in seconds.
    latency: f64,
    processed: u64,
    failed: u64,
    running: usize,
    prefetched: usize,
    concurrency: usize,
    processes: usize,
    /// Runs that ended in a second; `null` until the server has watched for 10 seconds.
    rate: Option<f64>,
    paused: Option<PauseValue<'a>>,
}

impl<'a> QueueValue<'a> {
    /// The queue, with the rate if it is known.
    #[must_use]
    pub fn new(queue: &'a QueueOverview, rate: Option<f64>) -> Self {
        Self {
            queue: queue.queue.as_str(),
            waiting: queue.enqueued,
            latency: seconds(queue.latency),
            processed: queue.processed,
            failed: queue.failed,
            running: queue.running,
            prefetched: queue.prefetched,
            concurrency: queue.concurrency,
            processes: queue.processes,
            rate,
            paused: queue.paused.as_ref().map(PauseValue::new),
        }
    }
}

/// Since when a queue is paused, by whom and why.
#[derive(Debug, Serialize)]
pub struct PauseValue<'a> {
    since: Option<String>,
    by: Option<&'a str>,
    reason: Option<&'a str>,
}

impl<'a> PauseValue<'a> {
    /// The pause.
    #[must_use]
    pub fn new(pause: &'a Pause) -> Self {
        Self {
            since: pause.since.map(time),
            by: pause.by.as_deref(),
            reason: pause.reason.as_deref(),
        }
    }
}
