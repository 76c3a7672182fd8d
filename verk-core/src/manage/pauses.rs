//! Queues that are paused for all nodes.

use super::Admin;
use crate::{config::file::nearest, error::StorageError, log, names::QueueName};

/// # Pauses
impl Admin {
    /// Pauses a queue on all nodes: none starts a job of it any more, running jobs go on, and idle nodes are told at once. Returns
    /// whether that changes anything: `false` when it was paused everywhere before.
    ///
    /// The pause is kept in storage (Sidekiq Pro's `paused` set, which it obeys too), so it outlives every restart, and is there for nodes
    /// that come later; it ends with [`resume_queue_everywhere`](Self::resume_queue_everywhere). It is independent of
    /// [`Verk::pause_queue`](crate::Verk::pause_queue): a queue runs on a node while neither holds. Each node tells its own
    /// [`QueuePausing`](crate::EventKind::QueuePausing) and [`QueuePaused`](crate::EventKind::QueuePaused). Any program may call it, also
    /// one that only enqueues, for any queue. A queue that never had a job, and that no node of verk
    /// runs, is paused too; a warning in the log says so, and which queue may have been meant.
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
    /// anything: `false` when it was not paused everywhere. A node that [paused](crate::Verk::pause_queue) the queue for itself does
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
        known.extend(self.queues_of_node());
        if known.contains(name) {
            return;
        }
        let meant = nearest(name.as_str(), known.iter().map(QueueName::as_str))
            .map(|queue| format!("; did you mean {queue}?"))
            .unwrap_or_default();
        log::warn!(queue = %name, "paused a queue that nobody knows: it never had a job, and no node runs it{meant}");
    }

    /// The queues that are [paused on all nodes](Self::pause_queue_everywhere), by name, whoever runs them.
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
