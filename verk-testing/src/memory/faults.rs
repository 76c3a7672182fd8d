//! The faults of a [`MemoryStorage`](super::MemoryStorage): [`Faults`].

use std::{collections::HashSet, sync::Arc};

use thiserror::Error;
use verk_core::{
    QueueName, StorageError,
    error::StorageErrorKind,
    names::NodeId,
    storage::{Inprogress, JobSet, LockId},
};

use super::Backend;

/// The switches that make a [`MemoryStorage`](super::MemoryStorage) fail, as a server does.
///
/// Clones switch the same storage. All are off at first.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use verk_core::{error::Applied, storage::JobStore};
/// use verk_testing::MemoryStorage;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let storage = MemoryStorage::default();
/// let queue = "default".parse().unwrap();
/// let jobs = [Bytes::from("{}")];
///
/// storage.faults().set_full(true);
/// let refused = storage.enqueue(&queue, &jobs).await.unwrap_err();
/// assert_eq!(refused.applied(), Applied::NotApplied);
///
/// storage.faults().set_full(false);
/// storage.enqueue(&queue, &jobs).await.unwrap();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Faults {
    pub(super) shared: Arc<Backend>,
}

impl Faults {
    /// Makes `key` behave as if another program had stored a value of another type there: every
    /// move from or to it fails with [`NotApplied`](verk_core::error::Applied::NotApplied). Its
    /// content is back after [`mend_key`](Self::mend_key).
    pub fn break_key(&self, key: Key) {
        self.shared.change(|state| state.faults.broken.insert(key));
    }

    /// Ends [`break_key`](Self::break_key).
    pub fn mend_key(&self, key: &Key) {
        self.shared.change(|state| state.faults.broken.remove(key));
    }

    /// While `true`, new jobs are refused with
    /// [`NotApplied`](verk_core::error::Applied::NotApplied), as by a Redis that reached its
    /// `maxmemory`. Everything else works, so that the storage drains.
    pub fn set_full(&self, full: bool) {
        self.shared.change(|state| state.faults.full = full);
    }

    /// Loses the reply to the next `operation`: the change happens, and the caller gets
    /// [`Unknown`](verk_core::error::Applied::Unknown).
    pub fn lose_reply(&self, operation: Operation) {
        self.shared
            .change(|state| state.faults.lost_replies.insert(operation));
    }

    /// While `true`, every operation fails with
    /// [`NotApplied`](verk_core::error::Applied::NotApplied), as with a server that refuses
    /// connections. Stored jobs stay.
    pub fn set_refusing(&self, refusing: bool) {
        self.shared.change(|state| {
            state.faults.refusing = refusing;
            state.faults.last_change = None;
        });
    }

    /// Makes `changes` more changes and then [refuses](Self::set_refusing), as with a server or a
    /// caller that crashes between two steps.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use verk_core::{error::Applied, storage::JobStore};
    /// use verk_testing::MemoryStorage;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let storage = MemoryStorage::default();
    /// let queue = "default".parse().unwrap();
    /// storage.faults().refuse_after(1);
    /// storage.enqueue(&queue, &[Bytes::from("{}")]).await.unwrap();
    /// let refused = storage.enqueue(&queue, &[Bytes::from("{}")]).await.unwrap_err();
    /// assert_eq!(refused.applied(), Applied::NotApplied);
    /// # }
    /// ```
    pub fn refuse_after(&self, changes: usize) {
        self.refuse_with(changes, Reply::Comes);
    }

    /// As [`refuse_after`](Self::refuse_after), but the reply to the last change is lost: the
    /// change happens, and the caller gets [`Unknown`](verk_core::error::Applied::Unknown).
    pub fn lose_after(&self, changes: usize) {
        self.refuse_with(changes, Reply::Lost);
    }

    fn refuse_with(&self, changes: usize, reply: Reply) {
        self.shared.change(|state| {
            state.faults.refusing = changes == 0;
            state.faults.last_change = Some((changes, reply));
        });
    }

    /// While `true`, heartbeats fail with [`Unknown`](verk_core::error::Applied::Unknown);
    /// everything else works.
    pub fn set_losing_heartbeats(&self, losing: bool) {
        self.shared
            .change(|state| state.faults.losing_heartbeats = losing);
    }

    /// While `true`, reads of an `inprogress` list return later, with the list as it was at the
    /// call.
    pub fn set_holding_reads(&self, holding: bool) {
        self.shared
            .change(|state| state.faults.holding_reads = holding);
    }

    /// While `true`, calls that store statistics, show a process or deregister a node do not
    /// return.
    pub fn set_holding_reports(&self, holding: bool) {
        self.shared
            .change(|state| state.faults.holding_reports = holding);
    }

    /// Makes the next report of statistics panic, like a backend with a bug.
    pub fn panic_at_stats(&self) {
        self.shared
            .change(|state| state.faults.panics_at_stats = true);
    }

    /// Ends the heartbeat of `node`, as if its time to live had passed.
    pub fn expire_heartbeat(&self, node: &NodeId) {
        self.shared.change(|state| state.expire_heartbeat(node));
    }

    /// Ends the claim on the name of `node`, as if its time to live had passed.
    pub fn expire_name(&self, node: &NodeId) {
        self.shared.change(|state| state.expire_name(node));
    }
}

/// A place in a storage that can be broken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The list of waiting jobs of one queue.
    Queue(QueueName),
    /// The list of jobs of one queue that one node holds.
    Inprogress(Inprogress),
    /// A sorted set of jobs.
    Set(JobSet),
    /// A unique lock.
    Lock(LockId),
    /// The set of the queues that are paused for all nodes.
    Paused,
    /// The entries of the timetable.
    Cron,
    /// The times of their next runs.
    CronDue,
    /// The counter of all runs.
    Processed,
    /// The counter of the runs of a queue that failed.
    FailedOf(QueueName),
}

/// An operation whose reply can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`QueueConnection::dequeue`](verk_core::storage::QueueConnection::dequeue).
    Dequeue,
    /// [`JobStore::settle`](verk_core::storage::JobStore::settle).
    Settle,
    /// [`StatsStore::record_stats`](verk_core::storage::StatsStore::record_stats).
    RecordStats,
    /// [`NodeStore::count_deaths`](verk_core::storage::NodeStore::count_deaths).
    CountDeaths,
    /// [`WaitingStore::move_jobs`](verk_core::storage::WaitingStore::move_jobs).
    MoveJobs,
    /// [`CronStore::tick_cron`](verk_core::storage::CronStore::tick_cron).
    TickCron,
    /// [`CronStore::upsert_cron`](verk_core::storage::CronStore::upsert_cron).
    UpsertCron,
    /// [`EffectStore::enqueue_once`](verk_core::storage::EffectStore::enqueue_once).
    EnqueueOnce,
}

/// Why a [`MemoryStorage`](super::MemoryStorage) failed: the source of its
/// [`StorageError`](verk_core::StorageError).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The place was broken with [`Faults::break_key`].
    #[error("{0:?} holds a value of another type")]
    WrongType(Key),
    /// The storage was filled with [`Faults::set_full`].
    #[error("no memory is left for new jobs")]
    Full,
    /// A job with `KeepLast` cannot wait for its lock.
    #[error(
        "the job cannot wait for its lock: the holder is in another queue, or the job is for later"
    )]
    CannotWait,
    /// The queue lies in another cell, or is about to: see [`Gate`](verk_core::storage::Gate).
    #[error("the queue moves: it lies in another cell, or is about to")]
    QueueMoved,
    /// The reply was lost with [`Faults::lose_reply`].
    #[error("the connection broke before the reply came")]
    ReplyLost,
    /// The storage refuses, because of [`Faults::set_refusing`].
    #[error("connection refused")]
    Refused,
}

impl Fault {
    /// Why an operation was refused.
    pub(super) fn during(self, op: &'static str) -> StorageError {
        let kind = match self {
            Self::QueueMoved => StorageErrorKind::Moved,
            _ => StorageErrorKind::Other,
        };
        StorageError::not_applied(op, self).with_kind(kind)
    }
}

/// Whether the caller gets the answer to a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    Comes,
    Lost,
}

/// Which switches are on.
#[derive(Debug, Default)]
pub(super) struct Switches {
    broken: HashSet<Key>,
    full: bool,
    lost_replies: HashSet<Operation>,
    refusing: bool,
    /// How many changes are left before it refuses, and whether the reply to the last one comes.
    last_change: Option<(usize, Reply)>,
    pub(super) losing_heartbeats: bool,
    pub(super) holding_reads: bool,
    pub(super) holding_reports: bool,
    pub(super) panics_at_stats: bool,
}

impl Switches {
    pub(super) fn check_reachable(&self) -> Result<(), Fault> {
        if self.refusing {
            return Err(Fault::Refused);
        }
        Ok(())
    }

    /// Counts a change. Returns whether its reply is lost.
    pub(super) fn count_change(&mut self) -> bool {
        let Some((left, reply)) = &mut self.last_change else {
            return false;
        };
        *left = left.saturating_sub(1);
        if *left > 0 {
            return false;
        }
        let is_lost = *reply == Reply::Lost;
        self.refusing = true;
        self.last_change = None;
        is_lost
    }

    pub(super) fn check_room(&self) -> Result<(), Fault> {
        if self.full {
            return Err(Fault::Full);
        }
        Ok(())
    }

    pub(super) fn check_key(&self, key: Key) -> Result<(), Fault> {
        if self.broken.contains(&key) {
            return Err(Fault::WrongType(key));
        }
        Ok(())
    }

    /// Whether this reply is to be lost; only the first answer is `true`.
    pub(super) fn loses_reply(&mut self, operation: Operation) -> bool {
        self.lost_replies.remove(&operation)
    }
}
