//! The pauses of queues, for all nodes.

use std::{collections::BTreeSet, fmt};

use async_trait::async_trait;

use crate::{error::StorageError, names::QueueName};

/// Tells a node which queues are paused for all nodes.
#[async_trait]
pub trait PauseListener: fmt::Debug + Send {
    /// Reads which queues are paused, over the connection that listens: an error says that announcements may have been
    /// missed as well. Open another then.
    async fn paused(&mut self) -> Result<BTreeSet<QueueName>, StorageError>;

    /// Waits until [`paused`](Self::paused) may answer something else than the last time. What is announced between the two
    /// calls is not missed. Other programs may change pauses without an announcement.
    ///
    /// # Errors
    ///
    /// When the connection ended. Open another then.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    async fn changed(&mut self) -> Result<(), StorageError>;
}
