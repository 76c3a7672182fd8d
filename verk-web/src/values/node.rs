//! Nodes.

use serde::Serialize;
use verk_core::manage::{NodeInfo, NodeStatus};

use super::time;

/// A node of verk, or of Elixir's Verk.
#[derive(Debug, Serialize)]
pub struct NodeValue<'a> {
    node: &'a str,
    /// Whether it has a heartbeat. If not, other nodes restore its jobs.
    alive: bool,
    queues: Vec<NodeQueueValue<'a>>,
    /// What it said about itself; `null` for a node of Elixir's Verk.
    info: Option<NodeInfoValue<'a>>,
}

#[derive(Debug, Serialize)]
struct NodeQueueValue<'a> {
    queue: &'a str,
    /// The jobs that run, and those that it fetched ahead.
    held: usize,
    prefetched: usize,
}

#[derive(Debug, Serialize)]
struct NodeInfoValue<'a> {
    version: &'a str,
    /// The identity of its process.
    process: &'a str,
    registered_at: Option<String>,
    /// How many classes it has a worker for.
    class_count: usize,
    /// The first of them, in order.
    classes: &'a [String],
}

impl<'a> NodeValue<'a> {
    /// The node.
    #[must_use]
    pub fn new(node: &'a NodeStatus) -> Self {
        let queues = node.queues.iter().map(|queue| NodeQueueValue {
            queue: queue.name.as_str(),
            held: queue.held,
            prefetched: queue.prefetched,
        });
        Self {
            node: node.id.as_str(),
            alive: node.alive,
            queues: queues.collect(),
            info: node.info.as_ref().map(NodeInfoValue::new),
        }
    }
}

impl<'a> NodeInfoValue<'a> {
    fn new(info: &'a NodeInfo) -> Self {
        Self {
            version: &info.version,
            process: &info.process,
            registered_at: info.registered_at.map(time),
            class_count: info.class_count,
            classes: &info.classes,
        }
    }
}
