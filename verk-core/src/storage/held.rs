//! The jobs that a node holds: fetched, settled, read.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::{
    error::StorageError,
    names::{NodeId, QueueName},
    storage::{DeadLimits, Due, Effects, MAX_BATCH_JOBS, Page, Settled},
};

/// Jobs from the enqueue to the end of their run.
///
/// A part of [`Storage`](super::Storage), whose page has the rules for errors and dropped futures.
#[async_trait]
pub trait JobStore: fmt::Debug + Send + Sync + 'static {
    /// Appends `jobs` to the back of `queue`, in order: the first is the first to be fetched. It
    /// appends all or none.
    ///
    /// Called twice, it stores the jobs twice. Nothing happens for an empty slice.
    async fn enqueue(&self, queue: &QueueName, jobs: &[Bytes]) -> Result<(), StorageError>;

    /// Adds `jobs` to the `schedule` set, all or none.
    ///
    /// Returns how many were merged with an equal member (same bytes), whose time they replaced.
    async fn schedule(&self, jobs: &[Due]) -> Result<usize, StorageError>;

    /// Opens the connection with which the manager of one queue fetches.
    async fn open_queue(
        &self,
        inprogress: &Inprogress,
    ) -> Result<Box<dyn QueueConnection>, StorageError>;

    /// Settles jobs in `inprogress`: each [`Settlement`] takes effect only if its job is still
    /// there, in one atomic step that adds to the target before it removes from the list.
    ///
    /// Results are in the order of the settlements, one each: a batch never fails as a whole. It
    /// accepts any number of settlements; the backend bounds its batches. Called twice, the second
    /// call returns [`Settled::NotHeld`] (unless the list has the same bytes once more).
    async fn settle(&self, inprogress: &Inprogress, settlements: &[Settlement]) -> Vec<Settled>;

    /// Reads a page of `inprogress`, the most recently fetched first.
    async fn inprogress(
        &self,
        inprogress: &Inprogress,
        page: Page,
    ) -> Result<Vec<Bytes>, StorageError>;

    /// Returns how many of the most recently fetched jobs of `inprogress` were prefetched, and may
    /// not have been started: see [`DequeueRequest::prefetched`]. Changes nothing.
    async fn prefetched(&self, inprogress: &Inprogress) -> Result<usize, StorageError>;

    /// Counts the jobs of `lists`, in their order, one each: 0 for a list that does not exist.
    /// Reads no job, and changes nothing.
    ///
    /// Not one moment: jobs may move meanwhile.
    async fn held_counts(&self, lists: &[Inprogress]) -> Result<Vec<HeldCount>, StorageError>;
}

/// How many jobs an `inprogress` list has: see [`JobStore::held_counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldCount {
    /// How many jobs it has.
    pub jobs: usize,
    /// How many of them were prefetched: see [`JobStore::prefetched`]. At most `jobs`.
    pub prefetched: usize,
}

/// Reads the rest of `inprogress` from a place on, the most recently fetched job first. A page that
/// is not full need not be the last one: large jobs end it earlier.
pub(crate) async fn read_from(
    storage: &(impl JobStore + ?Sized),
    inprogress: &Inprogress,
    start: usize,
) -> Result<Vec<Bytes>, StorageError> {
    let mut jobs = Vec::new();
    loop {
        let page = Page {
            offset: start + jobs.len(),
            limit: MAX_BATCH_JOBS,
        };
        let read = storage.inprogress(inprogress, page).await?;
        if read.is_empty() {
            return Ok(jobs);
        }
        jobs.extend(read);
    }
}

/// The fetching side of one queue on one node.
///
/// `&mut self` ensures that one call is in flight at a time. A node may open a second connection
/// for the same list, and have an exchange of each in flight.
#[async_trait]
pub trait QueueConnection: fmt::Debug + Send {
    /// Moves up to `request.max_jobs` of the oldest jobs of the queue to `inprogress`, each in one
    /// atomic step. The answer has the oldest first. If the queue is empty, waits up to
    /// `request.wait` for a job.
    ///
    /// Registers the node and the queue again. It takes nothing if the node's heartbeat is gone
    /// ([`Dequeued::NodeGone`]) or the queue is paused for all nodes ([`Dequeued::Paused`]). If the
    /// queue is paused during a wait, the wait may end at once, or when it would have ended.
    ///
    /// # Errors
    ///
    /// After [`Unknown`](crate::error::Applied::Unknown), `inprogress` may have jobs that the
    /// caller does not know: call [`reset`](Self::reset), then compare.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a dropped call may have moved jobs. Cancel `request.interrupt` and await
    /// the answer, which may still have jobs.
    async fn dequeue(&mut self, request: DequeueRequest) -> Result<Dequeued, StorageError>;

    /// Settles jobs as [`JobStore::settle`](crate::storage::JobStore::settle) does, then fetches
    /// others once as [`dequeue`](Self::dequeue) does without a wait, both in one round trip. Each
    /// has its own answer, and either may happen without the other.
    ///
    /// Takes up to [`MAX_BATCH_JOBS`](super::MAX_BATCH_JOBS) settlements of up to
    /// [`MAX_BATCH_BYTES`](super::MAX_BATCH_BYTES), but at least one of any size. None of them is
    /// [`Target::Requeue`]. The wait of `request` counts as zero, and its `max_jobs` may be 0.
    ///
    /// # Errors
    ///
    /// Those of the two. [`Unknown`](crate::error::Applied::Unknown) then holds for both, and
    /// requires what [`dequeue`](Self::dequeue) says.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe, as `dequeue`.
    async fn settle_and_dequeue(
        &mut self,
        settlements: &[Settlement],
        request: &DequeueRequest,
    ) -> (Vec<Settled>, Result<Dequeued, StorageError>);

    /// Ensures that no earlier call can still move a job: ends its connection on the server, or
    /// waits until the server has given up on it.
    ///
    /// # Errors
    ///
    /// When it could not ensure that. Call it again before the next `dequeue`.
    async fn reset(&mut self) -> Result<(), StorageError>;
}

/// The `inprogress:Q:NODE` list: the jobs of one queue that one node holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Inprogress {
    /// The queue that the jobs were fetched from.
    pub queue: QueueName,
    /// The node that holds the jobs.
    pub node: NodeId,
}

/// A request for jobs: see [`QueueConnection::dequeue`].
#[derive(Clone, Debug)]
pub struct DequeueRequest {
    /// The most jobs to take; at least 1.
    pub max_jobs: usize,
    /// The most payload bytes to take, but at least one job.
    ///
    /// A fetch also ends when less is left of them than the average size of the jobs that it took.
    /// The next job would most likely not fit, and a backend would read it without need.
    pub max_bytes: usize,
    /// If the fetch returns `max_jobs` jobs, how many of them sit in memory unstarted; `k` fewer if
    /// it returns `k` fewer. The storage keeps it until the next fetch, but no longer than 72
    /// hours, so that a crash does not count a death for jobs that never ran.
    ///
    /// For [`NO_PREFETCH_AFTER_RESTORE`] after jobs of a dead node were
    /// [restored](crate::storage::NodeStore::restore) to the queue, a fetch takes only as many as
    /// start at once. So a job that kills its process certainly counts a death.
    pub prefetched: usize,
    /// How long to wait for a job when there is none; zero to return at once.
    pub wait: Duration,
    /// Ends the wait early. The answer must still be awaited.
    pub interrupt: CancellationToken,
}

/// The answer to [`QueueConnection::dequeue`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dequeued {
    /// The payloads that were moved, oldest first; none when the queue stayed empty.
    Jobs(Vec<Bytes>),
    /// The queue is paused for all nodes. The payloads are those that a wait still brought: they
    /// are in `inprogress`, and belong back at the front of the queue.
    Paused(Vec<Bytes>),
    /// The node's heartbeat is gone: the node was declared dead, and the fetch took nothing.
    NodeGone,
}

/// The settlement of one job in `inprogress`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The payload as it was fetched.
    pub held: Bytes,
    /// Where the job goes.
    pub to: Target,
    /// What happens besides, if the job is there.
    pub effects: Effects,
}

impl Settlement {
    /// A settlement without effects.
    #[must_use]
    pub const fn new(held: Bytes, to: Target) -> Self {
        Self {
            held,
            to,
            effects: Effects::NONE,
        }
    }
}

/// Where a [`Settlement`] takes a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Nowhere: the job is done, or discarded.
    Ack,
    /// To the `retry` set.
    Retry(Due),
    /// To the `schedule` set (a snooze).
    Schedule(Due),
    /// To the `dead` set, which is then cut to the limits, by at most
    /// [`MAX_CUT_BY_DEATH`](super::MAX_CUT_BY_DEATH) jobs.
    Dead {
        /// The time of death, and the payload to bury.
        job: Due,
        /// The caps of the set.
        limits: DeadLimits,
    },
    /// Back to the front of its queue, unchanged: the next job to be fetched. Of several in one
    /// batch, the first is fetched first.
    Requeue,
}

/// For how long no node prefetches from a queue after jobs of a dead node were restored to it: 10
/// minutes.
pub const NO_PREFETCH_AFTER_RESTORE: Duration = Duration::from_secs(10 * 60);
