//! The counts of runs, until the storage has them.
//!
//! Counting takes one short lock, which no other code holds for long.

use std::{
    collections::BTreeMap,
    mem,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;

use crate::{
    job::Job,
    names::QueueName,
    outcome::Ending,
    stats::has_counters,
    storage::{Counts, Executions, ExecutionsByMinute, Minute, StatsReport},
    time::calendar::Day,
};

/// For how many minutes execution metrics are kept while the storage does not answer.
const MAX_MINUTES: usize = 10;

/// The counts of the queues of one node id that the storage does not have yet.
#[derive(Debug)]
pub(crate) struct Counters {
    queues: Mutex<BTreeMap<QueueName, Arc<QueueCounters>>>,
    live: Arc<LiveCounters>,
    /// Whether execution metrics are wanted.
    metrics: bool,
}

/// What one queue counted.
#[derive(Debug)]
pub(crate) struct QueueCounters {
    queue: QueueName,
    live: Arc<LiveCounters>,
    unreported: Mutex<UnreportedCounts>,
    metrics: bool,
}

#[derive(Debug, Default)]
struct UnreportedCounts {
    days: BTreeMap<Day, Counts>,
    executions: ExecutionsByMinute,
}

impl Counters {
    pub(crate) fn new(metrics: bool, live: Arc<LiveCounters>) -> Self {
        Self {
            queues: Mutex::default(),
            live,
            metrics,
        }
    }

    pub(crate) fn of_queue(&self, queue: &QueueName) -> Arc<QueueCounters> {
        let mut queues = self.queues.lock();
        let counters = queues.entry(queue.clone()).or_insert_with(|| {
            Arc::new(QueueCounters {
                queue: queue.clone(),
                live: Arc::clone(&self.live),
                unreported: Mutex::default(),
                metrics: self.metrics,
            })
        });
        Arc::clone(counters)
    }

    /// Takes all counts; `None` if they are 0.
    pub(crate) fn take(&self) -> Option<StatsReport> {
        let mut report = StatsReport::default();
        for (queue, counters) in &*self.queues.lock() {
            let mut of_queue = Counts::default();
            let counted = mem::take(&mut *counters.unreported.lock());
            for (day, counts) in counted.days {
                report.days.entry(day).or_default().add(counts);
                of_queue.add(counts);
            }
            merge(&mut report.executions, counted.executions);
            if of_queue != Counts::default() && has_counters(queue) {
                report.queues.insert(queue.clone(), of_queue);
            }
        }
        (!report.days.is_empty()).then_some(report)
    }
}

impl QueueCounters {
    /// Counts what the storage has now.
    pub(crate) fn add(&self, counts: Counts, now: SystemTime) {
        let mut counted = self.unreported.lock();
        counted.days.entry(Day::of(now)).or_default().add(counts);
        drop(counted);
        self.live.add(&self.queue, counts);
    }

    /// Counts a run for the execution metrics, if these are enabled.
    pub(crate) fn add_execution(
        &self,
        job: &Job,
        counts: Counts,
        took: Duration,
        now: impl FnOnce() -> SystemTime,
    ) {
        if self.metrics {
            let run = Executions::of_run(counts, took);
            let minute = Minute::of(now());
            self.unreported
                .lock()
                .count_execution(job.class(), &run, minute);
        }
    }
}

impl UnreportedCounts {
    fn count_execution(&mut self, class: &str, run: &Executions, minute: Minute) {
        // Sidekiq shows these counts for hours only. A storage that is down for longer must not
        // fill this node's memory.
        if self.executions.len() >= MAX_MINUTES && !self.executions.contains_key(&minute) {
            self.executions.pop_first();
        }
        let classes = self.executions.entry(minute).or_default();
        match classes.get_mut(class) {
            Some(executions) => executions.add(run),
            None => {
                classes.insert(class.to_owned(), run.clone());
            }
        }
    }
}

/// The counts of a node by queue since it was built, under all its ids.
#[derive(Debug, Default)]
pub(crate) struct LiveCounters(Mutex<BTreeMap<QueueName, Counts>>);

impl LiveCounters {
    pub(crate) fn add(&self, queue: &QueueName, counts: Counts) {
        let mut queues = self.0.lock();
        match queues.get_mut(queue) {
            Some(counted) => counted.add(counts),
            None => {
                queues.insert(queue.clone(), counts);
            }
        }
    }

    pub(crate) fn by_queue(&self) -> BTreeMap<QueueName, Counts> {
        self.0.lock().clone()
    }
}

/// The counts of the end of a job in the statistics; `None` if it does not count.
pub(crate) fn counts_of(ending: Ending) -> Option<Counts> {
    let (succeeded, failed) = match ending {
        Ending::Done | Ending::Discarded => (1, 0),
        Ending::Retry | Ending::Dead | Ending::Dropped => (0, 1),
        // No run, or one that does not count. Sidekiq does not count malformed payloads either.
        Ending::Snoozed
        | Ending::HandedBack
        | Ending::Lost
        | Ending::Malformed
        | Ending::PoisonPill => return None,
    };
    Some(Counts { succeeded, failed })
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
