//! The nodes of the fleet: [`NodeStatus`].

use std::time::SystemTime;

use super::{Admin, queues::lists};
use crate::{
    error::StorageError,
    names::{NodeId, QueueName},
    storage::{HeldCount, MAX_BATCH_BYTES, Node, StoredNodeInfo},
};

/// # Nodes
impl Admin {
    /// Reads the registered nodes, by id: whether each lives, what it holds, and what it said about
    /// itself. A node is one process of verk, or of Elixir's Verk, that runs queues. Sidekiq has
    /// [processes](Self::processes) and no nodes.
    ///
    /// It takes a few round trips, each for about 100 nodes, and reads no job. It is no snapshot:
    /// nodes and jobs come and go meanwhile.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// let verk = Verk::builder().storage(MemoryStorage::default()).queue("default", 25).build().await?;
    /// let nodes = verk.admin().nodes().await?;
    /// assert!(nodes[0].alive);
    /// assert_eq!((nodes[0].queues[0].name.as_str(), nodes[0].queues[0].held), ("default", 0));
    /// let info = nodes[0].info.as_ref().expect("it is a node of verk");
    /// println!("{} runs {} and {} classes", nodes[0].id, info.version, info.class_count);
    /// assert!(info.version.starts_with("verk "));
    /// # verk.shutdown().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn nodes(&self) -> Result<Vec<NodeStatus>, StorageError> {
        let storage = self.storage();
        let nodes = storage.nodes().await?;
        let held = storage.held_counts(&lists(&nodes)).await?;
        self.about(nodes, held).await
    }

    /// What the nodes said about themselves, with the counts of their lists, in the order of
    /// [`lists`]. A list without a count has none: each costs the server two commands.
    pub(crate) async fn about(
        &self,
        nodes: Vec<Node>,
        held: Vec<HeldCount>,
    ) -> Result<Vec<NodeStatus>, StorageError> {
        let ids: Vec<NodeId> = nodes.iter().map(|node| node.id.clone()).collect();
        let infos = self.storage().node_infos(&ids).await?;
        let mut held = held.into_iter();
        let nodes = nodes.into_iter().zip(infos);
        let nodes = nodes.map(|(node, info)| NodeStatus {
            id: node.id,
            alive: node.alive,
            queues: (node.queues.into_iter())
                .map(|name| {
                    let count = held.next().unwrap_or_default();
                    NodeQueue {
                        name,
                        held: count.jobs,
                        prefetched: count.prefetched,
                    }
                })
                .collect(),
            info: info.map(NodeInfo::of),
        });
        Ok(nodes.collect())
    }
}

/// A registered node: see [`Admin::nodes`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStatus {
    /// The id of this registration.
    pub id: NodeId,
    /// Whether it has a heartbeat. If that stays missing, other nodes restore its jobs, and
    /// deregister it.
    pub alive: bool,
    /// The queues that it fetched from.
    pub queues: Vec<NodeQueue>,
    /// What it said about itself; `None` for a node of Elixir's Verk.
    pub info: Option<NodeInfo>,
}

/// A queue of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeQueue {
    /// The name of the queue.
    pub name: QueueName,
    /// How many of its jobs the node holds: those that run, and those that it prefetched.
    pub held: usize,
    /// How many of these were prefetched, and run next.
    pub prefetched: usize,
}

/// What a node said about itself when it registered. Any program can write it. A value that is
/// missing, or has another form, is empty, 0 or `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// The library and its version, such as `verk 0.1.0`.
    pub version: String,
    /// Which features of other nodes it understands: a number that grows with versions.
    pub level: u32,
    /// The [identity](super::Process::identity) of its process. The process is only shown if
    /// [`process_registry`](crate::VerkBuilder::process_registry) is on.
    pub process: String,
    /// When it registered, by the time of the storage.
    pub registered_at: Option<SystemTime>,
    /// How many classes it has a worker for.
    pub class_count: usize,
    /// These classes, in order: the first 1000, or fewer if they are more than 32 KiB.
    pub classes: Vec<String>,
}

impl NodeInfo {
    fn of(stored: StoredNodeInfo) -> Self {
        let classes = Some(&stored.classes).filter(|json| json.len() <= MAX_BATCH_BYTES);
        let classes = classes.and_then(|json| serde_json::from_slice(json).ok());
        Self {
            version: stored.version,
            level: stored.level,
            process: stored.process,
            registered_at: stored.registered_at,
            class_count: stored.class_count,
            classes: classes.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(json: &str) -> Vec<String> {
        let stored = StoredNodeInfo {
            classes: json.to_owned().into(),
            ..StoredNodeInfo::default()
        };
        NodeInfo::of(stored).classes
    }

    #[test]
    fn classes_of_any_form_are_read() {
        assert_eq!(classes(r#"["A::B","c\n"]"#), ["A::B", "c\n"]);
        for json in ["", "{}", "broken", r#"["a",1]"#] {
            assert_eq!(classes(json), [""; 0], "{json}");
        }
        let large = format!(r#"["{}"]"#, "x".repeat(MAX_BATCH_BYTES));
        assert_eq!(classes(&large), [""; 0]);
    }
}
