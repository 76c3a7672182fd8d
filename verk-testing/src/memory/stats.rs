//! Statistics, as far as they are counted: the changes of a [`State`] that concern them.

use std::collections::{BTreeMap, HashMap};

use verk_core::{
    QueueName,
    names::NodeId,
    stats::{Day, DayStats},
    storage::{
        Counts, ExecutionCounts, ExecutionStep, ExecutionsByMinute, Histogram, JobSet, Minute,
        Source, StatsReport, StoredExecutions, StoredQueueStats, StoredStats,
    },
};

use super::{
    faults::{Fault, Key},
    state::State,
};

/// The counts. As in Redis, a counter that was never used does not exist.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) total: Counts,
    pub(super) days: BTreeMap<Day, Counts>,
    pub(super) queues: BTreeMap<QueueName, Counts>,
    pub(super) executions: ExecutionsByMinute,
    /// The number of each node's last report.
    pub(super) sequences: HashMap<NodeId, u64>,
}

impl Counters {
    pub(super) fn of_days(&self, days: &[Day]) -> Vec<DayStats> {
        let of_day = |day: &Day| {
            let counts = self.days.get(day).copied().unwrap_or_default();
            DayStats::new(*day, counts.processed(), counts.failed)
        };
        days.iter().map(of_day).collect()
    }

    pub(super) fn of_steps(
        &self,
        step: ExecutionStep,
        times: &[Minute],
        class: Option<&str>,
    ) -> Vec<StoredExecutions> {
        let of_step = |time: &Minute| {
            let mut stored = StoredExecutions::default();
            for (minute, classes) in &self.executions {
                if start(*minute, step) != start(*time, step) {
                    continue;
                }
                let wanted = |of: &str| class.is_none_or(|class| class == of);
                for (class, runs) in classes.iter().filter(|(of, _)| wanted(of)) {
                    let of_class = stored.classes.entry(class.clone()).or_default();
                    of_class.add(ExecutionCounts {
                        counts: runs.counts,
                        took: runs.took,
                    });
                }
            }
            stored
        };
        times.iter().map(of_step).collect()
    }

    pub(super) fn histograms(&self, class: &str, minutes: &[Minute]) -> Vec<Histogram> {
        let of_minute = |minute| {
            let runs = self.executions.get(minute)?.get(class)?;
            // As large as the counters in Redis.
            Some(runs.histogram.map(|count| count.min(u64::from(u16::MAX))))
        };
        let minutes = minutes.iter().map(of_minute);
        minutes.map(Option::unwrap_or_default).collect()
    }

    pub(super) fn forget(&mut self, node: &NodeId) {
        self.sequences.remove(node);
    }
}

/// Which step a minute is in.
fn start(minute: Minute, step: ExecutionStep) -> (i16, i8, i8, i8, i8) {
    let of_hour = match step {
        ExecutionStep::Minute => minute.minute(),
        ExecutionStep::TenMinutes => minute.minute() / 10,
    };
    let (year, month, day) = (minute.year(), minute.month(), minute.day());
    (year, month, day, minute.hour(), of_hour)
}

impl State {
    pub(super) fn record_stats(
        &mut self,
        node: &NodeId,
        sequence: u64,
        report: &StatsReport,
    ) -> Result<bool, Fault> {
        if self.gate.is_dead(node) {
            return Err(Fault::Refused);
        }
        if sequence <= self.stats.sequences.get(node).copied().unwrap_or(0) {
            return Ok(false);
        }
        if report.total() != Counts::default() {
            self.faults.check_key(Key::Processed)?;
        }
        for (queue, counts) in &report.queues {
            if counts.failed > 0 {
                self.faults.check_key(Key::FailedOf(queue.clone()))?;
            }
        }
        let stats = &mut self.stats;
        stats.sequences.insert(node.clone(), sequence);
        stats.total.add(report.total());
        for (day, counts) in &report.days {
            stats.days.entry(*day).or_default().add(*counts);
        }
        for (queue, counts) in &report.queues {
            let of_queue = stats.queues.entry(queue.clone()).or_default();
            of_queue.add(*counts);
        }
        for (minute, classes) in &report.executions {
            let of_minute = stats.executions.entry(*minute).or_default();
            for (class, executions) in classes {
                let of_class = of_minute.entry(class.clone()).or_default();
                of_class.add(executions);
            }
        }
        Ok(true)
    }

    pub(super) fn stats(&self, queues: &[QueueName]) -> Result<StoredStats, Fault> {
        self.faults.check_key(Key::Processed)?;
        let of_queue = |queue: &QueueName| {
            self.faults.check_key(Key::Queue(queue.clone()))?;
            self.faults.check_key(Key::FailedOf(queue.clone()))?;
            let jobs = self.queues.get(queue);
            Ok(StoredQueueStats {
                counts: self.stats.queues.get(queue).copied().unwrap_or_default(),
                enqueued: jobs.map_or(0, |jobs| jobs.len()),
                oldest: jobs.and_then(|jobs| jobs.front().cloned()),
            })
        };
        Ok(StoredStats {
            processed: self.stats.total.processed(),
            failed: self.stats.total.failed,
            scheduled: self.len(&Source::Set(JobSet::Schedule))?,
            retry: self.len(&Source::Set(JobSet::Retry))?,
            dead: self.len(&Source::Set(JobSet::Dead))?,
            queues: queues.iter().map(of_queue).collect::<Result<_, Fault>>()?,
        })
    }
}
