//! What is done with the queues of a node: more, fewer, wider, paused.

use crate::{
    config::file::nearest,
    error::{ConfigError, StorageError},
    log,
    names::QueueName,
    queues::status::{QueueStatus, RunningJob},
    verk::Verk,
};

impl Verk {
    /// Runs another queue, `concurrency` jobs at once. Does nothing when the node runs it already. A queue that was removed
    /// and still drains runs again once it has drained.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is not valid, `concurrency` is 0, or this node was built without queues: such a node only
    /// enqueues.
    pub fn add_queue(&self, name: &str, concurrency: usize) -> Result<(), ConfigError> {
        let name = QueueName::new(name)?;
        if concurrency == 0 {
            return Err(ConfigError::no_concurrency(&name));
        }
        if self.config().queues.is_empty() {
            return Err(ConfigError::EnqueuesOnly);
        }
        self.inner.parts.queues.add(name, concurrency);
        Ok(())
    }

    /// Runs a queue no more: stops fetching from it at once, lets its running jobs finish for up to `shutdown_timeout`, and
    /// hands the rest back to its front without counting an attempt. Returns when all of that is done. The queue and its
    /// jobs stay in storage, and it may be added again, even while it drains.
    ///
    /// A job that does not notice that it is cancelled, because it never awaits, holds this up until it ends. Among the queues
    /// of its registration in storage (`verk:node:ID:queues`) the node keeps the name until it signs off.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is not valid, or the node does not run the queue.
    ///
    /// # Cancel safety
    ///
    /// The removal goes on when the future is dropped.
    pub async fn remove_queue(&self, name: &str) -> Result<(), ConfigError> {
        let name = QueueName::new(name)?;
        let Some(ends) = self.inner.parts.queues.remove(&name) else {
            return Err(ConfigError::UnknownQueue { name });
        };
        for ended in ends {
            ended.cancelled().await;
        }
        Ok(())
    }

    /// Stops fetching from a queue on this node; its running jobs go on. Other nodes are not concerned: see
    /// [`pause_queue_everywhere`](Self::pause_queue_everywhere). Returns whether that
    /// changes anything: `false` when the queue was paused before.
    ///
    /// [`QueuePausing`](crate::EventKind::QueuePausing) is told when fetching stops, and [`QueuePaused`](crate::EventKind::QueuePaused)
    /// once no job of the queue runs. Works before [`start`](Self::start). The queue stays paused until it is
    /// [resumed](Self::resume_queue), removed, or the process ends.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is not valid, or the node does not run the queue.
    pub fn pause_queue(&self, name: &str) -> Result<bool, ConfigError> {
        self.set_paused(name, true)
    }

    /// Fetches again from a queue that was [paused](Self::pause_queue) on this node, and tells
    /// [`QueueRunning`](crate::EventKind::QueueRunning). Returns whether that changes anything: `false` when the queue was not paused.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is not valid, or the node does not run the queue.
    pub fn resume_queue(&self, name: &str) -> Result<bool, ConfigError> {
        self.set_paused(name, false)
    }

    fn set_paused(&self, name: &str, paused: bool) -> Result<bool, ConfigError> {
        let name = QueueName::new(name)?;
        let changed = self.inner.parts.queues.set_paused(&name, paused);
        changed.ok_or(ConfigError::UnknownQueue { name })
    }

    /// Stops fetching from all queues on this node, those that are added later too, for as long as the process lives; its
    /// running jobs go on. What Sidekiq Web's button *Quiet* asks for, and the signal TSTP: the first step of a deployment,
    /// minutes before the node is stopped. Does nothing when the node is quiet already.
    ///
    /// The queues are told as paused, and a queue that is [resumed](Self::resume_queue) stays so. Jobs still fall due, and
    /// what dead nodes left is still restored. Works before [`start`](Self::start).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{Status, Verk};
    /// # use verk_testing::MemoryStorage;
    /// let verk = Verk::builder().storage(MemoryStorage::default()).queue("default", 25).build().await?;
    /// verk.quiet();
    /// verk.resume_queue("default")?;
    /// assert_eq!(verk.queues()[0].status, Status::Paused);
    /// # verk.shutdown().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn quiet(&self) {
        if self.inner.parts.queues.quiet() {
            log::info!("quiet: no more jobs are fetched");
        }
    }

    /// Pauses a queue on all nodes: none starts a job of it any more, running jobs go on, and idle nodes are told at once. Returns
    /// whether that changes anything: `false` when it was paused everywhere before.
    ///
    /// The pause is kept in storage (Sidekiq Pro's `paused` set, which it obeys too), so it outlives every restart, and is there for nodes
    /// that come later; it ends with [`resume_queue_everywhere`](Self::resume_queue_everywhere). It is independent of
    /// [`pause_queue`](Self::pause_queue): a queue runs on a node while neither holds. Each node tells its own
    /// [`QueuePausing`](crate::EventKind::QueuePausing) and [`QueuePaused`](crate::EventKind::QueuePaused). Any program may call it, also
    /// one that only enqueues, for any queue. A queue that never had a job, and that no node of verk
    /// runs, is paused too; a warning in the log says so, and which queue may have been meant.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// assert!(verk.pause_queue_everywhere("mailers").await?);
    /// assert!(!verk.pause_queue_everywhere("mailers").await?, "it is paused already");
    /// assert_eq!(verk.paused_queues().await?[0].as_str(), "mailers");
    /// assert!(verk.resume_queue_everywhere("mailers").await?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the name is not valid, or the storage fails: after a lost reply the queue may be paused; it does no harm to
    /// call this again.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the queue is paused or not.
    pub async fn pause_queue_everywhere(&self, name: &str) -> Result<bool, StorageError> {
        self.set_paused_everywhere("pause a queue", name, true)
            .await
    }

    /// Ends the [pause of a queue on all nodes](Self::pause_queue_everywhere), which are told at once. Returns whether that changes
    /// anything: `false` when it was not paused everywhere. A node that [paused](Self::pause_queue) the queue for itself does
    /// not run it yet.
    ///
    /// # Errors
    ///
    /// When the name is not valid, or the storage fails: after a lost reply the queue may be resumed; it does no harm to
    /// call this again.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the queue is resumed or not.
    pub async fn resume_queue_everywhere(&self, name: &str) -> Result<bool, StorageError> {
        self.set_paused_everywhere("resume a queue", name, false)
            .await
    }

    async fn set_paused_everywhere(
        &self,
        op: &'static str,
        name: &str,
        paused: bool,
    ) -> Result<bool, StorageError> {
        let name = QueueName::new(name).map_err(|error| StorageError::not_applied(op, error))?;
        let changed = self.storage().set_paused(&name, paused).await?;
        if paused && changed {
            self.warn_of_an_unknown_queue(&name).await;
        }
        Ok(changed)
    }

    /// Warns of a pause that is most likely a typing error. The pause is stored, so an error of this
    /// look is of no interest.
    async fn warn_of_an_unknown_queue(&self, name: &QueueName) {
        let (queues, nodes) = (self.storage().queues().await, self.storage().nodes().await);
        let (Ok(mut known), Ok(nodes)) = (queues, nodes) else {
            return;
        };
        known.extend(nodes.into_iter().flat_map(|node| node.queues));
        known.extend(self.inner.parts.queues.names());
        if known.contains(name) {
            return;
        }
        let meant = nearest(name.as_str(), known.iter().map(QueueName::as_str))
            .map(|queue| format!("; did you mean {queue}?"))
            .unwrap_or_default();
        log::warn!(queue = %name, "paused a queue that nobody knows: it never had a job, and no node runs it{meant}");
    }

    /// The queues that are [paused on all nodes](Self::pause_queue_everywhere), by name: those of this node, and others.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn paused_queues(&self) -> Result<Vec<QueueName>, StorageError> {
        self.storage().paused_queues().await
    }

    /// Changes how many jobs of a queue run at once on this node. More start at once; when it is lowered, running jobs go on,
    /// and none starts until enough of them have ended. Returns whether that changes anything.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is not valid, `concurrency` is 0 (see [`pause_queue`](Self::pause_queue)), or the node
    /// does not run the queue.
    pub fn set_concurrency(&self, name: &str, concurrency: usize) -> Result<bool, ConfigError> {
        let name = QueueName::new(name)?;
        if concurrency == 0 {
            return Err(ConfigError::no_concurrency(&name));
        }
        let changed = self.inner.parts.queues.set_concurrency(&name, concurrency);
        changed.ok_or(ConfigError::UnknownQueue { name })
    }

    /// The queues of this node by name, and what it does with each. Asks nobody.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueStatus> {
        self.inner.parts.queues.statuses()
    }

    /// The jobs that run on this node now, oldest run first. Asks nobody.
    #[must_use]
    pub fn running_jobs(&self) -> Vec<RunningJob> {
        self.inner.parts.queues.running_jobs()
    }
}
