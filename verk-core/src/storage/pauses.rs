//! The pauses of queues, for all nodes.

use std::{collections::BTreeSet, fmt};

use async_trait::async_trait;

use crate::{error::StorageError, names::QueueName};

/// The pauses of queues, for all nodes.
///
/// A part of [`Storage`](super::Storage), whose page has the rules for errors and dropped futures.
#[async_trait]
pub trait PauseStore: fmt::Debug + Send + Sync + 'static {
    /// Pauses `queue` for all nodes, or resumes it, and announces that to every [`PauseListener`].
    /// Its jobs stay where they are, and [`dequeue`](super::QueueConnection::dequeue) takes none
    /// while it is paused. A pause lasts until it is ended, whatever restarts meanwhile. The queue
    /// need not have a job, nor a node that runs it.
    ///
    /// Returns whether that changes anything. Called twice, it answers `false` and announces it
    /// again. After [`Unknown`](crate::Applied::Unknown) it may be sent again.
    async fn set_paused(&self, queue: &QueueName, paused: bool) -> Result<bool, StorageError>;

    /// The queues that are paused for all nodes, sorted.
    async fn paused_queues(&self) -> Result<Vec<QueueName>, StorageError>;

    /// Opens what a node needs to obey pauses: a connection of its own, which listens for
    /// announcements.
    async fn open_pause_listener(&self) -> Result<Box<dyn PauseListener>, StorageError>;
}

/// Tells a node which queues are paused for all nodes.
#[async_trait]
pub trait PauseListener: fmt::Debug + Send {
    /// Reads which queues are paused, over the connection that listens: an error says that
    /// announcements may have been missed as well. Open another then.
    async fn paused(&mut self) -> Result<BTreeSet<QueueName>, StorageError>;

    /// Waits until [`paused`](Self::paused) may answer something else than the last time. What is
    /// announced between the two calls is not missed. Other programs may change pauses without an
    /// announcement.
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
