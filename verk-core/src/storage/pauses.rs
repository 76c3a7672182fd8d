//! The pauses of queues, for all nodes.

use std::{collections::BTreeSet, fmt};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{error::StorageError, names::QueueName};

/// The pauses of queues, for all nodes.
///
/// A part of [`Storage`](super::Storage), whose page has the rules for errors and dropped futures.
#[async_trait]
pub trait PauseStore: fmt::Debug + Send + Sync + 'static {
    /// Pauses `queue` for all nodes, and announces that to every [`PauseListener`]. Its jobs stay
    /// in it, and [`dequeue`](super::QueueConnection::dequeue) takes none while it is paused. A
    /// pause lasts until it is ended, also across restarts. The queue needs no job, and no node
    /// that runs it. `note` is kept with the pause, unless it is empty.
    ///
    /// Returns whether that changes anything. If the queue was paused before, it returns `false`,
    /// keeps the note of that pause, and announces it again. After
    /// [`Unknown`](crate::error::Applied::Unknown) it may be sent again.
    async fn pause(&self, queue: &QueueName, note: &Bytes) -> Result<bool, StorageError>;

    /// Ends the pause of `queue` for all nodes, forgets its note, and announces that to every
    /// [`PauseListener`].
    ///
    /// Returns whether that changes anything. Called twice, it returns `false` and announces it
    /// again. After [`Unknown`](crate::error::Applied::Unknown) it may be sent again.
    async fn resume(&self, queue: &QueueName) -> Result<bool, StorageError>;

    /// Reads the queues that are paused for all nodes, sorted.
    async fn paused_queues(&self) -> Result<Vec<QueueName>, StorageError>;

    /// Reads the pauses for all nodes, with their notes, sorted by queue. A pause by another
    /// program has none.
    async fn pauses(&self) -> Result<Vec<StoredPause>, StorageError>;

    /// Opens the connection with which a node obeys pauses. It listens for announcements.
    async fn open_pause_listener(&self) -> Result<Box<dyn PauseListener>, StorageError>;
}

/// The pause of a queue for all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPause {
    /// The queue.
    pub queue: QueueName,
    /// What [`PauseStore::pause`] was given; `None` if that was empty, or if another program paused
    /// the queue.
    pub note: Option<Bytes>,
}

/// Reports to a node which queues are paused for all nodes.
#[async_trait]
pub trait PauseListener: fmt::Debug + Send {
    /// Reads which queues are paused, over the connection that listens. An error means that
    /// announcements may have been missed as well: open another connection then.
    async fn paused(&mut self) -> Result<BTreeSet<QueueName>, StorageError>;

    /// Waits until [`paused`](Self::paused) may return another answer than the last time. It misses
    /// no announcement between the two calls. Other programs may change pauses without an
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
