//! Changes of the queues of a node at run time: add, remove, pause, change the concurrency.

use crate::{
    error::ConfigError,
    log,
    names::QueueName,
    queues::status::{QueueStatus, RunningJob},
    verk::Verk,
};

impl Verk {
    /// Runs another queue, `concurrency` jobs at once. Does nothing if the node already runs it. A
    /// queue that was removed and still drains runs again after it has drained.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is not valid, `concurrency` is 0, or this node was built
    /// without queues: such a node only enqueues.
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

    /// Stops running a queue: stops fetching from it at once, lets its running jobs finish for up
    /// to `shutdown_timeout`, and hands the rest back to its front without counting an attempt.
    /// Returns when all of that is done. The queue and its jobs stay in storage, and the queue can
    /// be added again, even while it drains.
    ///
    /// A job that does not notice that it is cancelled, because it never awaits, delays this until
    /// it ends. The node keeps the name among the queues of its registration in storage
    /// (`verk:node:ID:queues`) until it deregisters.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is not valid, or the node does not run the queue.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the removal continues.
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

    /// Stops fetching from a queue on this node; its running jobs continue. For other nodes, see
    /// [`Admin::pause_queue_everywhere`](crate::manage::Admin::pause_queue_everywhere). Returns
    /// whether that changes anything: `false` if the queue was paused before.
    ///
    /// Publishes [`QueuePausing`](crate::EventKind::QueuePausing) when fetching stops, and
    /// [`QueuePaused`](crate::EventKind::QueuePaused) once no job of the queue runs. Works before
    /// [`start`](Self::start). The queue stays paused until it is [resumed](Self::resume_queue),
    /// removed, or the process ends.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is not valid, or the node does not run the queue.
    pub fn pause_queue(&self, name: &str) -> Result<bool, ConfigError> {
        self.set_paused(name, true)
    }

    /// Fetches again from a queue that was [paused](Self::pause_queue) on this node, and publishes
    /// [`QueueRunning`](crate::EventKind::QueueRunning). Returns whether that changes anything:
    /// `false` if the queue was not paused.
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

    /// Stops fetching from all queues on this node, those that are added later too, for as long as
    /// the process lives. Its running jobs continue. Sidekiq Web's button *Quiet* and the signal
    /// TSTP do the same: it is the first step of a deployment, minutes before the node is stopped.
    /// Does nothing if the node is already quiet.
    ///
    /// Events and statuses show the queues as paused, and a queue that is
    /// [resumed](Self::resume_queue) stays paused. The node still moves due jobs, and restores the
    /// jobs of dead nodes. Works before [`start`](Self::start).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{queues::Status, Verk};
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

    /// Changes how many jobs of a queue run at once on this node. With a higher number, more start
    /// at once. With a lower one, running jobs continue, and none starts until enough of them have
    /// ended. Returns whether that changes anything.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is not valid, `concurrency` is 0 (see
    /// [`pause_queue`](Self::pause_queue)), or the node does not run the queue.
    pub fn set_concurrency(&self, name: &str, concurrency: usize) -> Result<bool, ConfigError> {
        let name = QueueName::new(name)?;
        if concurrency == 0 {
            return Err(ConfigError::no_concurrency(&name));
        }
        let changed = self.inner.parts.queues.set_concurrency(&name, concurrency);
        changed.ok_or(ConfigError::UnknownQueue { name })
    }

    /// Returns the queues of this node by name, with their status. It sends nothing to the storage.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueStatus> {
        self.inner.parts.queues.statuses()
    }

    /// Returns the jobs that run on this node now, the oldest run first. It sends nothing to the
    /// storage.
    #[must_use]
    pub fn running_jobs(&self) -> Vec<RunningJob> {
        self.inner.parts.queues.running_jobs()
    }
}
