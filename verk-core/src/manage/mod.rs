//! What an operator sees of a fleet, and does with it: [`Admin`].

mod display;
mod entry;
mod jobs;
mod pauses;
mod search;
mod selection;
mod stats;

use std::time::SystemTime;

use crate::{
    client::Client,
    error::StorageError,
    names::{InvalidName, Jid, QueueName},
    node::foreign,
    storage::{ForeignList, JobSet, Source, Storage},
    time::clock::Clock,
    verk::{Verk, parts::Parts},
};

pub use self::{
    entry::Entry,
    jobs::Jobs,
    search::{Found, JobInProgress},
    selection::Selection,
};

/// What an operator sees and does: the jobs that wait, wherever they are, what was processed, pauses, and the
/// [doctor](Self::doctor). Cheap to clone; made by [`Verk::admin`] and [`Client::admin`].
///
/// Whatever reads or changes what is stored, for every program that shares the storage, is a method of `Admin`; what
/// concerns this node alone is one of [`Verk`].
///
/// It keeps no [`Verk`] alive, and works after a shutdown. It needs no node: a program that runs no queue, such as a
/// command line or a page, makes one as well.
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
    /// The node that it comes from, if any: its queues are listed even if nobody else knows of them, and the doctor judges by
    /// its settings and workers.
    node: Option<Parts>,
}

/// # Jobs
impl Admin {
    /// The jobs that wait in a queue, whether this program runs it or not.
    ///
    /// # Errors
    ///
    /// When the name is not valid.
    pub fn queue(&self, name: &str) -> Result<Jobs, InvalidName> {
        let queue = QueueName::new(name)?;
        Ok(Jobs::new(&self.client, Source::Queue(queue)))
    }

    /// The jobs that wait for their time: the `schedule` set.
    #[must_use]
    pub fn scheduled_set(&self) -> Jobs {
        Jobs::new(&self.client, Source::Set(JobSet::Schedule))
    }

    /// The jobs that failed and run again: the `retry` set.
    #[must_use]
    pub fn retry_set(&self) -> Jobs {
        Jobs::new(&self.client, Source::Set(JobSet::Retry))
    }

    /// The jobs that will not run again by themselves: the `dead` set.
    #[must_use]
    pub fn dead_set(&self) -> Jobs {
        Jobs::new(&self.client, Source::Set(JobSet::Dead))
    }

    /// What all registered nodes hold, by node and queue: the jobs that run there, and those that were fetched and run next. See
    /// [`Verk::running_jobs`] for what runs on this node.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn in_progress(&self) -> Result<Vec<JobInProgress>, StorageError> {
        search::in_progress(self.storage()).await
    }

    /// Finds out where a job is: in a set, in a queue, or in progress on a node. `None` when it is nowhere: it succeeded, was discarded
    /// or deleted, or never was.
    ///
    /// Reads all that is stored until it is found, a bounded step at a time; queues and what runs are read whole. A job that moves
    /// meanwhile may be missed.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn find_job(&self, jid: impl Into<Jid>) -> Result<Option<Found>, StorageError> {
        search::find(self, &jid.into()).await
    }

    /// The `inprogress` lists of nodes that are not registered, by name: those of an Elixir Verk with a fixed node id that is down, or strays.
    /// Nobody restores their jobs, since nobody knows whether that node lives. A node that starts warns of them once.
    ///
    /// Looks through all keys of the storage, in small steps.
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

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.client.clock()
    }

    /// The most jobs that the dead set may have.
    pub(crate) fn max_dead_jobs(&self) -> usize {
        self.client.dead_limits().max_jobs
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

    /// The time of day of the storage, as far as this program knows.
    fn now(&self) -> SystemTime {
        self.client.now()
    }
}

impl Verk {
    /// What an operator sees and does: see [`Admin`].
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin {
            client: self.client().clone(),
            node: Some(self.parts().clone()),
        }
    }
}

impl Client {
    /// What an operator sees and does: see [`Admin`]. This one knows of no node: it lists only the queues that the storage
    /// knows, and its doctor judges by no settings, queues and workers. For those, take [`Verk::admin`].
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin {
            client: self.clone(),
            node: None,
        }
    }
}
