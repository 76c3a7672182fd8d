//! The nodes that share a storage.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

use crate::{
    error::StorageError,
    names::{NodeId, QueueName},
};

/// The heartbeat of one node.
#[async_trait]
pub trait Heartbeat: fmt::Debug + Send {
    /// Renews the heartbeat of the node, and its name if it holds one, for another time to live.
    ///
    /// Never creates what is gone: [`Beat::alive`] is `false` then.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    async fn beat(&mut self) -> Result<Beat, StorageError>;
}

/// The answer to [`Heartbeat::beat`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Whether the heartbeat was still there and is renewed now.
    pub alive: bool,
    /// The backend's time of day.
    pub server_time: SystemTime,
    /// What tells one server from another, and a server from itself after a restart or a change of its role: for
    /// comparison only. Empty when it cannot be known.
    pub server: String,
}

/// The answer to [`Storage::claim_name`](crate::Storage::claim_name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameClaim {
    /// The name is this node's now.
    Granted,
    /// Another node holds it.
    Held {
        /// The holder.
        by: NodeId,
        /// How long its claim lasts if it is not renewed.
        ttl: Duration,
    },
}

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Whether its heartbeat is there.
    pub alive: bool,
    /// The queues that it fetched from.
    pub queues: Vec<QueueName>,
}

/// An `inprogress` list that belongs to no registered node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForeignList {
    /// Its name in the storage; what is no UTF-8 in it is replaced.
    pub key: String,
    /// How many jobs it holds.
    pub jobs: usize,
}

/// The answer to [`Storage::foreign_lists`](crate::Storage::foreign_lists).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignPage {
    /// What was found in this part.
    pub lists: Vec<ForeignList>,
    /// Where to go on; `None` when all was looked at.
    pub next: Option<u64>,
}
