//! Jobs that an operator enqueues, by the name of their class.

use super::Admin;
use crate::{
    client::{
        middleware::Enqueued,
        new_job::{IntoJob, NewJob, When},
    },
    error::EnqueueError,
    job::{Job, args::ArgsError},
    names::{Jid, QueueName},
    worker::{WorkerEntry, registry::Registry},
};

/// # Enqueueing
impl Admin {
    /// Makes a job of a class, of arguments as a JSON array.
    ///
    /// If this program has the [worker](Self::worker) of the class, the worker reads the arguments
    /// as it would to run the job, and the job gets the options of the worker, such as its queue.
    /// Any other class is that of another program: its job gets the queue `default`, and nobody
    /// checks the arguments but for being an array. Change that with
    /// [`EnqueueExt`](crate::EnqueueExt), and store the job with [`enqueue`](Self::enqueue).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// use verk_core::EnqueueExt as _;
    ///
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// let admin = verk.admin();
    /// let job = admin.job("Mailers::Welcome", r#"["ada"]"#)?.queue("mailers");
    /// let jid = admin.enqueue(job).await?;
    /// assert!(admin.queue("mailers")?.find(&jid).await?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the worker could not read the arguments. A name that is not valid, and arguments that
    /// are no array, are errors of [`enqueue`](Self::enqueue).
    pub fn job(&self, class: &str, args: &str) -> Result<NewJob, ArgsError> {
        if let Some(worker) = self.worker(class) {
            return worker.job(args);
        }
        let untyped = || -> Result<Job, EnqueueError> {
            let queue = QueueName::new("default")?;
            Ok(Job::new(class, queue, args.to_owned())?)
        };
        Ok(NewJob {
            job: untyped(),
            when: When::Now,
            unique: None,
        })
    }

    /// Enqueues a job with the client that this handle comes from: see
    /// [`Client::enqueue`](crate::Client::enqueue).
    ///
    /// # Errors
    ///
    /// As `Client::enqueue`.
    ///
    /// # Cancel safety
    ///
    /// As `Client::enqueue`.
    pub async fn enqueue(&self, job: impl IntoJob) -> Result<Jid, EnqueueError> {
        self.client.enqueue(job).await
    }

    /// Enqueues a job, unless one was stored with this key before: see
    /// [`Client::enqueue_once`](crate::Client::enqueue_once).
    ///
    /// # Errors
    ///
    /// As `Client::enqueue_once`.
    ///
    /// # Cancel safety
    ///
    /// As `Client::enqueue_once`.
    pub async fn enqueue_once(
        &self,
        key: &str,
        job: impl IntoJob,
    ) -> Result<Enqueued, EnqueueError> {
        self.client.enqueue_once(key, job).await
    }

    /// Returns the worker of a class, if this program has one: every worker in the crates that are
    /// linked, and those that were given to the node that this handle comes from.
    #[must_use]
    pub fn worker(&self, class: &str) -> Option<WorkerEntry> {
        self.workers()
            .into_iter()
            .find(|worker| worker.class() == class)
    }

    /// Returns all workers of this program, by class.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerEntry> {
        let linked;
        let registry = match self.node() {
            Some(node) => &node.first().workforce.registry,
            // A class that two workers claim is reported where a node runs it.
            None => {
                linked = Registry::collect(&[], &mut Vec::new());
                &linked
            }
        };
        registry.workers().copied().collect()
    }
}
