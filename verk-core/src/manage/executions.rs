//! Execution metrics: how often and how long jobs of a class ran.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::Admin;
use crate::{
    error::StorageError,
    storage::{
        ExecutionCounts, ExecutionStep, Executions, Histogram, MAX_EXECUTION_CLASSES, Minute,
        StoredExecutions,
    },
};

/// How many steps one call of the storage reads.
const STEPS_AT_ONCE: usize = 60;

/// # Execution metrics
impl Admin {
    /// Reads how often and how long the jobs of each class ran, by the minute or by ten minutes.
    ///
    /// Nodes with [`execution_metrics`](crate::Config::execution_metrics) write these metrics, and
    /// so do the processes of Sidekiq 8. Sidekiq 7 writes them by the minute only. A node reports
    /// every 10 seconds, so the last step still grows. Each run counts in the step in which it
    /// ended.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// use verk_core::manage::ExecutionRange;
    ///
    /// let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// let hour = verk.admin().executions(&ExecutionRange::minutes(60)).await?;
    /// for class in &hour.classes {
    ///     let total = class.total();
    ///     println!("{}: {} runs, {:?} each", class.class, total.counts.processed(), total.mean());
    /// }
    /// assert_eq!(hour.times.len(), 60);
    /// assert!(hour.classes.is_empty(), "nothing ran yet");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn executions(
        &self,
        range: &ExecutionRange,
    ) -> Result<ExecutionHistory, StorageError> {
        let times = range.times(self.now());
        let class = range.class.as_deref();
        let read = self.read_steps(range.step, &times, class).await?;
        Ok(ExecutionHistory::of(range.step, times, &read))
    }

    /// Reads the steps that begin at these times.
    pub(super) async fn read_steps(
        &self,
        step: ExecutionStep,
        times: &[SystemTime],
        class: Option<&str>,
    ) -> Result<Vec<StoredExecutions>, StorageError> {
        let minutes: Vec<Minute> = times.iter().copied().map(Minute::of).collect();
        let mut read = Vec::with_capacity(times.len());
        for minutes in minutes.chunks(STEPS_AT_ONCE) {
            read.extend(self.storage().executions(step, minutes, class).await?);
        }
        Ok(read)
    }

    /// Reads how long the runs of `class` took, by the minute. Only runs that succeeded are in it.
    /// The range is in minutes: one in steps of ten minutes is read as the same number of minutes.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// use verk_core::manage::ExecutionRange;
    ///
    /// let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// let history = verk.admin().histogram("Welcome", &ExecutionRange::minutes(60)).await?;
    /// assert_eq!(history.minutes.len(), 60);
    /// assert_eq!(history.total().iter().sum::<u64>(), 0, "none ran yet");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn histogram(
        &self,
        class: &str,
        range: &ExecutionRange,
    ) -> Result<HistogramHistory, StorageError> {
        let range = ExecutionRange {
            step: ExecutionStep::Minute,
            ..range.clone()
        };
        let times = range.times(self.now());
        let minutes: Vec<Minute> = times.iter().copied().map(Minute::of).collect();
        let mut read = Vec::with_capacity(times.len());
        for minutes in minutes.chunks(STEPS_AT_ONCE) {
            read.extend(self.storage().histograms(class, minutes).await?);
        }
        Ok(HistogramHistory {
            minutes: times.into_iter().zip(read).collect(),
        })
    }
}

/// Which execution metrics to read: a number of steps, up to the one that has not ended yet.
///
/// Metrics by the minute are kept for 8 hours (480 steps), metrics by ten minutes for 3 days (432
/// steps). A range that is longer is cut to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionRange {
    pub(super) step: ExecutionStep,
    steps: usize,
    until: Option<SystemTime>,
    pub(super) class: Option<String>,
}

impl ExecutionRange {
    /// The last `count` minutes.
    #[must_use]
    pub fn minutes(count: usize) -> Self {
        Self::of(ExecutionStep::Minute, count)
    }

    /// The last `count` times ten minutes, each from a full ten minutes of the hour on.
    #[must_use]
    pub fn ten_minutes(count: usize) -> Self {
        Self::of(ExecutionStep::TenMinutes, count)
    }

    fn of(step: ExecutionStep, count: usize) -> Self {
        Self {
            step,
            steps: count.clamp(1, step.kept()),
            until: None,
            class: None,
        }
    }

    /// Ends the range with the step that has this time in it, and not with the current one.
    #[must_use]
    pub fn until(mut self, time: SystemTime) -> Self {
        self.until = Some(time);
        self
    }

    /// Reads this class alone, which costs the server less.
    #[must_use]
    pub fn class(mut self, class: impl Into<String>) -> Self {
        self.class = Some(class.into());
        self
    }

    /// When each step begins, the oldest first.
    pub(super) fn times(&self, now: SystemTime) -> Vec<SystemTime> {
        let length = self.step.length().as_secs();
        let until = self.until.unwrap_or(now).min(now);
        let seconds = until.duration_since(UNIX_EPOCH).unwrap_or_default();
        let last = seconds.as_secs() / length;
        let steps = (0..self.steps).rev().filter_map(|before| {
            let step = last.checked_sub(u64::try_from(before).ok()?)?;
            UNIX_EPOCH.checked_add(Duration::from_secs(step * length))
        });
        steps.collect()
    }
}

/// The answer to [`Admin::executions`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecutionHistory {
    /// How long a step is.
    pub step: ExecutionStep,
    /// When each step began, the oldest first.
    pub times: Vec<SystemTime>,
    /// The classes that ran, those with the longest total time first.
    pub classes: Vec<ClassExecutions>,
    /// Whether classes are missing: a storage with more than 1 000 classes has too many to read.
    pub cut: bool,
}

/// The runs of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassExecutions {
    /// The class.
    pub class: String,
    /// The runs in each step, as many steps as [`ExecutionHistory::times`] has.
    pub steps: Vec<ExecutionCounts>,
}

impl ClassExecutions {
    /// The runs of all steps together.
    #[must_use]
    pub fn total(&self) -> ExecutionCounts {
        let mut total = ExecutionCounts::default();
        for step in &self.steps {
            total.add(*step);
        }
        total
    }
}

impl ExecutionHistory {
    /// `read` has what the storage has of each of `times`.
    pub(super) fn of<'a>(
        step: ExecutionStep,
        times: Vec<SystemTime>,
        read: impl IntoIterator<Item = &'a StoredExecutions>,
    ) -> Self {
        let mut classes: BTreeMap<&str, Vec<ExecutionCounts>> = BTreeMap::new();
        let mut cut = false;
        for (index, stored) in read.into_iter().enumerate() {
            cut |= stored.cut;
            for (class, counts) in &stored.classes {
                if classes.len() >= MAX_EXECUTION_CLASSES && !classes.contains_key(class.as_str()) {
                    cut = true;
                    continue;
                }
                let steps = classes
                    .entry(class)
                    .or_insert_with(|| vec![ExecutionCounts::default(); times.len()]);
                if let Some(step) = steps.get_mut(index) {
                    step.add(*counts);
                }
            }
        }
        let classes = classes.into_iter();
        let mut classes: Vec<_> = classes
            .map(|(class, steps)| ClassExecutions {
                class: class.to_owned(),
                steps,
            })
            .collect();
        classes.sort_by_cached_key(|class| Reverse(class.total().took));
        Self {
            step,
            times,
            classes,
            cut,
        }
    }
}

/// The answer to [`Admin::histogram`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistogramHistory {
    /// When each minute began, the oldest first, and how many of its runs took how long: see
    /// [`Executions::histogram`]. One counter of a minute ends at 65 535.
    pub minutes: Vec<(SystemTime, Histogram)>,
}

impl HistogramHistory {
    /// The upper bounds of all buckets but the last.
    #[must_use]
    pub fn bounds() -> [Duration; Executions::BUCKETS.len()] {
        Executions::BUCKETS.map(|bound| Duration::from_millis(bound.into()))
    }

    /// The runs of all minutes together.
    #[must_use]
    pub fn total(&self) -> Histogram {
        let mut total = Histogram::default();
        for (_, minute) in &self.minutes {
            for (bucket, more) in total.iter_mut().zip(minute) {
                *bucket = bucket.saturating_add(*more);
            }
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn a_range_ends_with_the_step_that_has_not_ended() {
        // 2025-02-14 08:43:20 UTC.
        let now = at(1_739_522_600);
        assert_eq!(
            ExecutionRange::minutes(3).times(now),
            [at(1_739_522_460), at(1_739_522_520), at(1_739_522_580)]
        );
        assert_eq!(
            ExecutionRange::ten_minutes(2).times(now),
            [at(1_739_521_800), at(1_739_522_400)]
        );
        let earlier = ExecutionRange::minutes(1).until(at(1_739_522_519));
        assert_eq!(earlier.times(now), [at(1_739_522_460)]);
        let later = ExecutionRange::minutes(1).until(at(1_839_522_519));
        assert_eq!(
            later.times(now),
            [at(1_739_522_580)],
            "nothing is later than now"
        );
    }

    #[test]
    fn a_range_is_cut_to_what_is_kept() {
        let now = at(1_739_522_600);
        assert_eq!(ExecutionRange::minutes(usize::MAX).times(now).len(), 480);
        assert_eq!(
            ExecutionRange::ten_minutes(usize::MAX).times(now).len(),
            432
        );
        assert_eq!(ExecutionRange::minutes(0).times(now).len(), 1);
        assert_eq!(ExecutionRange::minutes(480).times(at(61)), [at(0), at(60)]);
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(ExecutionRange::minutes(2).times(before), [at(0)]);
    }

    #[test]
    fn classes_that_are_too_many_are_left_out() {
        let of_step = |from: usize| {
            let names = (from..from + 1_000).map(|number| format!("{number:04}"));
            let counts = ExecutionCounts::default();
            StoredExecutions {
                classes: names.map(|name| (name, counts)).collect(),
                cut: false,
            }
        };
        let times = vec![at(0), at(60)];
        let of = |read: [StoredExecutions; 2]| {
            ExecutionHistory::of(ExecutionStep::Minute, times.clone(), &read)
        };
        let history = of([of_step(0), of_step(0)]);
        assert_eq!((history.classes.len(), history.cut), (1_000, false));
        let history = of([of_step(0), of_step(1)]);
        assert_eq!((history.classes.len(), history.cut), (1_000, true));
    }
}
