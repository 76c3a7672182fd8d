//! The unique locks, as an operator reads and releases them.

use super::{Admin, Entry};
use crate::{
    effects::Claim,
    error::StorageError,
    storage::{LockId, LockPage, Page, StoredLock},
};

/// # Unique locks
impl Admin {
    /// Reads a page of the locks of unique jobs: first those with a time, by that time, then the
    /// others by id.
    ///
    /// A lock may have ended since it was listed. Such a lock is left out, so that a page may have
    /// fewer locks than entries that were read.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{EnqueueExt as _, Job, Unique, Verk, client::IntoJob as _, storage::Page};
    /// # use verk_testing::MemoryStorage;
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// let job = Job::new("Sync", "default".parse()?, "[7]".to_owned())?.into_job();
    /// let jid = verk.enqueue(job.unique(Unique::new())).await?;
    ///
    /// let admin = verk.admin();
    /// let page = admin.locks(Page { offset: 0, limit: 100 }).await?;
    /// assert_eq!((page.len, &page.locks[0].jid), (1, &jid));
    /// assert!(admin.release_lock(&page.locks[0]).await?);
    /// assert_eq!(admin.lock(page.locks[0].id).await?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn locks(&self, page: Page) -> Result<LockPage, StorageError> {
        self.storage().locks(page).await
    }

    /// Reads one lock; `None` if it is free.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub async fn lock(&self, id: LockId) -> Result<Option<StoredLock>, StorageError> {
        self.storage().lock(id).await
    }

    /// Releases a lock, if nothing changed it since it was read. The job that held it stays where
    /// it is, and a second job may then be stored beside it. A job that waits for the lock comes to
    /// its queue, and gets the lock.
    ///
    /// verk itself frees every lock whose job ends, and looks for a job that another program moved:
    /// this is for an operator who knows better.
    ///
    /// Returns whether it was released.
    ///
    /// # Errors
    ///
    /// When the storage fails. You can safely call it again.
    pub async fn release_lock(&self, lock: &StoredLock) -> Result<bool, StorageError> {
        self.storage().free_lock(lock).await
    }
}

impl Entry {
    /// Returns the unique lock that the job names. It does not say who holds the lock: a dead job
    /// may have lost it to another one. `None` for a job that is not unique.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{EnqueueExt as _, Job, Unique, Verk, client::IntoJob as _};
    /// # use verk_testing::MemoryStorage;
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// let job = Job::new("Sync", "default".parse()?, "[7]".to_owned())?.into_job();
    /// let jid = verk.enqueue(job.unique(Unique::new())).await?;
    ///
    /// let admin = verk.admin();
    /// let entry = admin.queue("default")?.find(&jid).await?.expect("it waits");
    /// let lock = admin.lock(entry.lock().expect("it is unique")).await?;
    /// assert_eq!(lock.map(|lock| lock.jid), Some(jid));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn lock(&self) -> Option<LockId> {
        Claim::of(self.job.as_ref().ok()?).map(|claim| claim.lock())
    }
}
