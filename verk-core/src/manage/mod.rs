//! The operator's view of a fleet: [`Admin`].

mod act;
mod audit;
mod breakdown;
mod cursor;
mod display;
mod enqueue;
mod entry;
mod execution_cache;
mod executions;
mod filter;
mod jobs;
mod key;
mod list;
mod locks;
mod migrate;
mod nodes;
mod pauses;
mod processes;
mod queues;
mod running;
mod search;
mod selection;
mod server;
mod stats;
mod tail;
#[cfg(feature = "cron")]
pub(crate) mod timetable;
mod why;

use std::time::SystemTime;

use crate::{
    client::Client,
    config::Config,
    error::StorageError,
    names::{InvalidName, Jid, QueueName},
    node::foreign,
    storage::{ForeignList, JobSet, Source, Storage},
    time::clock::Clock,
    verk::{Verk, parts::Parts},
};

pub use crate::storage::{
    ExecutionCounts, ExecutionStep, Executions, Histogram, LockId, LockPage, ServerFacts,
    ServerKind, ServerRole, StoredLock,
};

pub use self::{
    act::{Acted, Action},
    audit::AuditEntry,
    breakdown::{Breakdown, Group},
    cursor::{Cursor, InvalidCursor},
    entry::Entry,
    execution_cache::ExecutionCache,
    executions::{ClassExecutions, ExecutionHistory, ExecutionRange, HistogramHistory},
    filter::Filter,
    jobs::Jobs,
    key::{EntryKey, InvalidEntryKey, Place},
    list::{Listed, Query, SEARCH_BUDGET},
    migrate::{
        LeftBehind, LeftReason, MAX_GAP, MAX_LEFT_NAMED, MigrateError, Migrated, MigratedPlace,
        Migration, MigrationProgress, MigrationReport, MoveQueueError, QueueMove, QueueMoveReport,
        QueuePlace,
    },
    nodes::{NodeInfo, NodeQueue, NodeStatus},
    pauses::{Pause, PauseNote},
    processes::{Process, ProcessQueue},
    queues::{Overview, QueueOverview},
    running::{InvalidRunningCursor, RunningCursor, RunningJob, RunningPage},
    search::{Found, JobInProgress},
    selection::{Progress, Selection},
    server::CellStatus,
    tail::{Skipped, Tail, TailEvent},
    why::{Explanation, InvalidRefPlace, JobPlace, JobRef, Reason, RefPlace, SearchPlace, Why},
};

#[cfg(feature = "cron")]
pub(crate) use self::why::Runner;

/// The operator's handle: the waiting jobs in every place, the statistics, pauses, and the
/// [doctor](Self::doctor). Cheap to clone; made by [`Verk::admin`] and [`Client::admin`].
///
/// Every method that reads or changes the storage, for all programs that share it, is one of
/// `Admin`. Methods of this node alone are on [`Verk`].
///
/// It keeps no [`Verk`] alive, and works after a shutdown. It needs no node: a program that runs no
/// queue, such as a command line or a web page, can have one too.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use verk_core::{Job, Verk};
/// # use verk_testing::MemoryStorage;
/// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
/// # verk.enqueue(Job::new("Welcome", "mailers".parse()?, r#"["ada"]"#.to_owned())?).await?;
/// let admin = verk.admin();
/// println!("{}", admin.stats().await?);
/// admin.pause_queue_everywhere("mailers").await?;
/// assert_eq!(admin.queue("mailers")?.clear().await?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
    /// The node that it comes from, if any. Its queues are listed even if no other program knows
    /// them, and the doctor uses its settings and workers.
    node: Option<Parts>,
}

/// # Jobs
impl Admin {
    /// Returns the jobs that wait in a queue, whether this program runs it or not.
    ///
    /// # Errors
    ///
    /// When the name is not valid.
    pub fn queue(&self, name: &str) -> Result<Jobs, InvalidName> {
        let queue = QueueName::new(name)?;
        Ok(Jobs::new(&self.client, Source::Queue(queue)))
    }

    /// Returns the jobs that wait for their time: the `schedule` set.
    #[must_use]
    pub fn scheduled_set(&self) -> Jobs {
        Jobs::new(&self.client, Source::Set(JobSet::Schedule))
    }

    /// Returns the jobs that failed and run again: the `retry` set.
    #[must_use]
    pub fn retry_set(&self) -> Jobs {
        Jobs::new(&self.client, Source::Set(JobSet::Retry))
    }

    /// Returns the jobs that will not run again by themselves: the `dead` set.
    #[must_use]
    pub fn dead_set(&self) -> Jobs {
        Jobs::new(&self.client, Source::Set(JobSet::Dead))
    }

    /// Reads the jobs in progress on all registered nodes, by node and queue: those that run, and
    /// those that were fetched and run next. [`Verk::running_jobs`] returns those that run on this
    /// node.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn in_progress(&self) -> Result<Vec<JobInProgress>, StorageError> {
        search::in_progress(self.storage()).await
    }

    /// Finds where a job is: in a set, in a queue, or in progress on a node. Returns `None` if it
    /// is nowhere: it succeeded, was discarded or deleted, or never existed.
    ///
    /// It reads the storage until it finds the job, a bounded step at a time. Queues and running
    /// jobs are read whole. It may miss a job that moves meanwhile.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn find_job(&self, jid: impl Into<Jid>) -> Result<Option<Found>, StorageError> {
        search::find(self, &jid.into()).await
    }

    /// Reads the `inprogress` lists of nodes that are not registered, by name: those of an Elixir
    /// Verk with a fixed node id that is down, or strays. No node restores their jobs, because none
    /// can know whether that node lives. A node that starts warns of them once.
    ///
    /// It scans all keys of the storage, in small steps.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// for list in verk.admin().foreign_lists().await? {
    ///     println!("{} holds {} jobs", list.key, list.jobs);
    /// }
    /// assert!(verk.admin().foreign_lists().await?.is_empty());
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
    pub async fn foreign_lists(&self) -> Result<Vec<ForeignList>, StorageError> {
        let (lists, _) = foreign::read(self.storage(), usize::MAX).await?;
        Ok(lists)
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        self.client.storage()
    }

    /// Returns the clock of the program. Code on top of `Admin` waits through it, so that tests
    /// control the time.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        self.client.clock()
    }

    /// Returns the settings of the program.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.client.essentials().config
    }

    /// The most jobs that the dead set may have.
    pub(crate) fn max_dead_jobs(&self) -> usize {
        self.client.essentials().config.max_dead_jobs
    }

    pub(crate) fn node(&self) -> Option<&Parts> {
        self.node.as_ref()
    }

    /// The queues of the node that this comes from.
    pub(crate) fn queues_of_node(&self) -> Vec<QueueName> {
        self.node
            .as_ref()
            .map_or_else(Vec::new, |node| node.queues.names())
    }

    /// Returns the time of day of the storage, as far as this program knows it: all times of jobs
    /// follow it.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.client.now()
    }
}

impl Verk {
    /// Returns the operator's handle: see [`Admin`].
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin {
            client: self.client().clone(),
            node: Some(self.parts().clone()),
        }
    }
}

impl Client {
    /// Returns the operator's handle: see [`Admin`]. This one has no node: it lists only the queues
    /// that the storage knows, and its doctor uses no settings, queues and workers. For those, use
    /// [`Verk::admin`].
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin {
            client: self.clone(),
            node: None,
        }
    }
}
