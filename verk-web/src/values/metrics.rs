//! How often the classes ran, and how long they took.

use serde::Serialize;
use verk_core::manage::{ClassExecutions, ExecutionHistory, HistogramHistory};

use super::{seconds, time};

/// The runs of one class.
#[derive(Debug, Serialize)]
pub struct ClassValue<'a> {
    class: &'a str,
    runs: u64,
    failed: u64,
    /// Of those that succeeded, in seconds.
    total: f64,
    mean: Option<f64>,
}

impl<'a> ClassValue<'a> {
    /// The runs of the whole history.
    #[must_use]
    pub fn new(class: &'a ClassExecutions) -> Self {
        let total = class.total();
        Self {
            class: &class.class,
            runs: total.counts.processed(),
            failed: total.counts.failed,
            total: seconds(total.took),
            mean: total.mean().map(seconds),
        }
    }
}

/// The runs of one class, by the minute.
#[derive(Debug, Serialize)]
pub struct ClassHistoryValue<'a> {
    class: &'a str,
    minutes: Vec<StepValue>,
    histogram: Vec<BucketValue>,
}

#[derive(Debug, Serialize)]
struct StepValue {
    at: String,
    runs: u64,
    failed: u64,
    total: f64,
}

#[derive(Debug, Serialize)]
struct BucketValue {
    /// The upper bound in seconds; `null` for the last.
    under: Option<f64>,
    runs: u64,
}

impl<'a> ClassHistoryValue<'a> {
    /// The history and the histogram of one class. No minutes if it did not run.
    #[must_use]
    pub fn new(class: &'a str, history: &ExecutionHistory, histogram: &HistogramHistory) -> Self {
        let own = history.classes.iter().find(|own| own.class == class);
        let steps = own.map_or(&[][..], |own| &own.steps);
        let minutes = history.times.iter().zip(steps).map(|(at, step)| StepValue {
            at: time(*at),
            runs: step.counts.processed(),
            failed: step.counts.failed,
            total: seconds(step.took),
        });
        let bounds = HistogramHistory::bounds();
        let buckets = histogram.total();
        let buckets = buckets.iter().enumerate().map(|(at, runs)| BucketValue {
            under: bounds.get(at).copied().map(seconds),
            runs: *runs,
        });
        Self {
            class,
            minutes: minutes.collect(),
            histogram: buckets.collect(),
        }
    }
}
