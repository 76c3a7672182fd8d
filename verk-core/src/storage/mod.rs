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

mod due;
mod held;
mod nodes;
mod pauses;
mod places;
mod processes;
mod server;
mod stats;
mod values;

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::StorageError,
    names::{Jid, NodeId, QueueName},
    time::calendar::Day,
};

pub use crate::time::calendar::Minute;

pub use self::{
    due::{DuePage, DueSet, Lease, MAX_CUT_BY_TRIM, Promotion, PromotionTarget, SchedulePoll},
    held::{
        DequeueRequest, Dequeued, Inprogress, NO_PREFETCH_AFTER_RESTORE, QueueConnection,
        Settlement, Target,
    },
    nodes::{Beat, ForeignList, ForeignPage, Heartbeat, NameClaim, Node},
    pauses::PauseListener,
    places::{Move, MoveTarget, SetScan},
    processes::{ProcessReport, ProcessSignal},
    server::{ScheduleKeys, ServerFacts},
    stats::{
        Counts, DayStats, Executions, ExecutionsByMinute, StatsReport, StoredQueueStats,
        StoredStats,
    },
    values::{
        DeadLimits, Due, JobSet, MAX_BATCH_BYTES, MAX_BATCH_JOBS, MAX_CUT_BY_DEATH, Page,
        ScoredJob, Settled, Source,
    },
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

/// `Storage` is held as `Arc<dyn Storage>`.
const _: fn(&dyn Storage) = |_| {};
