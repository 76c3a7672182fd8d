//! The jobs that wait in one place: [`Jobs`].

use super::{Entry, Selection};
use crate::{
    cells::clear,
    client::Client,
    error::StorageError,
    names::Jid,
    storage::{Cleared, Source},
};

/// The jobs that wait in one place: a queue, or the `schedule`, `retry` or `dead` set.
///
/// [`Admin::queue`](super::Admin::queue), [`scheduled_set`](super::Admin::scheduled_set),
/// [`retry_set`](super::Admin::retry_set) and [`dead_set`](super::Admin::dead_set) make one,
/// without a request to the storage. Every program that shares the storage sees the same jobs, and
/// may change them meanwhile. So every change takes effect only if the job is still in its place.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use verk_core::{Job, Verk};
/// # use verk_testing::MemoryStorage;
/// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
/// let jid = verk.enqueue(Job::new("Welcome", "mailers".parse()?, r#"["ada"]"#.to_owned())?).await?;
///
/// let admin = verk.admin();
/// let mailers = admin.queue("mailers")?;
/// assert_eq!(mailers.count().await?, 1);
/// let entry = mailers.find(&jid).await?.expect("it waits");
/// assert_eq!(entry.job().unwrap().class(), "Welcome");
///
/// assert!(entry.kill().await?);
/// assert!(!entry.kill().await?, "it was there no more");
/// assert_eq!(admin.dead_set().select().class("Welcome").requeue().await?, 1);
/// assert_eq!(mailers.count().await?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Jobs {
    pub(super) client: Client,
    pub(super) source: Source,
}

impl Jobs {
    pub(super) fn new(client: &Client, source: Source) -> Self {
        Self {
            client: client.clone(),
            source,
        }
    }

    /// Which queue or set this is.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// How many jobs wait.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn count(&self) -> Result<usize, StorageError> {
        self.client.storage().len(&self.source).await
    }

    /// Finds a job by its id; if several jobs have it, one of them.
    ///
    /// It reads the whole place until it finds the job, a bounded step at a time. In a set, the
    /// storage itself skips other jobs. The jobs of a queue are sent over the network.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn find(&self, jid: impl Into<Jid>) -> Result<Option<Entry>, StorageError> {
        self.select().jid(jid).first().await
    }

    /// Selects all jobs of this place. Narrow the selection, read it, or change its jobs.
    pub fn select(&self) -> Selection {
        Selection::new(self.clone())
    }

    /// Removes all jobs at once, and a queue from the list of queues until its next job. Returns
    /// how many they were.
    ///
    /// If unique jobs may be among them, it deletes them one by one, in steps of 100, so that each
    /// frees its lock. Then it ends after as many jobs as there were at the start.
    ///
    /// # Errors
    ///
    /// When the storage fails. After [`Unknown`](crate::error::Applied::Unknown) you may call it
    /// again, which also removes jobs that came meanwhile.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, all jobs are still there, or none; or some, if it deletes them one
    /// by one.
    pub async fn clear(&self) -> Result<usize, StorageError> {
        if let Cleared::Jobs(jobs) = self.client.storage().clear(&self.source).await? {
            return Ok(jobs);
        }
        clear::one_by_one(self.client.storage(), &self.source).await
    }
}
