//! Counts what was processed, per queue and day, and adds it to the storage every 10 seconds and at the end.
//!
//! Counting is one short lock that nobody else wants for long. What was sent keeps its number until the storage has it, so
//! that it counts once however often it is sent.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio_util::sync::CancellationToken;

use crate::{
    error::StorageError,
    event::Event,
    names::{NodeId, QueueName},
    shared::Shared,
    stats::{Day, has_counters},
    storage::{Counts, StatsReport},
};

/// How often the counts are added to the storage.
const EVERY: Duration = Duration::from_secs(10);

/// How long the last counts of a node may take to be stored.
const LAST_FLUSH: Duration = Duration::from_secs(2);

/// How often the last counts are sent, if the storage fails.
const LAST_TRIES: usize = 3;

/// What the queues of one node id counted and the storage has not been told yet.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<QueueName, Arc<QueueCounters>>>);

/// What one queue counted.
#[derive(Debug, Default)]
pub(crate) struct QueueCounters(Mutex<BTreeMap<Day, Counts>>);

impl Counters {
    pub(crate) fn of_queue(&self, queue: &QueueName) -> Arc<QueueCounters> {
        Arc::clone(lock(&self.0).entry(queue.clone()).or_default())
    }

    /// Takes all that was counted; `None` when that is nothing.
    fn take(&self) -> Option<StatsReport> {
        let mut report = StatsReport::default();
        for (queue, counters) in &*lock(&self.0) {
            let mut of_queue = Counts::default();
            for (day, counts) in mem::take(&mut *lock(&counters.0)) {
                report.days.entry(day).or_default().add(counts);
                of_queue.add(counts);
            }
            if of_queue != Counts::default() && has_counters(queue) {
                report.queues.insert(queue.clone(), of_queue);
            }
        }
        (!report.days.is_empty()).then_some(report)
    }
}

impl QueueCounters {
    pub(crate) fn add(&self, counts: Counts, now: SystemTime) {
        lock(&self.0).entry(Day::of(now)).or_default().add(counts);
    }
}

/// What a node counted by queue since it was built, under whatever id.
#[derive(Debug, Default)]
pub(crate) struct LiveCounters(Mutex<BTreeMap<QueueName, Counts>>);

impl LiveCounters {
    pub(crate) fn add(&self, queue: &QueueName, counts: Counts) {
        let mut queues = lock(&self.0);
        match queues.get_mut(queue) {
            Some(counted) => counted.add(counts),
            None => {
                queues.insert(queue.clone(), counts);
            }
        }
    }

    pub(crate) fn by_queue(&self) -> BTreeMap<QueueName, Counts> {
        lock(&self.0).clone()
    }
}

/// What an event counts for, once the storage has what it tells.
pub(crate) fn counts_of(event: &Event) -> Option<Counts> {
    match event {
        Event::JobFinished { .. } | Event::JobDiscarded { .. } => Some(Counts {
            succeeded: 1,
            failed: 0,
        }),
        Event::JobFailed { .. } => Some(Counts {
            succeeded: 0,
            failed: 1,
        }),
        // No run, or one that does not count. Sidekiq counts no malformed payload either.
        _ => None,
    }
}

/// Adds the counts of one node id to the storage.
#[derive(Debug)]
pub(crate) struct StatsManager {
    shared: Arc<Shared>,
    node: NodeId,
    counters: Arc<Counters>,
    /// Cancelled once nothing more will be counted.
    stop: CancellationToken,
    /// The number of the last report.
    sequence: u64,
    /// The last report, until the storage has it. Its number and its content stay: it may have been counted.
    sent: Option<StatsReport>,
}

impl StatsManager {
    pub(crate) fn new(
        shared: Arc<Shared>,
        node: NodeId,
        counters: Arc<Counters>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            shared,
            node,
            counters,
            stop,
            sequence: 0,
            sent: None,
        }
    }

    /// Whether it was told to stop: nothing may wait for it for ever.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Runs until it is told to stop and the last counts are stored or given up.
    pub(crate) async fn run(&mut self) {
        let stop = self.stop.clone();
        loop {
            let pause = self.shared.clock.sleep(EVERY);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = pause => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                result = self.flush() => if let Err(error) = result {
                    tracing::warn!(node = %self.node, error = &error as &dyn std::error::Error, "statistics could not be stored, trying again");
                },
            }
        }
        let clock = Arc::clone(&self.shared.clock);
        if clock.timeout(LAST_FLUSH, self.flush_last()).await.is_none() {
            tracing::warn!(node = %self.node, "the storage does not answer: the last statistics may be missing");
        }
    }

    /// Stores what was sent before and what was counted since.
    ///
    /// Cancel safe: what was sent is sent again, under the same number.
    async fn flush(&mut self) -> Result<(), StorageError> {
        for _ in 0..2 {
            if self.sent.is_none() {
                self.sent = self.counters.take();
                self.sequence += u64::from(self.sent.is_some());
            }
            let Some(report) = &self.sent else {
                return Ok(());
            };
            self.shared
                .storage
                .record_stats(&self.node, self.sequence, report)
                .await?;
            self.sent = None;
        }
        Ok(())
    }

    async fn flush_last(&mut self) {
        for left in (0..LAST_TRIES).rev() {
            match self.flush().await {
                Ok(()) => return,
                Err(error) if left == 0 => {
                    tracing::warn!(node = %self.node, error = &error as &dyn std::error::Error, "the last statistics could not be stored");
                }
                Err(_) => {}
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
