//! The interface between the managers and a backend: [`Storage`].
//!
//! Each method is one atomic change of state, named in verk's words and not in a backend's
//! commands. Two implementations pass one conformance suite (`verk-testing`): Redis and memory.
//!
//! ```text
//!            enqueue               dequeue                    Ack
//!  client ───────────▶ queue:Q ───────────▶ inprogress:Q:NODE ───▶ (gone)
//!     │                 ▲  ▲  ▲                │    │     │
//!     │ schedule        │  │  └──── Requeue ───┘    │     │ Dead
//!     ▼     move_jobs   │  │                  Retry │     ▼
//!  schedule ────────────┘  └──── retry ◀────────────┘    dead
//! ```
//!
//! A new method costs five edits: its declaration in the file of its part, verk-redis in the file
//! of the same name, `MemoryStorage`, the `FaultyStorage` of the simulation, and a case of the
//! conformance suite.
//!
//! This is an interface for verk's own crates and for authors of backends: it may change in minor
//! versions until 1.0.

mod audit;
mod cells;
mod cron;
mod due;
mod effects;
mod held;
mod lists;
mod nodes;
mod pauses;
mod places;
mod processes;
mod server;
mod stats;
mod values;

pub use crate::{job::HolderPlace, time::calendar::Minute};

#[cfg(feature = "cron")]
pub(crate) use self::cron::read_cron_named;
pub(crate) use self::{cron::read_cron, held::read_from, places::contains};

pub use self::{
    audit::{AuditStore, MAX_AUDIT_ENTRIES},
    cells::{CellStore, Gate, MovedQueue},
    cron::{
        CronChange, CronPush, CronSeen, CronStore, CronTick, CronUpsert, LockedPush,
        MAX_CRON_RECORDS, MAX_SUPERSEDED, StoredCron, Ticked, cron_next, cron_score,
    },
    due::{DuePage, DueSet, DueStore, Lease, MAX_CUT_BY_TRIM, SchedulePoll},
    effects::{
        Cleared, Conflict, Effect, EffectStore, Effects, InvalidLockId, LockId, LockPage, LockRef,
        Locked, LockedJob, MAX_REPLACE_SEARCH, NewLock, Once, OnceAnswer, OnceJob, SUSPECT_AFTER,
        StoredLock,
    },
    held::{
        DequeueRequest, Dequeued, HeldCount, Inprogress, JobStore, NO_PREFETCH_AFTER_RESTORE,
        QueueConnection, Settlement, Target,
    },
    lists::{ListRequest, Listing, MAX_LIST_LOOKS, Order, Position},
    nodes::{
        Beat, ForeignList, ForeignPage, Heartbeat, NameClaim, Node, NodeStore, StoredNodeInfo,
    },
    pauses::{PauseListener, PauseStore, StoredPause},
    places::{Move, MoveTarget, Scan, WaitingJob, WaitingStore},
    processes::{ProcessReport, ProcessSignal, ProcessStore, ShownWork, WorkPage, WorkPlace},
    server::{ScheduleKeys, Server, ServerFacts, ServerKind, ServerRole},
    stats::{
        Counts, DayStats, ExecutionCounts, ExecutionStep, Executions, ExecutionsByMinute,
        Histogram, MAX_EXECUTION_CLASSES, StatsReport, StatsStore, StoredExecutions,
        StoredQueueStats, StoredStats,
    },
    values::{
        DeadLimits, Due, JobSet, MAX_BATCH_BYTES, MAX_BATCH_JOBS, MAX_CUT_BY_DEATH, Page, Settled,
        Source,
    },
};

/// Where jobs are stored: twelve parts, each a trait. A type with all of them is a `Storage`.
///
/// `dyn Storage` has the methods of all parts. To call one on a backend's own type, import its
/// part:
///
/// ```
/// use verk_core::storage::WaitingStore;
/// # use verk_testing::MemoryStorage;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), verk_core::StorageError> {
/// let storage = MemoryStorage::default();
/// assert_eq!(storage.queues().await?, []);
/// # Ok(())
/// # }
/// ```
///
/// Payloads are opaque bytes: a backend never decodes or changes them.
///
/// # Errors
///
/// Every error says whether the change was [`NotApplied`](crate::error::Applied::NotApplied) or is
/// [`Unknown`](crate::error::Applied::Unknown) (sent, no reply). A backend itself never sends a
/// change a second time.
///
/// # Cancel safety
///
/// If a future is dropped, the change is done or not done, never half done, and the caller does not
/// know which: treat it as `Unknown`.
pub trait Storage:
    JobStore
    + DueStore
    + NodeStore
    + PauseStore
    + StatsStore
    + ProcessStore
    + WaitingStore
    + AuditStore
    + CronStore
    + EffectStore
    + CellStore
    + Server
{
}

impl<S> Storage for S where
    S: JobStore
        + DueStore
        + NodeStore
        + PauseStore
        + StatsStore
        + ProcessStore
        + WaitingStore
        + AuditStore
        + CronStore
        + EffectStore
        + CellStore
        + Server
{
}

/// `Storage` is held as `Arc<dyn Storage>`.
const _: fn(&dyn Storage) = |_| {};
