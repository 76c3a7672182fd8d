//! The seam between the managers and a backend: [`Storage`].
//!
//! Each method is one atomic change of state, named in verk's words and not in a backend's commands. Two
//! implementations pass one conformance suite (`verk-testing`): Redis and memory.
//!
//! ```text
//!            enqueue               dequeue                    Ack
//!  client ───────────▶ queue:Q ───────────▶ inprogress:Q:NODE ───▶ (gone)
//!     │                 ▲  ▲  ▲                │    │     │
//!     │ schedule        │  │  └──── Requeue ───┘    │     │ Dead
//!     ▼      promote    │  │                  Retry │     ▼
//!  schedule ────────────┘  └──── retry ◀────────────┘    dead
//! ```
//!
//! This is a seam for verk's own crates and for authors of backends: it may change in minor versions
//! until 1.0.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::{
    config::ScheduleKeys,
    error::StorageError,
    names::{Jid, NodeId, QueueName},
    stats::DayStats,
    time::calendar::Day,
};

pub use crate::{
    execution_metrics::{Executions, ExecutionsByMinute},
    time::calendar::Minute,
};

/// Where jobs live.
///
/// Payloads are opaque bytes: a backend never decodes or changes them.
///
/// # Errors
///
/// Every error says whether the change was [`NotApplied`](crate::Applied::NotApplied) or is
/// [`Unknown`](crate::Applied::Unknown) (sent, no reply). A backend never sends a change a second time
/// by itself.
///
/// # Cancel safety
///
/// A dropped future leaves the change done or not done, never half done, and the caller does not know
/// which: treat it as `Unknown`.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    // ---- jobs come in ----

    /// Appends `jobs` to the back of `queue`, in order: the first is the first to be fetched. All or none.
    ///
    /// Called twice, it stores the jobs twice. Nothing happens for an empty slice.
    async fn enqueue(&self, queue: &QueueName, jobs: &[Bytes]) -> Result<(), StorageError>;

    /// Adds `jobs` to the `schedule` set. All or none.
    ///
    /// Returns how many were merged with an equal member (same bytes), whose time they replaced.
    async fn schedule(&self, jobs: &[Due]) -> Result<usize, StorageError>;

    // ---- jobs are worked on ----

    /// Opens what the manager of one queue needs to fetch.
    async fn open_queue(
        &self,
        inprogress: &Inprogress,
    ) -> Result<Box<dyn QueueConnection>, StorageError>;

    /// Ends the stay of jobs in `inprogress`: each [`Settlement`] takes effect only if its job is still
    /// there, in one atomic step, adding to the target before removing from the list.
    ///
    /// Results are in the order of the settlements, one each: a batch never fails as a whole. Any number
    /// of settlements is accepted; the backend bounds its batches. Called twice, the second call answers
    /// [`Settled::NotHeld`] (unless the list holds the same bytes once more).
    async fn settle(&self, inprogress: &Inprogress, settlements: &[Settlement]) -> Vec<Settled>;

    /// Reads a page of `inprogress`, the most recently fetched first.
    async fn inprogress(
        &self,
        inprogress: &Inprogress,
        page: Page,
    ) -> Result<Vec<Bytes>, StorageError>;

    // ---- jobs become due ----

    /// Reads a page of the members of `set` that are due at `now`, the earliest first and at most [`MAX_BATCH_BYTES`], and
    /// when the next one after them is due. Changes nothing.
    async fn due(&self, set: DueSet, now: SystemTime, page: Page) -> Result<DuePage, StorageError>;

    /// Takes the lease on moving due jobs for `node`, or renews it, until `ttl` passes, unless another node holds it; and tells
    /// when the first member of each set is due. Changes no job.
    ///
    /// The lease is advice, so that of many nodes one does the work: [`due`](Self::due) and [`promote`](Self::promote) ask
    /// nobody for it. Called again, it renews. A set that cannot be read counts as due, and `due` says why.
    async fn poll_schedule(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<SchedulePoll, StorageError>;

    /// Moves due members of `set` on: each [`Promotion`] takes effect only if its member is still in the
    /// set and due at `now`, in one atomic step, adding before removing.
    ///
    /// Results are in the order of the promotions, one each, as with [`settle`](Self::settle). Called twice, the
    /// second call answers [`Settled::NotHeld`].
    async fn promote(&self, set: DueSet, now: SystemTime, promotions: &[Promotion])
    -> Vec<Settled>;

    /// Cuts the `dead` set to `limits`, by at most [`MAX_CUT_BY_TRIM`] jobs: what died longer than the
    /// time-out before `now`, and the oldest above the most jobs. Returns whether more are to go.
    ///
    /// A death cuts the set as well, but only by [`MAX_CUT_BY_DEATH`] jobs, so that it never waits for
    /// a set that is far over its limits. Called again, it goes on. After
    /// [`Unknown`](crate::Applied::Unknown) it may be sent again.
    async fn trim_dead(&self, now: SystemTime, limits: DeadLimits) -> Result<bool, StorageError>;

    // ---- nodes ----

    /// Takes the name of `node` (see [`NodeId::name`]) for one holder, until `ttl` passes without a heartbeat.
    ///
    /// Answers [`NameClaim::Granted`] again to the holder itself.
    async fn claim_name(&self, node: &NodeId, ttl: Duration) -> Result<NameClaim, StorageError>;

    /// Registers a node: first its heartbeat with its time to live, then the list of nodes, then its queues.
    ///
    /// Called again, it renews the heartbeat and adds queues.
    async fn register(
        &self,
        node: &NodeId,
        queues: &[QueueName],
        ttl: Duration,
    ) -> Result<(), StorageError>;

    /// Opens what the heartbeat needs: a connection of its own, bound to the calling runtime.
    async fn open_heartbeat(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Box<dyn Heartbeat>, StorageError>;

    /// Takes `node` off the list of nodes with its heartbeat, its queues, its name, its [lease](Self::poll_schedule), the number
    /// of its last [report](Self::record_stats) and the [deaths](Self::count_deaths) of its jobs, unless one of its `inprogress`
    /// lists still holds a job.
    ///
    /// Returns whether it did. Called twice, it answers `true` again.
    async fn deregister(&self, node: &NodeId) -> Result<bool, StorageError>;

    /// Lists every registered node, alive or not.
    async fn nodes(&self) -> Result<Vec<Node>, StorageError>;

    /// Lists the registered nodes whose heartbeat is missing. Every node asks again and again, so a backend answers this with less than
    /// [`nodes`](Self::nodes) takes if it can.
    async fn silent_nodes(&self) -> Result<Vec<Node>, StorageError> {
        let mut nodes = self.nodes().await?;
        nodes.retain(|node| !node.alive);
        Ok(nodes)
    }

    /// Like [`settle`](Self::settle), for the jobs of another node: takes effect only while the heartbeat
    /// of that node is missing. While it is alive, every answer is [`Settled::NotHeld`]. For a while after it, nobody
    /// [prefetches](DequeueRequest::prefetched) from the queue.
    async fn restore(&self, inprogress: &Inprogress, settlements: &[Settlement]) -> Vec<Settled>;

    // ---- pauses ----

    /// Pauses `queue` for all nodes, or resumes it, and announces that to every [`PauseListener`]. Its jobs stay where they
    /// are, and [`dequeue`](QueueConnection::dequeue) takes none while it is paused. A pause lasts until it is ended,
    /// whatever restarts meanwhile. The queue need not have a job, nor a node that runs it.
    ///
    /// Returns whether that changes anything. Called twice, it answers `false` and announces it again. After
    /// [`Unknown`](crate::Applied::Unknown) it may be sent again.
    async fn set_paused(&self, queue: &QueueName, paused: bool) -> Result<bool, StorageError>;

    /// The queues that are paused for all nodes, sorted.
    async fn paused_queues(&self) -> Result<Vec<QueueName>, StorageError>;

    /// Opens what a node needs to obey pauses: a connection of its own, which listens for announcements.
    async fn open_pause_listener(&self) -> Result<Box<dyn PauseListener>, StorageError>;
    /// How many of the most recently fetched jobs of `inprogress` were prefetched, and may not have been started: see
    /// [`DequeueRequest::prefetched`]. Changes nothing.
    async fn prefetched(&self, inprogress: &Inprogress) -> Result<usize, StorageError>;

    /// Counts for each of the jobs in `started` that a process died while it ran: that of `node`, whose heartbeat is missing. A count is
    /// kept for 72 hours after the last death.
    ///
    /// Returns how many deaths each of these jobs has seen, this one included. A node dies once: called again, with whatever jobs, it
    /// counts nothing, and returns what it returned the first time, until the node is [deregistered](Self::deregister). After an
    /// error, or a crash on the way, some are counted; called again, it counts the others. While the heartbeat is there, and once the
    /// node is off the list, it counts nothing, keeps nothing and returns nothing.
    async fn count_deaths(
        &self,
        node: &NodeId,
        started: &[Jid],
    ) -> Result<HashMap<Jid, u32>, StorageError>;

    /// Looks through a part of the storage for `inprogress` lists of nodes that are not registered, or that did not register their
    /// queue. Nobody restores those. `cursor` is 0 at first, then the [`ForeignPage::next`] of the answer before. Changes nothing.
    ///
    /// A list that is there the whole time is found; it may be found twice.
    async fn foreign_lists(&self, cursor: u64) -> Result<ForeignPage, StorageError>;

    // ---- statistics ----

    /// Adds what `node` counted to the totals, the days and the queues, all or none, unless a report of that node with
    /// the same `sequence` or a higher one was added before. Numbers of days are kept for 5 years, execution metrics for 8 hours
    /// or (without their histogram, in steps of 10 minutes) for 3 days.
    ///
    /// Returns whether it was added now. Called twice, it answers `false`. This is the one change that may be sent again after
    /// [`Unknown`](crate::Applied::Unknown): with the same `sequence` and content, it counts once. A node that crashes
    /// before it calls loses what it counted, and nothing else. The `sequence` is forgotten when the node deregisters, or a day after its
    /// last report.
    ///
    /// # Errors
    ///
    /// Besides those of the trait: when one of the counters is no number, and nothing is added then. Where another program put
    /// something else in the place of execution metrics, those are left out without an error.
    async fn record_stats(
        &self,
        node: &NodeId,
        sequence: u64,
        report: &StatsReport,
    ) -> Result<bool, StorageError>;

    /// Reads the totals, the sizes of the sets, and the state of `queues`, in their order, one each. Changes nothing.
    ///
    /// Not one moment: jobs may move meanwhile.
    async fn stats(&self, queues: &[QueueName]) -> Result<StoredStats, StorageError>;

    /// Reads what was processed on `days`, in their order, one each: zeros for a day that nothing is known of.
    async fn day_stats(&self, days: &[Day]) -> Result<Vec<DayStats>, StorageError>;

    // ---- processes ----

    /// Shows a process to whoever watches the fleet, Sidekiq Web among them, until a minute passes without another report, and
    /// takes what was asked of it meanwhile, the oldest first.
    ///
    /// Called again, it replaces what was shown. What was asked is answered once: it is lost with a reply that is lost, and the
    /// operator asks again.
    async fn report_process(
        &self,
        report: &ProcessReport,
    ) -> Result<Vec<ProcessSignal>, StorageError>;

    /// Shows a process no more, and forgets what was asked of it. Does nothing when it is not shown.
    async fn forget_process(&self, identity: &str) -> Result<(), StorageError>;

    /// Reads every process that is shown, those of Sidekiq too, by identity. Changes nothing.
    ///
    /// Not one moment: processes may come and go meanwhile.
    async fn processes(&self) -> Result<Vec<ProcessReport>, StorageError>;

    /// Asks something of a process, which takes it with its next [report](Self::report_process), within a minute or never.
    ///
    /// Called twice, it asks twice.
    async fn signal_process(
        &self,
        identity: &str,
        signal: ProcessSignal,
    ) -> Result<(), StorageError>;

    /// Forgets the names of processes whose last report was too long ago: they were killed. Of all programs, one does so in a
    /// minute.
    ///
    /// Returns how many. Called twice, or while another program sees to it, it answers 0.
    async fn prune_processes(&self) -> Result<usize, StorageError>;

    // ---- looking ----

    /// How many connections to the backend ended unexpectedly, or gave no reply, since this was made: as often it connected again, if
    /// there was something to do. Asks nobody. Stays 0 for a backend without connections.
    fn lost_connections(&self) -> u64 {
        0
    }

    /// Where the jobs are, for the log: such as host, port and database, never a password or a user.
    /// Defaults to the name of the type.
    fn address(&self) -> String {
        std::any::type_name::<Self>().to_owned()
    }

    /// The time of day of the backend. Also proves that it answers.
    async fn server_time(&self) -> Result<SystemTime, StorageError>;

    /// The names of all queues that ever had a job and were not removed, sorted.
    async fn queues(&self) -> Result<Vec<QueueName>, StorageError>;

    /// How many jobs wait in `queue`.
    async fn queue_len(&self, queue: &QueueName) -> Result<usize, StorageError>;

    /// Reads a page of `queue`, the next job to be fetched first.
    async fn queue_page(&self, queue: &QueueName, page: Page) -> Result<Vec<Bytes>, StorageError>;

    /// How many members `set` has.
    async fn set_len(&self, set: JobSet) -> Result<usize, StorageError>;

    /// Reads a page of `set`, the lowest score first.
    async fn set_page(&self, set: JobSet, page: Page) -> Result<Vec<ScoredJob>, StorageError>;

    /// What the backend tells of itself, as far as it wants to. Changes nothing.
    ///
    /// Not one moment. A backend that has nothing to tell answers the default.
    async fn server_facts(&self) -> Result<ServerFacts, StorageError> {
        Ok(ServerFacts::default())
    }

    /// Reads a page of `queue`, the job that came last first: what is fetched meanwhile leaves at the other end, and shifts
    /// no page.
    async fn newest_page(&self, queue: &QueueName, page: Page) -> Result<Vec<Bytes>, StorageError>;

    /// Reads some members of `set`, in no order, a step at a time: from `cursor` 0, then from the one that the step before
    /// answered. Of those that do not hold the bytes of `text`, none are answered.
    ///
    /// A member that is in the set from the first step to the last is read at least once, whatever changes meanwhile, even its
    /// score. A step may answer no member and not be the last.
    async fn scan_set(&self, set: JobSet, cursor: u64, text: &str)
    -> Result<SetScan, StorageError>;

    // ---- managing ----

    /// Takes jobs out of a queue or a set, or replaces them there: each [`Move`] takes effect only if its job is still there, in one
    /// atomic step, adding to the target before removing. Of equal jobs in a queue, one is taken.
    ///
    /// Results are in the order of the moves, one each, as with [`settle`](Self::settle). Called twice, the second call answers
    /// [`Settled::NotHeld`] (unless the queue holds the same bytes once more). So does a move to the set that the job is in, with
    /// its bytes and the time that it has; with another time, that becomes its time.
    async fn move_jobs(&self, from: &Source, moves: &[Move]) -> Vec<Settled>;

    /// Removes all jobs of a queue or a set, and a queue from the [names](Self::queues) until the next job comes, in one atomic step.
    ///
    /// Returns how many they were. Called twice, it answers 0.
    async fn clear(&self, source: &Source) -> Result<usize, StorageError>;
}

/// The fetching side of one queue on one node.
///
/// `&mut self` makes sure that one call is in flight at a time. A node may open a second one for the same list, and have
/// an exchange of each in flight.
#[async_trait]
pub trait QueueConnection: fmt::Debug + Send {
    /// Moves up to `request.max_jobs` of the oldest jobs of the queue to `inprogress`, oldest first in the
    /// answer, each in one atomic step; when the queue is empty, waits up to `request.wait` for one.
    ///
    /// Registers the node and the queue again, and takes nothing when the node's heartbeat is gone
    /// ([`Dequeued::NodeGone`]) or the queue is paused for all nodes ([`Dequeued::Paused`]). A queue that is paused during a
    /// wait may end it at once, or when it would have ended.
    ///
    /// # Errors
    ///
    /// After [`Unknown`](crate::Applied::Unknown), jobs may be in `inprogress` that nobody was told of: call
    /// [`reset`](Self::reset), then compare.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a dropped call may have moved jobs. Cancel `request.interrupt` and await the answer,
    /// which may still hold jobs.
    async fn dequeue(&mut self, request: DequeueRequest) -> Result<Dequeued, StorageError>;

    /// Settles jobs as [`Storage::settle`] does, then looks once for others as [`dequeue`](Self::dequeue) does without
    /// a wait: both in one round trip. Each has its own answer, and either may happen without the other.
    ///
    /// Takes up to [`MAX_BATCH_JOBS`] settlements of up to [`MAX_BATCH_BYTES`], but any one; none of them is
    /// [`Target::Requeue`]. Of `request`, the wait is as zero, and `max_jobs` may be 0.
    ///
    /// # Errors
    ///
    /// As those two. After [`Unknown`](crate::Applied::Unknown) it is so for both, and what
    /// [`dequeue`](Self::dequeue) says of it holds.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe, as `dequeue`.
    async fn settle_and_dequeue(
        &mut self,
        settlements: &[Settlement],
        request: &DequeueRequest,
    ) -> (Vec<Settled>, Result<Dequeued, StorageError>);

    /// Makes sure that no earlier call can still move a job: ends its connection on
    /// the server, or waits until the server has given up on it.
    ///
    /// # Errors
    ///
    /// When that could not be made sure of. Call it again before the next `dequeue`.
    async fn reset(&mut self) -> Result<(), StorageError>;
}

/// Tells a node which queues are paused for all nodes.
#[async_trait]
pub trait PauseListener: fmt::Debug + Send {
    /// Reads which queues are paused, over the connection that listens: an error says that announcements may have been
    /// missed as well. Open another then.
    async fn paused(&mut self) -> Result<BTreeSet<QueueName>, StorageError>;

    /// Waits until [`paused`](Self::paused) may answer something else than the last time. What is announced between the two
    /// calls is not missed. Other programs may change pauses without an announcement.
    ///
    /// # Errors
    ///
    /// When the connection ended. Open another then.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    async fn changed(&mut self) -> Result<(), StorageError>;
}

/// The heartbeat of one node.
#[async_trait]
pub trait Heartbeat: fmt::Debug + Send {
    /// Renews the heartbeat of the node, and its name if it holds one, for another time to live.
    ///
    /// Never creates what is gone: [`Beat::alive`] is `false` then.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    async fn beat(&mut self) -> Result<Beat, StorageError>;
}

/// The `inprogress:Q:NODE` list: the jobs of one queue that one node holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Inprogress {
    /// The queue.
    pub queue: QueueName,
    /// The node.
    pub node: NodeId,
}

/// What [`QueueConnection::dequeue`] is asked for.
#[derive(Clone, Debug)]
pub struct DequeueRequest {
    /// The most jobs to take; at least 1.
    pub max_jobs: usize,
    /// The most payload bytes to take, but at least one job.
    ///
    /// A fetch also ends when less is left of them than the jobs it took have on average. The next
    /// job would most likely not fit, and a backend would read it for nothing.
    pub max_bytes: usize,
    /// If `max_jobs` are taken, how many of the most recently fetched jobs in `inprogress` are not started at once, but wait in the node;
    /// with fewer, that many fewer wait. The storage remembers it until the next fetch, but no longer than
    /// 72 hours: if the node dies, those jobs did not kill it.
    ///
    /// For [`NO_PREFETCH_AFTER_RESTORE`] after jobs of a dead node were [restored](Storage::restore) to the queue, only as many are
    /// taken as start at once: then a job that kills its process is sure to count.
    pub prefetched: usize,
    /// How long to wait for a job when there is none; zero to look once.
    pub wait: Duration,
    /// Ends the wait early. The answer must still be awaited.
    pub interrupt: CancellationToken,
}

/// The answer to [`QueueConnection::dequeue`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dequeued {
    /// The payloads that were moved, oldest first; none when the queue stayed empty.
    Jobs(Vec<Bytes>),
    /// The queue is paused for all nodes. The payloads are what a wait brought in spite of it: they are in `inprogress`, and
    /// belong back at the front of the queue.
    Paused(Vec<Bytes>),
    /// The node's heartbeat is gone: it was declared dead, and takes nothing.
    NodeGone,
}

/// The answer to [`Heartbeat::beat`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Whether the heartbeat was still there and is renewed now.
    pub alive: bool,
    /// The backend's time of day.
    pub server_time: SystemTime,
    /// What tells one server from another, and a server from itself after a restart or a change of its role: for
    /// comparison only. Empty when it cannot be known.
    pub server: String,
}

/// How the stay of one job in `inprogress` ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The payload as it was fetched.
    pub held: Bytes,
    /// Where it goes.
    pub to: Target,
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
    /// To the `dead` set, which is then cut to the limits, by at most [`MAX_CUT_BY_DEATH`] jobs.
    Dead {
        /// The time of death, and the payload to bury.
        job: Due,
        /// The caps of the set.
        limits: DeadLimits,
    },
    /// Back to the front of its queue, unchanged: the next job to be fetched. Of several in one batch, the
    /// first is fetched first.
    Requeue,
}

/// A payload with the time that it is due (or, in the `dead` set, died).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub at: SystemTime,
    /// The payload to store.
    pub job: Bytes,
}

/// The caps of the `dead` set, which other programs share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLimits {
    /// The most jobs to keep: the oldest go first.
    pub max_jobs: usize,
    /// How long a dead job is kept.
    pub timeout: Duration,
}

/// What became of one [`Settlement`], [`Promotion`] or [`Move`].
#[derive(Clone, Debug)]
pub enum Settled {
    /// It took effect.
    Done,
    /// It took effect, and an equal member (same bytes) was in the target set already: there is one now, with the
    /// new time.
    Merged,
    /// Nothing happened: the job is not there any more.
    NotHeld,
    /// Nothing happened, or nobody knows: see [`StorageError::applied`].
    Failed(StorageError),
}

/// A step of a due job out of a [`DueSet`].
#[derive(Clone, Debug, PartialEq)]
pub struct Promotion {
    /// The member as it was read.
    pub held: Bytes,
    /// Where it goes.
    pub to: PromotionTarget,
}

/// Where a [`Promotion`] takes a job.
#[derive(Clone, Debug, PartialEq)]
pub enum PromotionTarget {
    /// To the back of a queue.
    Queue {
        /// The queue.
        queue: QueueName,
        /// The payload to store.
        job: Bytes,
    },
    /// To the `dead` set: it names no queue.
    Dead {
        /// The time of death, and the payload to bury.
        job: Due,
        /// The caps of the set.
        limits: DeadLimits,
    },
}

/// The sets whose members become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DueSet {
    /// Jobs for later.
    Schedule,
    /// Jobs that failed and run again.
    Retry,
}

/// The sorted sets of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobSet {
    /// Jobs for later.
    Schedule,
    /// Jobs that failed and run again.
    Retry,
    /// Jobs that will not run again by themselves.
    Dead,
}

impl From<DueSet> for JobSet {
    fn from(set: DueSet) -> Self {
        match set {
            DueSet::Schedule => Self::Schedule,
            DueSet::Retry => Self::Retry,
        }
    }
}

/// The answer to [`Storage::poll_schedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulePoll {
    /// Who moves due jobs.
    pub lease: Lease,
    /// When the first member of `schedule` is due; `None` when there is none.
    pub schedule: Option<SystemTime>,
    /// When the first member of `retry` is due; `None` when there is none.
    pub retry: Option<SystemTime>,
}

impl SchedulePoll {
    /// When the first member of `set` is due.
    #[must_use]
    pub fn next(&self, set: DueSet) -> Option<SystemTime> {
        match set {
            DueSet::Schedule => self.schedule,
            DueSet::Retry => self.retry,
        }
    }
}

/// Which node moves due jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// The one that asked.
    Granted,
    /// Another one.
    Held {
        /// How long its lease lasts if it is not renewed.
        ttl: Duration,
    },
}

/// Where jobs wait: a queue or a sorted set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The jobs that wait in a queue.
    Queue(QueueName),
    /// The members of a set.
    Set(JobSet),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(queue) => write!(f, "queue {queue}"),
            Self::Set(JobSet::Schedule) => f.write_str("the schedule set"),
            Self::Set(JobSet::Retry) => f.write_str("the retry set"),
            Self::Set(JobSet::Dead) => f.write_str("the dead set"),
        }
    }
}

/// A step of one job out of a [`Source`].
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The payload as it was read.
    pub held: Bytes,
    /// Where it goes.
    pub to: MoveTarget,
}

/// Where a [`Move`] takes a job.
#[derive(Clone, Debug, PartialEq)]
pub enum MoveTarget {
    /// Nowhere: it is deleted.
    Delete,
    /// Nowhere: another payload has its place in the queue, or its score. Of equal jobs in a queue, it is the next to be fetched.
    Replace {
        /// The payload to store.
        job: Bytes,
    },
    /// To the back of a queue, which is not the one that it comes from.
    Queue {
        /// The queue.
        queue: QueueName,
        /// The payload to store.
        job: Bytes,
    },
    /// To a set, due then.
    Set {
        /// The set.
        set: DueSet,
        /// The time, and the payload to store.
        job: Due,
    },
    /// To the `dead` set, which is then cut to the limits.
    Dead {
        /// The time of death, and the payload to bury.
        job: Due,
        /// The caps of the set.
        limits: DeadLimits,
    },
}

/// The answer to [`Storage::scan_set`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetScan {
    /// The members.
    pub jobs: Vec<ScoredJob>,
    /// Where the next step goes on; `None` when this was the last.
    pub next: Option<u64>,
}

/// The answer to [`Storage::due`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DuePage {
    /// The due members, the earliest first.
    pub jobs: Vec<Bytes>,
    /// When the first member after these is due; `None` when there is none. In the past when more are due.
    pub next: Option<SystemTime>,
}

/// A member of a sorted set with its score.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredJob {
    /// Seconds since 1970; other programs may have written any number.
    pub score: f64,
    /// The payload.
    pub job: Bytes,
}

/// The answer to [`Storage::claim_name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameClaim {
    /// The name is this node's now.
    Granted,
    /// Another node holds it.
    Held {
        /// The holder.
        by: NodeId,
        /// How long its claim lasts if it is not renewed.
        ttl: Duration,
    },
}

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Whether its heartbeat is there.
    pub alive: bool,
    /// The queues that it fetched from.
    pub queues: Vec<QueueName>,
}

/// An `inprogress` list that belongs to no registered node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForeignList {
    /// Its name in the storage; what is no UTF-8 in it is replaced.
    pub key: String,
    /// How many jobs it holds.
    pub jobs: usize,
}

/// The answer to [`Storage::foreign_lists`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignPage {
    /// What was found in this part.
    pub lists: Vec<ForeignList>,
    /// Where to go on; `None` when all was looked at.
    pub next: Option<u64>,
}

/// The answer to [`Storage::server_facts`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// In which sets jobs wait for their time.
    pub schedule_keys: ScheduleKeys,
    /// How many jobs wait in the sets of the other [`ScheduleKeys`].
    pub elsewhere: usize,
    /// By which policy the server may drop jobs when its memory is full; `None` when it drops none, or does not tell.
    pub eviction_policy: Option<String>,
    /// Whether the server writes every change to its disk; `None` when it does not tell.
    pub append_only: Option<bool>,
    /// Whether its last try to write to its disk failed.
    pub disk_fails: bool,
}

/// How many runs ended, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Without an error.
    pub succeeded: u64,
    /// With one, whatever followed.
    pub failed: u64,
}

impl Counts {
    /// All runs.
    #[must_use]
    pub fn processed(self) -> u64 {
        self.succeeded.saturating_add(self.failed)
    }

    /// Counts `more` as well.
    pub fn add(&mut self, more: Self) {
        self.succeeded = self.succeeded.saturating_add(more.succeeded);
        self.failed = self.failed.saturating_add(more.failed);
    }
}

/// What a node counted since its last report. The totals grow by the sum of the days.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatsReport {
    /// By day.
    pub days: BTreeMap<Day, Counts>,
    /// By queue.
    pub queues: BTreeMap<QueueName, Counts>,
    /// By minute and class, if that is wanted.
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

/// The answer to [`Storage::stats`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredStats {
    /// How many runs there were.
    pub processed: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many members `schedule` has.
    pub scheduled: usize,
    /// How many members `retry` has.
    pub retry: usize,
    /// How many members `dead` has.
    pub dead: usize,
    /// What was asked for, in that order.
    pub queues: Vec<StoredQueueStats>,
}

/// The state of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredQueueStats {
    /// What was processed of it.
    pub counts: Counts,
    /// How many jobs wait.
    pub enqueued: usize,
    /// The next job to be fetched.
    pub oldest: Option<Bytes>,
}

/// What a process shows of itself: what Sidekiq writes of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessReport {
    /// Its unique name, `HOST:PID:NONCE`.
    pub identity: String,
    /// What rarely changes, as a JSON object: Sidekiq's `info`.
    pub info: Bytes,
    /// How many jobs may run at once.
    pub concurrency: usize,
    /// How many do.
    pub busy: usize,
    /// Whether it fetches no more.
    pub quiet: bool,
    /// When it said so.
    pub beat: SystemTime,
    /// How much memory it uses, in KiB; 0 when that cannot be known.
    pub rss: u64,
    /// How long the storage took to answer.
    pub rtt: Duration,
    /// Jobs that run, as JSON objects, by what is Sidekiq's thread id. Not always all of them.
    pub work: BTreeMap<String, Bytes>,
    /// Whether the jobs are also shown where Sidekiq before 6.4.2 looks for them. Not read back.
    pub sidekiq_6_work: bool,
}

/// What can be asked of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProcessSignal {
    /// Fetch nothing more: TSTP.
    Quiet,
    /// Finish what runs, hand back the rest, and end: TERM.
    Stop,
    /// Log what runs: TTIN.
    Dump,
}

/// A slice of a list or a set: `limit` entries from `offset`, or as many as [`MAX_BATCH_BYTES`] hold, but at least one. The
/// slice after it starts `offset` and as many entries later as were read; none are read where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many entries to pass over.
    pub offset: usize,
    /// The most entries to read.
    pub limit: usize,
}

/// The most jobs that go into one batch.
pub const MAX_BATCH_JOBS: usize = 100;

/// The most payload bytes that go into one batch, which still holds at least one job: 1 MiB.
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// The most jobs that one death cuts from the `dead` set: see [`Storage::trim_dead`].
pub const MAX_CUT_BY_DEATH: usize = 100;

/// The most jobs that one call of [`Storage::trim_dead`] cuts.
pub const MAX_CUT_BY_TRIM: usize = 1000;

/// For how long nobody prefetches from a queue after jobs of a dead node were restored to it: 10 minutes.
pub const NO_PREFETCH_AFTER_RESTORE: Duration = Duration::from_secs(10 * 60);

/// `Storage` is held as `Arc<dyn Storage>`.
const _: fn(&dyn Storage) = |_| {};
