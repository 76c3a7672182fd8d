//! The nodes of all cells.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::try_join_all;

use super::{Fleet, cursor, of_a_node, picked, step_of_a_node};
use crate::{
    error::StorageError,
    names::{Jid, NodeId, QueueName},
    storage::{
        ForeignPage, Heartbeat, Inprogress, NameClaim, Node, NodeStore, Settled, Settlement,
        StoredNodeInfo,
    },
};

const FOREIGN: &str = "look for lists of unknown nodes";

#[async_trait]
impl NodeStore for Fleet {
    async fn claim_name(&self, _node: &NodeId, _ttl: Duration) -> Result<NameClaim, StorageError> {
        of_a_node("claim the name of a node")
    }

    async fn register(
        &self,
        _node: &NodeId,
        _queues: &[QueueName],
        _ttl: Duration,
        _info: &StoredNodeInfo,
    ) -> Result<(), StorageError> {
        of_a_node("register a node")
    }

    async fn open_heartbeat(
        &self,
        _node: &NodeId,
        _ttl: Duration,
    ) -> Result<Box<dyn Heartbeat>, StorageError> {
        of_a_node("open a heartbeat")
    }

    async fn deregister(&self, _node: &NodeId) -> Result<bool, StorageError> {
        of_a_node("deregister a node")
    }

    /// The registrations of all cells. A process has one in each.
    async fn nodes(&self) -> Result<Vec<Node>, StorageError> {
        let all = self.all(|cell| cell.nodes()).await?;
        let mut homes: HashMap<NodeId, Vec<usize>> = HashMap::new();
        for (cell, nodes) in all.iter().enumerate() {
            for node in nodes {
                homes.entry(node.id.clone()).or_default().push(cell);
            }
        }
        *self.homes.lock() = homes;
        Ok(united(all))
    }

    async fn node_infos(
        &self,
        nodes: &[NodeId],
    ) -> Result<Vec<Option<StoredNodeInfo>>, StorageError> {
        let by_home = self.by_home(nodes.iter()).into_iter();
        let asked = by_home.map(async |(cell, numbers)| {
            let some = picked(nodes, &numbers);
            let infos = self.at(cell, |cell| cell.node_infos(&some)).await?;
            Ok::<_, StorageError>((numbers, infos))
        });
        let mut all = vec![None; nodes.len()];
        for (numbers, infos) in try_join_all(asked).await? {
            for (number, info) in numbers.into_iter().zip(infos) {
                all[number] = all[number].take().or(info);
            }
        }
        Ok(all)
    }

    async fn silent_nodes(&self) -> Result<Vec<Node>, StorageError> {
        Ok(united(self.all(|cell| cell.silent_nodes()).await?))
    }

    async fn restore(&self, _inprogress: &Inprogress, settlements: &[Settlement]) -> Vec<Settled> {
        vec![Settled::Failed(step_of_a_node("restore a job")); settlements.len()]
    }

    async fn count_deaths(
        &self,
        _node: &NodeId,
        _started: &[Jid],
    ) -> Result<HashMap<Jid, u32>, StorageError> {
        of_a_node("count the deaths of jobs")
    }

    async fn foreign_lists(&self, cursor: u64) -> Result<ForeignPage, StorageError> {
        let (cell, cursor) = cursor::cell_of(cursor);
        if cell >= self.count() {
            return Ok(ForeignPage::default());
        }
        let page = self.at(cell, |cell| cell.foreign_lists(cursor)).await?;
        Ok(ForeignPage {
            next: cursor::next(FOREIGN, cell, page.next, self.count())?,
            ..page
        })
    }
}

/// The nodes of all cells, by id. A node of another program may have the same id in several cells:
/// it is alive if it is alive in one.
fn united(all: Vec<Vec<Node>>) -> Vec<Node> {
    let mut united: BTreeMap<NodeId, Node> = BTreeMap::new();
    for node in all.into_iter().flatten() {
        match united.get_mut(&node.id) {
            Some(known) => {
                known.alive |= node.alive;
                known.queues.extend(node.queues);
                known.queues.sort();
                known.queues.dedup();
            }
            None => {
                united.insert(node.id.clone(), node);
            }
        }
    }
    united.into_values().collect()
}
