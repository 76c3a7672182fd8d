//! What an operator sees of jobs that wait, and does with them: [`Jobs`], [`Entry`] and [`Selection`]; where a job is:
//! [`Found`].

mod display;
mod entry;
mod search;
mod selection;

use crate::{
    client::Client,
    error::StorageError,
    names::{InvalidName, Jid, QueueName},
    storage::{JobSet, Page, Source},
    verk::Verk,
};

pub use self::{
    entry::Entry,
    search::{Found, JobInProgress},
    selection::Selection,
};

/// The jobs that wait in one place: a queue, or the `schedule`, `retry` or `dead` set.
///
/// Made by [`Client::queue`], [`Client::scheduled_set`], [`Client::retry_set`] and [`Client::dead_set`]; making one asks nobody. Every
/// program that shares the storage sees the same jobs, and may change them meanwhile: whatever is done to a job takes effect only if it is
/// still there.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use verk_core::{Job, Verk};
/// # use verk_testing::MemoryStorage;
/// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
/// let jid = verk.enqueue(Job::new("Welcome", "mailers".parse()?, r#"["ada"]"#.to_owned())?).await?;
///
/// let mailers = verk.queue("mailers")?;
/// assert_eq!(mailers.count().await?, 1);
/// let entry = mailers.find(&jid).await?.expect("it waits");
/// assert_eq!(entry.job().unwrap().class(), "Welcome");
///
/// assert!(entry.kill().await?);
/// assert!(!entry.kill().await?, "it was there no more");
/// assert_eq!(verk.dead_set().select().class("Welcome").requeue().await?, 1);
/// assert_eq!(mailers.count().await?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Jobs {
    client: Client,
    source: Source,
}

impl Jobs {
    fn new(client: &Client, source: Source) -> Self {
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
        let storage = self.client.storage();
        match &self.source {
            Source::Queue(queue) => storage.queue_len(queue).await,
            Source::Set(set) => storage.set_len(*set).await,
        }
    }

    /// Reads a page: of a queue the next job to be fetched first, of a set the earliest time first. It may hold less than its
    /// limit (see [`Page`]).
    ///
    /// For a list that a person looks at. What is added or removed between two pages shifts them: to reach every job, use
    /// [`select`](Self::select).
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn page(&self, page: Page) -> Result<Vec<Entry>, StorageError> {
        let storage = self.client.storage();
        Ok(match &self.source {
            Source::Queue(queue) => {
                let payloads = storage.queue_page(queue, page).await?;
                payloads
                    .into_iter()
                    .map(|payload| Entry::waiting(self, payload, None))
                    .collect()
            }
            Source::Set(set) => {
                let members = storage.set_page(*set, page).await?;
                members
                    .into_iter()
                    .map(|member| Entry::waiting(self, member.job, Some(member.score)))
                    .collect()
            }
        })
    }

    /// Finds a job by its id; if several jobs have it, one of them.
    ///
    /// Reads the whole place until it is found, a bounded step at a time. For a set the storage itself passes over what does
    /// not match; a queue travels over the network.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn find(&self, jid: impl Into<Jid>) -> Result<Option<Entry>, StorageError> {
        self.select().jid(jid).first().await
    }

    /// Selects all jobs of this place, to be narrowed, read, and done something with.
    pub fn select(&self) -> Selection {
        Selection::new(self.clone())
    }

    /// Removes all jobs at once, and a queue from the list of queues until the next job comes. Returns how many they were.
    ///
    /// # Errors
    ///
    /// When the storage fails. After [`Unknown`](crate::Applied::Unknown) it may be called again, but for jobs that came meanwhile.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves all jobs there, or none.
    pub async fn clear(&self) -> Result<usize, StorageError> {
        self.client.storage().clear(&self.source).await
    }
}

/// # Managing jobs
impl Client {
    /// The jobs that wait in a queue, whether this program runs it or not.
    ///
    /// # Errors
    ///
    /// When the name is not valid.
    pub fn queue(&self, name: &str) -> Result<Jobs, InvalidName> {
        let queue = QueueName::new(name)?;
        Ok(Jobs::new(self, Source::Queue(queue)))
    }

    /// The jobs that wait for their time: the `schedule` set.
    #[must_use]
    pub fn scheduled_set(&self) -> Jobs {
        Jobs::new(self, Source::Set(JobSet::Schedule))
    }

    /// The jobs that failed and run again: the `retry` set.
    #[must_use]
    pub fn retry_set(&self) -> Jobs {
        Jobs::new(self, Source::Set(JobSet::Retry))
    }

    /// The jobs that will not run again by themselves: the `dead` set.
    #[must_use]
    pub fn dead_set(&self) -> Jobs {
        Jobs::new(self, Source::Set(JobSet::Dead))
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
}

/// # Managing jobs
impl Verk {
    /// The jobs that wait in a queue: see [`Client::queue`].
    ///
    /// # Errors
    ///
    /// When the name is not valid.
    pub fn queue(&self, name: &str) -> Result<Jobs, InvalidName> {
        self.client().queue(name)
    }

    /// The jobs that wait for their time: see [`Client::scheduled_set`].
    #[must_use]
    pub fn scheduled_set(&self) -> Jobs {
        self.client().scheduled_set()
    }

    /// The jobs that failed and run again: see [`Client::retry_set`].
    #[must_use]
    pub fn retry_set(&self) -> Jobs {
        self.client().retry_set()
    }

    /// The jobs that will not run again by themselves: see [`Client::dead_set`].
    #[must_use]
    pub fn dead_set(&self) -> Jobs {
        self.client().dead_set()
    }

    /// What all registered nodes hold: see [`Client::in_progress`].
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn in_progress(&self) -> Result<Vec<JobInProgress>, StorageError> {
        self.client().in_progress().await
    }

    /// Finds out where a job is: see [`Client::find_job`].
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn find_job(&self, jid: impl Into<Jid>) -> Result<Option<Found>, StorageError> {
        self.client().find_job(jid).await
    }
}
