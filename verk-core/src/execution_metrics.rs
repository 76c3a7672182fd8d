//! Execution metrics: how often each class ran in a minute, and how long it took.

use std::{collections::BTreeMap, time::Duration};

use crate::{storage::Counts, time::calendar::Minute};

/// How the runs of one class went in one minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executions {
    /// How many ended, and how.
    pub counts: Counts,
    /// How long those that succeeded took, all together: failures take any time.
    pub took: Duration,
    /// How many of those took how long. Bucket `i` has those shorter than [`BUCKETS[i]`](Self::BUCKETS), and not shorter than
    /// the one before; the last has all others.
    pub histogram: [u64; Self::BUCKETS.len() + 1],
}

/// What is known of each class, by the minute.
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

    /// Counts `more` as well.
    pub fn add(&mut self, more: &Self) {
        self.counts.add(more.counts);
        self.took = self.took.saturating_add(more.took);
        for (bucket, more) in self.histogram.iter_mut().zip(more.histogram) {
            *bucket = bucket.saturating_add(more);
        }
    }
}

/// Adds what `from` knows to `to`.
pub(crate) fn merge(to: &mut ExecutionsByMinute, from: ExecutionsByMinute) {
    for (minute, classes) in from {
        let of_minute = to.entry(minute).or_default();
        for (class, executions) in classes {
            of_minute.entry(class).or_default().add(&executions);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

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

    #[test]
    fn a_minute_has_no_seconds() {
        let at = |second| Minute::of(UNIX_EPOCH + Duration::from_secs(second));
        assert_eq!(at(1_739_522_580), at(1_739_522_639));
        assert_ne!(at(1_739_522_639), at(1_739_522_640));
        let minute = at(1_739_522_580);
        let date = (minute.year(), minute.month(), minute.day());
        assert_eq!(
            (date, minute.hour(), minute.minute()),
            ((2025, 2, 14), 8, 43)
        );
    }
}
