//! A storage without a server: [`MemoryStorage`].

mod activity;
mod audit;
mod cells;
mod connection;
mod cron;
mod effects;
mod faults;
mod harness;
mod lists;
mod manage;
mod nodes;
mod once;
mod pauses;
mod processes;
mod sorted_set;
mod state;
mod stats;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use verk_core::{
    QueueName, StorageError,
    names::NodeId,
    stats::{Day, DayStats},
    storage::{
        Cleared, DeadLimits, Due, DuePage, DueSet, DueStore, ExecutionStep, HeldCount, Histogram,
        Inprogress, JobStore, ListRequest, Listing, Minute, Move, Page, QueueConnection, Scan,
        SchedulePoll, Server, Settled, Settlement, Source, StatsReport, StatsStore,
        StoredExecutions, StoredStats, WaitingStore,
    },
    time::{Clock, SystemClock},
};

pub(crate) use activity::{Activity, CrashOn, Driver};
pub use faults::{Fault, Faults, Key, Operation};

use self::{connection::MemoryConnection, effects::Locks, faults::Switches, state::State};

/// A [`Storage`](verk_core::storage::Storage) in the memory of this process, with the semantics of
/// the one on Redis.
///
/// For tests: its content ends with the process. Clones share one content. It passes the same
/// [conformance suite](crate::conformance) as Redis, and can fail like it: see
/// [`faults`](Self::faults).
///
/// # Example
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use bytes::Bytes;
/// use verk_core::{names::NodeId, storage::{DequeueRequest, Dequeued, Inprogress, JobStore, NodeStore, Settlement, Target, WaitingStore}};
/// use verk_testing::{MemoryStorage, VirtualClock};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = VirtualClock::new();
/// let storage = MemoryStorage::new(Arc::new(clock.clone()));
/// let held = Inprogress { queue: "default".parse()?, node: NodeId::register("web")? };
///
/// storage.enqueue(&held.queue, &[Bytes::from("{}")]).await?;
/// storage.register(&held.node, &[held.queue.clone()], Duration::from_secs(60), &Default::default()).await?;
/// let mut connection = storage.open_queue(&held).await?;
/// let request = DequeueRequest {
///     max_jobs: 10,
///     max_bytes: 1024,
///     prefetched: 0,
///     wait: Duration::ZERO,
///     interrupt: Default::default(),
/// };
/// assert_eq!(connection.dequeue(request.clone()).await?, Dequeued::Jobs(vec![Bytes::from("{}")]));
/// storage.settle(&held, &[Settlement::new(Bytes::from("{}"), Target::Ack)]).await;
///
/// // No heartbeat comes for a minute: the node takes nothing any more.
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(connection.dequeue(request).await?, Dequeued::NodeGone);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStorage {
    shared: Arc<Backend>,
}

#[derive(Debug)]
struct Backend {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Notified after each change.
    changed: Notify,
    /// How many dequeues wait for a job.
    waiting: watch::Sender<usize>,
}

impl MemoryStorage {
    /// Makes an empty storage that takes the time from `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State {
            locks: Locks::new(Arc::clone(&clock)),
            ..State::default()
        };
        Self {
            shared: Arc::new(Backend {
                clock,
                state: Mutex::new(state),
                changed: Notify::new(),
                waiting: watch::Sender::new(0),
            }),
        }
    }

    /// The switches that make this storage fail.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Completes once at least `count` dequeues wait for a job.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn wait_for_dequeues(&self, count: usize) {
        let mut waiting = self.shared.waiting.subscribe();
        // The sender lives in `self.shared`, so this cannot fail.
        let _ = waiting.wait_for(|&waiting| waiting >= count).await;
    }

    /// Reads without a change, if the storage can be reached.
    fn read<T>(
        &self,
        op: &'static str,
        read: impl FnOnce(&State) -> Result<T, Fault>,
    ) -> Result<T, StorageError> {
        let state = self.shared.lock();
        state
            .faults
            .check_reachable()
            .and_then(|()| read(&state))
            .map_err(|fault| StorageError::not_applied(op, fault))
    }

    /// Waits while a switch is on.
    async fn held_while(&self, is_held: impl Fn(&Switches) -> bool) {
        loop {
            let changed = self.shared.changed.notified();
            if !is_held(&self.shared.lock().faults) {
                return;
            }
            changed.await;
        }
    }

    fn settle_jobs(
        &self,
        inprogress: &Inprogress,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, StorageError> {
        self.write(SETTLE, |state| {
            Ok(state.settle(inprogress, settlements, SETTLE))
        })
    }

    /// Makes one change, if the storage can be reached, and wakes the waiting calls.
    fn write<T>(
        &self,
        op: &'static str,
        write: impl FnOnce(&mut State) -> Result<T, Fault>,
    ) -> Result<T, StorageError> {
        self.shared.change(|state| {
            let refused = |fault: Fault| fault.during(op);
            state.faults.check_reachable().map_err(refused)?;
            let is_lost = state.faults.count_change();
            let written = write(state).map_err(refused)?;
            match is_lost {
                true => Err(StorageError::unknown(op, Fault::ReplyLost)),
                false => Ok(written),
            }
        })
    }
}

/// An empty storage on the [`SystemClock`].
impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

impl Backend {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No change panics half-way.
        self.state.lock()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let output = change(&mut self.lock());
        self.changed.notify_waiters();
        output
    }
}

#[async_trait]
impl JobStore for MemoryStorage {
    async fn enqueue(&self, queue: &QueueName, jobs: &[Bytes]) -> Result<(), StorageError> {
        self.write("enqueue", |state| state.enqueue(queue, jobs))
    }

    async fn schedule(&self, jobs: &[Due]) -> Result<usize, StorageError> {
        self.write("schedule", |state| state.schedule(jobs))
    }

    async fn open_queue(
        &self,
        inprogress: &Inprogress,
    ) -> Result<Box<dyn QueueConnection>, StorageError> {
        self.read("open a queue", |_| Ok(()))?;
        Ok(Box::new(MemoryConnection::new(
            self.clone(),
            inprogress.clone(),
        )))
    }

    async fn settle(&self, inprogress: &Inprogress, settlements: &[Settlement]) -> Vec<Settled> {
        let settled = self
            .settle_jobs(inprogress, settlements)
            .and_then(|settled| {
                if self.shared.lock().faults.loses_reply(Operation::Settle) {
                    return Err(StorageError::unknown(SETTLE, Fault::ReplyLost));
                }
                Ok(settled)
            });
        settled.unwrap_or_else(|error| each_failed(settlements.len(), &error))
    }

    async fn inprogress(
        &self,
        inprogress: &Inprogress,
        page: Page,
    ) -> Result<Vec<Bytes>, StorageError> {
        let read = self.read("read the jobs in progress", |state| {
            state.inprogress_page(inprogress, page)
        });
        self.held_while(|faults| faults.holding_reads).await;
        read
    }

    async fn prefetched(&self, inprogress: &Inprogress) -> Result<usize, StorageError> {
        let now = self.shared.clock.instant();
        self.read("ask what was prefetched", |state| {
            Ok(state.prefetched(inprogress, now))
        })
    }

    async fn held_counts(&self, lists: &[Inprogress]) -> Result<Vec<HeldCount>, StorageError> {
        let now = self.shared.clock.instant();
        self.read("count jobs in progress", |state| {
            state.held_counts(lists, now)
        })
    }
}

#[async_trait]
impl DueStore for MemoryStorage {
    async fn due(&self, set: DueSet, now: SystemTime, page: Page) -> Result<DuePage, StorageError> {
        self.read("read due jobs", |state| state.due(set, now, page))
    }

    /// Wakes no one, because it brings no job.
    async fn poll_schedule(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<SchedulePoll, StorageError> {
        let now = self.shared.clock.instant();
        let mut state = self.shared.lock();
        (state.faults.check_reachable())
            .map(|()| state.poll_schedule(node, ttl, now))
            .map_err(|fault| StorageError::not_applied("look when a job is due", fault))
    }

    /// Wakes no one, because it brings no job.
    async fn trim_dead(&self, now: SystemTime, limits: DeadLimits) -> Result<bool, StorageError> {
        let mut state = self.shared.lock();
        (state.faults.check_reachable())
            .and_then(|()| state.trim_dead(now, limits))
            .map_err(|fault| StorageError::not_applied("cut the dead set", fault))
    }
}

#[async_trait]
impl StatsStore for MemoryStorage {
    async fn record_stats(
        &self,
        node: &NodeId,
        sequence: u64,
        report: &StatsReport,
    ) -> Result<bool, StorageError> {
        const OP: &str = "store statistics";
        self.held_while(|faults| faults.holding_reports).await;
        let panics = self
            .shared
            .change(|state| std::mem::take(&mut state.faults.panics_at_stats));
        assert!(!panics, "told to panic");
        let (added, lost) = self.write(OP, |state| {
            let added = state.record_stats(node, sequence, report)?;
            Ok((added, state.faults.loses_reply(Operation::RecordStats)))
        })?;
        if lost {
            return Err(StorageError::unknown(OP, Fault::ReplyLost));
        }
        Ok(added)
    }

    async fn stats(&self, queues: &[QueueName]) -> Result<StoredStats, StorageError> {
        self.read("read statistics", |state| state.stats(queues))
    }

    async fn day_stats(&self, days: &[Day]) -> Result<Vec<DayStats>, StorageError> {
        self.read("read the statistics of days", |state| {
            Ok(state.stats.of_days(days))
        })
    }

    async fn executions(
        &self,
        step: ExecutionStep,
        times: &[Minute],
        class: Option<&str>,
    ) -> Result<Vec<StoredExecutions>, StorageError> {
        self.read("read execution metrics", |state| {
            Ok(state.stats.of_steps(step, times, class))
        })
    }

    async fn histograms(
        &self,
        class: &str,
        minutes: &[Minute],
    ) -> Result<Vec<Histogram>, StorageError> {
        self.read("read how long runs took", |state| {
            Ok(state.stats.histograms(class, minutes))
        })
    }
}

#[async_trait]
impl WaitingStore for MemoryStorage {
    async fn queues(&self) -> Result<Vec<QueueName>, StorageError> {
        self.read("list the queues", |state| {
            Ok(state.queue_names.iter().cloned().collect())
        })
    }

    async fn len(&self, source: &Source) -> Result<usize, StorageError> {
        self.read("count the jobs of a queue or a set", |state| {
            state.len(source)
        })
    }

    async fn list(&self, source: &Source, request: &ListRequest) -> Result<Listing, StorageError> {
        self.read("read the jobs of a queue or a set", |state| {
            state.list(source, request)
        })
    }

    async fn scan(
        &self,
        source: &Source,
        cursor: u64,
        texts: &[String],
    ) -> Result<Scan, StorageError> {
        self.read("search the jobs of a queue or a set", |state| {
            state.scan(source, cursor, texts)
        })
    }

    async fn move_jobs(
        &self,
        from: &Source,
        moves: &[Move],
        due_by: Option<SystemTime>,
    ) -> Vec<Settled> {
        const OP: &str = "move a job";
        let moved = self.write(OP, |state| {
            let moved = state.move_jobs(from, moves, due_by, OP);
            Ok((moved, state.faults.loses_reply(Operation::MoveJobs)))
        });
        match moved {
            Ok((_, true)) => {
                let lost = StorageError::unknown(OP, Fault::ReplyLost);
                each_failed(moves.len(), &lost)
            }
            Ok((moved, false)) => moved,
            Err(error) => each_failed(moves.len(), &error),
        }
    }

    async fn clear(&self, source: &Source) -> Result<Cleared, StorageError> {
        self.write("clear a queue or a set", |state| state.clear(source))
    }
}

#[async_trait]
impl Server for MemoryStorage {
    async fn server_time(&self) -> Result<SystemTime, StorageError> {
        self.read("read the time", |_| Ok(self.shared.clock.now()))
    }
}

/// The same failure for each job of a batch.
const SETTLE: &str = "settle a job";

fn each_failed(count: usize, error: &StorageError) -> Vec<Settled> {
    vec![Settled::Failed(error.clone()); count]
}
