//! A run that has ended.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use crate::{
    job::Job,
    outcome::{Outcome, PerformError},
};

/// A run that has ended: its future is dropped.
#[derive(Debug)]
pub(crate) struct EndedRun {
    /// The order in which it started.
    pub(crate) number: u64,
    pub(crate) job: Arc<Job>,
    /// The payload as it was fetched.
    pub(crate) held: Bytes,
    pub(crate) times: Times,
    pub(crate) end: RunEnd,
    /// Whether the node found, while the job ran, that the job no longer belongs to it.
    pub(crate) lost: bool,
}

/// When a job ran.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) started_at: SystemTime,
    pub(crate) ended_at: SystemTime,
    /// How long it ran, whatever happened to the time of day.
    pub(crate) took: Duration,
}

#[derive(Debug)]
pub(crate) enum RunEnd {
    /// The worker answered, panicked or ran out of time.
    Returned(Result<Outcome, PerformError>),
    /// The run was cut short: the node stops, or it was not known to be alive when the job was
    /// about to begin.
    Cancelled,
}
