//! Queues that are paused for all nodes.

use super::Admin;
use crate::{config::file::did_you_mean, error::StorageError, log, names::QueueName};

/// # Pauses
impl Admin {
    /// Pauses a queue on all nodes: none starts a job of it any more, running jobs continue, and
    /// idle nodes learn of it at once. Returns whether that changes anything: `false` if it was
    /// paused everywhere before.
    ///
    /// The pause is stored (in Sidekiq Pro's `paused` set, which Sidekiq Pro obeys too). So it
    /// survives every restart, and holds for nodes that start later. It ends with
    /// [`resume_queue_everywhere`](Self::resume_queue_everywhere). It is independent of
    /// [`Verk::pause_queue`](crate::Verk::pause_queue): a node runs a queue if neither pauses it.
    /// Each node publishes its own [`QueuePausing`](crate::EventKind::QueuePausing) and
    /// [`QueuePaused`](crate::EventKind::QueuePaused). Any program can call it for any queue, also
    /// a program that only enqueues. A queue that never had a job, and that no node of verk runs,
    /// is paused too. A warning in the log says so, and names a similar queue.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// let admin = verk.admin();
    /// assert!(admin.pause_queue_everywhere("mailers").await?);
    /// assert!(!admin.pause_queue_everywhere("mailers").await?, "it is paused already");
    /// assert_eq!(admin.paused_queues().await?[0].as_str(), "mailers");
    /// assert!(admin.resume_queue_everywhere("mailers").await?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the name is not valid, or the storage fails. After a lost reply the queue may be
    /// paused; you can safely call this again.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the queue is paused or not.
    pub async fn pause_queue_everywhere(&self, name: &str) -> Result<bool, StorageError> {
        self.set_paused_everywhere("pause a queue", name, true)
            .await
    }

    /// Ends the [pause of a queue on all nodes](Self::pause_queue_everywhere), which learn of it at
    /// once. Returns whether that changes anything: `false` if it was not paused everywhere. A node
    /// that [paused](crate::Verk::pause_queue) the queue for itself does not run it yet.
    ///
    /// # Errors
    ///
    /// When the name is not valid, or the storage fails. After a lost reply the queue may be
    /// resumed; you can safely call this again.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the queue is resumed or not.
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

    /// Warns of a pause that is most likely a typing error. The pause is already stored, so an
    /// error of this check is ignored.
    async fn warn_of_an_unknown_queue(&self, name: &QueueName) {
        let (queues, nodes) = (self.storage().queues().await, self.storage().nodes().await);
        let (Ok(mut known), Ok(nodes)) = (queues, nodes) else {
            return;
        };
        known.extend(nodes.into_iter().flat_map(|node| node.queues));
        known.extend(self.queues_of_node());
        if known.contains(name) {
            return;
        }
        let meant = did_you_mean(name.as_str(), known.iter().map(QueueName::as_str));
        log::warn!(queue = %name, "paused a queue that nobody knows: it never had a job, and no node runs it{meant}");
    }

    /// Reads the queues that are [paused on all nodes](Self::pause_queue_everywhere), by name, of
    /// all programs.
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
}
