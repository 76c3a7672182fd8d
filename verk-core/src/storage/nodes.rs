//! The nodes that share a storage.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::StorageError,
    names::{Jid, NodeId, QueueName},
    storage::{Inprogress, Settled, Settlement},
};

/// The nodes that share a storage, and the jobs of dead nodes.
///
/// A part of [`Storage`](super::Storage), whose page has the rules for errors and dropped futures.
#[async_trait]
pub trait NodeStore: fmt::Debug + Send + Sync + 'static {
    /// Takes the name of `node` (see [`NodeId::name`]) for one holder, until `ttl` passes without a
    /// heartbeat.
    ///
    /// Answers [`NameClaim::Granted`] again to the holder itself.
    async fn claim_name(&self, node: &NodeId, ttl: Duration) -> Result<NameClaim, StorageError>;

    /// Registers a node: first its heartbeat with its time to live, then the list of nodes, then
    /// its queues, then `info`, unless that is the default.
    ///
    /// Called again, it renews the heartbeat, adds queues and replaces the info.
    async fn register(
        &self,
        node: &NodeId,
        queues: &[QueueName],
        ttl: Duration,
        info: &StoredNodeInfo,
    ) -> Result<(), StorageError>;

    /// Opens the connection of the heartbeat, bound to the calling runtime.
    async fn open_heartbeat(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Box<dyn Heartbeat>, StorageError>;

    /// Removes `node` from the list of nodes with its heartbeat, its queues, its
    /// [info](Self::node_infos), its name, its [lease](super::DueStore::poll_schedule), the number
    /// of its last [report](super::StatsStore::record_stats) and the [deaths](Self::count_deaths)
    /// of its jobs, unless one of its `inprogress` lists still has a job.
    ///
    /// Returns whether it did. Called twice, it returns `true` again.
    async fn deregister(&self, node: &NodeId) -> Result<bool, StorageError>;

    /// Lists every registered node, alive or not.
    async fn nodes(&self) -> Result<Vec<Node>, StorageError>;

    /// Reads what `nodes` stored about themselves when they [registered](Self::register), in their
    /// order, one each: `None` for a node that stored nothing, such as one of Elixir's Verk. The
    /// info of a dead node is kept for about a day, until the node is deregistered.
    async fn node_infos(
        &self,
        nodes: &[NodeId],
    ) -> Result<Vec<Option<StoredNodeInfo>>, StorageError>;

    /// Lists the registered nodes whose heartbeat is missing. Every node calls it again and again,
    /// so a backend should answer it with less work than [`nodes`](Self::nodes), if it can.
    async fn silent_nodes(&self) -> Result<Vec<Node>, StorageError> {
        let mut nodes = self.nodes().await?;
        nodes.retain(|node| !node.alive);
        Ok(nodes)
    }

    /// Like [`settle`](super::JobStore::settle), for the jobs of another node: takes effect only
    /// while the heartbeat of that node is missing. While that node is alive, every answer is
    /// [`Settled::NotHeld`]. For a while after it, no node
    /// [prefetches](super::DequeueRequest::prefetched) from the queue.
    async fn restore(&self, inprogress: &Inprogress, settlements: &[Settlement]) -> Vec<Settled>;

    /// Counts a death for each of the jobs in `started`: the process of `node`, whose heartbeat is
    /// missing, died while it ran them. A count is kept for 72 hours after the last death.
    ///
    /// Returns how many deaths each of these jobs has, this one included. A node dies once: called
    /// again, with any jobs, it counts nothing, and returns what it returned the first time, until
    /// the node is [deregistered](Self::deregister). After an error, or a crash in between, some
    /// are counted; called again, it counts the others. While the heartbeat exists, and once the
    /// node is off the list, it counts nothing, keeps nothing and returns nothing.
    async fn count_deaths(
        &self,
        node: &NodeId,
        started: &[Jid],
    ) -> Result<HashMap<Jid, u32>, StorageError>;

    /// Scans a part of the storage for `inprogress` lists of nodes that are not registered, or that
    /// did not register their queue. No node restores those. `cursor` is 0 at first, then the
    /// [`ForeignPage::next`] of the answer before. Changes nothing.
    ///
    /// A list that exists the whole time is found; it may be found twice.
    async fn foreign_lists(&self, cursor: u64) -> Result<ForeignPage, StorageError>;
}

/// The heartbeat of one node.
#[async_trait]
pub trait Heartbeat: fmt::Debug + Send {
    /// Renews the heartbeat of the node, and its name if it holds one, for another time to live.
    /// Its [info](NodeStore::node_infos) is kept meanwhile.
    ///
    /// It never creates a missing one: then [`Beat::alive`] is `false`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    async fn beat(&mut self) -> Result<Beat, StorageError>;
}

/// The answer to [`Heartbeat::beat`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Whether the heartbeat still existed and is renewed now.
    pub alive: bool,
    /// The backend's time of day.
    pub server_time: SystemTime,
    /// What distinguishes one server from another, and a server from itself after a restart or a
    /// change of its role. Use it only for comparison. Empty if it cannot be known.
    pub server: String,
    /// Whether each registered node had a heartbeat at that moment. If the backend does not know,
    /// `false`: then the node asks for [`silent_nodes`](NodeStore::silent_nodes).
    pub all_alive: bool,
    /// The queues that were paused for all nodes at that moment. If the backend does not know,
    /// `None`: then the node asks a [`PauseListener`](super::PauseListener).
    pub paused: Option<BTreeSet<QueueName>>,
}

/// The answer to [`NodeStore::claim_name`](crate::storage::NodeStore::claim_name).
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
    /// The id of the node.
    pub id: NodeId,
    /// Whether the node has a heartbeat.
    pub alive: bool,
    /// The queues that the node fetched from.
    pub queues: Vec<QueueName>,
}

/// What a node stores about itself: see [`NodeStore::register`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredNodeInfo {
    /// The library and its version, such as `verk 0.1.0`.
    pub version: String,
    /// Which features of other nodes it understands: a number that grows.
    pub level: u32,
    /// The identity of its process: see [`ProcessReport`](super::ProcessReport).
    pub process: String,
    /// When it registered, by the time of the backend, in microseconds.
    pub registered_at: Option<SystemTime>,
    /// How many classes it has a worker for.
    pub class_count: usize,
    /// These classes as a JSON array. Not always all of them.
    pub classes: Bytes,
    /// The entries of the [timetable](super::CronStore) that it declares, as a JSON object: the
    /// hash of each by its name. With an empty name among them, not all. Empty for none.
    pub cron: Bytes,
}

/// An `inprogress` list that belongs to no registered node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForeignList {
    /// The name of the list in the storage; bytes that are no UTF-8 are replaced.
    pub key: String,
    /// How many jobs the list holds.
    pub jobs: usize,
}

/// The answer to [`NodeStore::foreign_lists`](crate::storage::NodeStore::foreign_lists).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignPage {
    /// The lists that this part of the scan found.
    pub lists: Vec<ForeignList>,
    /// Where the next scan continues; `None` when everything was scanned.
    pub next: Option<u64>,
}
