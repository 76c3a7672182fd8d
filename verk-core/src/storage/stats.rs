//! The counters of jobs, and how often they are reported.

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::StorageError,
    names::{NodeId, QueueName},
    time::calendar::{Day, Minute},
};

/// The counts of processed jobs.
///
/// A part of [`Storage`](super::Storage), whose page has the rules for errors and dropped futures.
#[async_trait]
pub trait StatsStore: fmt::Debug + Send + Sync + 'static {
    /// Adds the counts of `node` to the totals, the days and the queues, all or none, unless a
    /// report of that node with the same `sequence` or a higher one was added before. Counts of
    /// days are kept for 5 years, execution metrics for 8 hours or (without their histogram, in
    /// steps of 10 minutes) for 3 days.
    ///
    /// Returns whether it was added now. Called twice, it returns `false`. This is the only change
    /// that may be sent again after [`Unknown`](crate::error::Applied::Unknown): with the same
    /// `sequence` and content, it counts once. If a node crashes before the call, only its counts
    /// are lost. The `sequence` is forgotten when the node deregisters, or a day after its last
    /// report.
    ///
    /// # Errors
    ///
    /// Besides those of the trait: when one of the counters is no number, and nothing is added
    /// then. If another program uses the keys of execution metrics, those are left out without an
    /// error.
    async fn record_stats(
        &self,
        node: &NodeId,
        sequence: u64,
        report: &StatsReport,
    ) -> Result<bool, StorageError>;

    /// Reads the totals, the sizes of the sets, and the state of `queues`, in their order, one
    /// each. Changes nothing.
    ///
    /// Not one moment: jobs may move meanwhile.
    async fn stats(&self, queues: &[QueueName]) -> Result<StoredStats, StorageError>;

    /// Reads the counts of `days`, in their order, one each: zeros for an unknown day.
    async fn day_stats(&self, days: &[Day]) -> Result<Vec<DayStats>, StorageError>;

    /// Reads execution metrics: of each step that one of `times` is in, in their order, the runs of
    /// all classes, or those of `class` alone. Changes nothing.
    ///
    /// An unknown step has no classes. Of a step with more than [`MAX_EXECUTION_CLASSES`] classes,
    /// the storage may leave some out: then [`StoredExecutions::cut`] is true. Reading one class
    /// never leaves it out. If another program uses the key of a step, the step is empty.
    async fn executions(
        &self,
        step: ExecutionStep,
        times: &[Minute],
        class: Option<&str>,
    ) -> Result<Vec<StoredExecutions>, StorageError>;

    /// Reads how long the runs of `class` took in each of `minutes`, in their order: zeros for a
    /// minute without runs, and for a key that another program uses. Changes nothing.
    async fn histograms(
        &self,
        class: &str,
        minutes: &[Minute],
    ) -> Result<Vec<Histogram>, StorageError>;
}

/// How long a step of execution metrics is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExecutionStep {
    /// A minute. These are kept for 8 hours.
    Minute,
    /// Ten minutes. These are kept for 3 days. Sidekiq 7 writes none.
    TenMinutes,
}

impl ExecutionStep {
    /// The length of the step.
    #[must_use]
    pub const fn length(self) -> Duration {
        match self {
            Self::Minute => Duration::from_secs(60),
            Self::TenMinutes => Duration::from_secs(600),
        }
    }

    /// How many steps a storage keeps: 480 minutes, which are 8 hours, or 432 times ten minutes,
    /// which are 3 days.
    #[must_use]
    pub const fn kept(self) -> usize {
        match self {
            Self::Minute => 480,
            Self::TenMinutes => 432,
        }
    }
}

/// The most classes that are read of one step of execution metrics.
pub const MAX_EXECUTION_CLASSES: usize = 1_000;

/// The runs of each class in one step of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredExecutions {
    /// The runs by class.
    pub classes: BTreeMap<String, ExecutionCounts>,
    /// Whether classes were left out, because there are more than [`MAX_EXECUTION_CLASSES`].
    pub cut: bool,
}

/// How many runs of a class ended in some time, and how long they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecutionCounts {
    /// How many of the runs succeeded, and how many failed.
    pub counts: Counts,
    /// How long those that succeeded took, in total. The time of a failure does not count.
    pub took: Duration,
}

impl ExecutionCounts {
    /// The mean duration of a run that succeeded; `None` if none did.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let succeeded = u128::from(self.counts.succeeded);
        let nanoseconds = self.took.as_nanos().checked_div(succeeded)?;
        Some(Duration::from_nanos(
            u64::try_from(nanoseconds).unwrap_or(u64::MAX),
        ))
    }

    /// Adds `more` to these counts.
    pub fn add(&mut self, more: Self) {
        self.counts.add(more.counts);
        self.took = self.took.saturating_add(more.took);
    }
}

/// How many runs took how long: see [`Executions::histogram`].
pub type Histogram = [u64; Executions::BUCKETS.len() + 1];

/// The counts of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DayStats {
    /// The day.
    pub day: Day,
    /// How many runs ended, those that failed included.
    pub processed: u64,
    /// How many runs failed.
    pub failed: u64,
}

impl DayStats {
    /// Makes the counts of a day, for backends.
    #[must_use]
    pub fn new(day: Day, processed: u64, failed: u64) -> Self {
        Self {
            day,
            processed,
            failed,
        }
    }
}

/// The runs of one class in one minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executions {
    /// How many of the runs succeeded, and how many failed.
    pub counts: Counts,
    /// How long those that succeeded took, in total. The time of a failure means nothing.
    pub took: Duration,
    /// How many of those that succeeded took how long. Bucket `i` has those shorter than
    /// [`BUCKETS[i]`](Self::BUCKETS), and not shorter than the one before; the last has all others.
    pub histogram: Histogram,
}

/// The executions of each class, by the minute.
pub type ExecutionsByMinute = BTreeMap<Minute, BTreeMap<String, Executions>>;

impl Executions {
    /// The bounds of the histogram in milliseconds, those of Sidekiq.
    pub const BUCKETS: [u32; 25] = [
        20, 30, 45, 65, 100, 150, 225, 335, 500, 750, 1_100, 1_700, 2_500, 3_800, 5_750, 8_500,
        13_000, 20_000, 30_000, 45_000, 65_000, 100_000, 150_000, 225_000, 335_000,
    ];

    /// A run that ended.
    pub(crate) fn of_run(counts: Counts, took: Duration) -> Self {
        let mut run = Self {
            counts,
            ..Self::default()
        };
        if counts.succeeded > 0 {
            // In whole milliseconds, as Sidekiq measures.
            let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let bucket = Self::BUCKETS.partition_point(|bound| u64::from(*bound) <= milliseconds);
            run.histogram[bucket] = 1;
            run.took = Duration::from_millis(milliseconds);
        }
        run
    }

    /// Adds `more` to these counts.
    pub fn add(&mut self, more: &Self) {
        self.counts.add(more.counts);
        self.took = self.took.saturating_add(more.took);
        for (bucket, more) in self.histogram.iter_mut().zip(more.histogram) {
            *bucket = bucket.saturating_add(more);
        }
    }
}

/// How many runs ended, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many runs succeeded.
    pub succeeded: u64,
    /// How many runs failed, whatever followed.
    pub failed: u64,
}

impl Counts {
    /// How many runs ended, those that failed included.
    #[must_use]
    pub fn processed(self) -> u64 {
        self.succeeded.saturating_add(self.failed)
    }

    /// Adds `more` to these counts.
    pub fn add(&mut self, more: Self) {
        self.succeeded = self.succeeded.saturating_add(more.succeeded);
        self.failed = self.failed.saturating_add(more.failed);
    }
}

/// The counts of a node since its last report. The totals grow by the sum of the days.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatsReport {
    /// The counts by day.
    pub days: BTreeMap<Day, Counts>,
    /// The counts by queue.
    pub queues: BTreeMap<QueueName, Counts>,
    /// The runs by minute and class, if execution metrics are enabled.
    pub executions: ExecutionsByMinute,
}

impl StatsReport {
    /// The sum of the days.
    #[must_use]
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.days.values() {
            total.add(*counts);
        }
        total
    }
}

/// The answer to [`StatsStore::stats`](crate::storage::StatsStore::stats).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredStats {
    /// How many runs ended, those that failed included.
    pub processed: u64,
    /// How many runs failed.
    pub failed: u64,
    /// How many members `schedule` has.
    pub scheduled: usize,
    /// How many members `retry` has.
    pub retry: usize,
    /// How many members `dead` has.
    pub dead: usize,
    /// The requested queues, in the order of the request.
    pub queues: Vec<StoredQueueStats>,
}

/// The state of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredQueueStats {
    /// The counts of the queue.
    pub counts: Counts,
    /// How many jobs wait.
    pub enqueued: usize,
    /// The next job to be fetched.
    pub oldest: Option<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUCCESS: Counts = Counts {
        succeeded: 1,
        failed: 0,
    };

    fn bucket_of(milliseconds: u64) -> usize {
        let run = Executions::of_run(SUCCESS, Duration::from_millis(milliseconds));
        assert_eq!(run.histogram.iter().sum::<u64>(), 1);
        run.histogram.iter().position(|&count| count == 1).unwrap()
    }

    #[test]
    fn buckets_are_those_of_sidekiq() {
        for (milliseconds, bucket) in [
            (0, 0),
            (19, 0),
            (20, 1),
            (280, 7),
            (8_000, 15),
            (334_999, 24),
            (335_000, 25),
            (u64::MAX / 1_000, 25),
        ] {
            assert_eq!(bucket_of(milliseconds), bucket, "{milliseconds} ms");
        }
    }

    #[test]
    fn the_time_of_failures_does_not_count() {
        let failure = Counts {
            succeeded: 0,
            failed: 1,
        };
        let mut sum = Executions::of_run(failure, Duration::from_secs(9));
        sum.add(&Executions::of_run(SUCCESS, Duration::from_micros(7_900)));
        sum.add(&Executions::of_run(SUCCESS, Duration::from_millis(25)));
        assert_eq!((sum.counts.processed(), sum.counts.failed), (3, 1));
        assert_eq!(sum.took, Duration::from_millis(7 + 25));
        assert_eq!(sum.histogram[..3], [1, 1, 0]);
    }
}
