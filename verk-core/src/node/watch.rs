//! Finds dead nodes, and restores their jobs in progress.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    error::StorageError,
    events::event::EventKind,
    log,
    names::NodeId,
    node::{
        judge::Judge,
        registration::Registration,
        restore::{RestoreCounts, Verdicts, restore},
    },
    services::Services,
    storage::{Inprogress, Node},
    time::clock::rfc3339,
};

/// The longest that a fetch of a node may still be pending on the server after the node died, and
/// put jobs on its lists.
const LONGEST_FETCH: Duration = Duration::from_secs(5);

/// Checks the other nodes, again and again.
#[derive(Debug)]
pub(crate) struct NodeWatch {
    services: Arc<Services>,
    registration: Arc<Registration>,
    /// The earlier ids of this process, while jobs still run under them.
    earlier: Vec<Weak<Registration>>,
    stop: CancellationToken,
    judge: Judge,
    /// When the jobs of each silent node come back, as the log said.
    announced: HashMap<NodeId, Instant>,
    /// The dead nodes whose lists are being emptied.
    dead: HashMap<NodeId, DeadNode>,
}

/// A dead node whose lists are being emptied.
#[derive(Debug)]
struct DeadNode {
    /// What happens to the jobs that it had started.
    verdicts: Verdicts,
    /// Since when its lists were found empty.
    since: Option<Instant>,
}

impl NodeWatch {
    pub(crate) fn new(
        services: Arc<Services>,
        registration: Arc<Registration>,
        earlier: Vec<Weak<Registration>>,
        stop: CancellationToken,
    ) -> Self {
        let judge = Judge::new(services.config.heartbeat, services.config.heartbeat_ttl());
        Self {
            services,
            registration,
            earlier,
            stop,
            judge,
            announced: HashMap::new(),
            dead: HashMap::new(),
        }
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(&mut self) {
        let mut beats = self.services.last_beat.subscribe();
        while !self.stop.is_cancelled() {
            beats.mark_unchanged();
            if let Err(error) = self.look().await {
                log::warn!(
                    error = %error,
                    "cannot look after the other nodes, trying again"
                );
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                // It says whether all nodes live.
                Ok(()) = beats.changed() => {}
                () = self.services.clock.sleep(self.judge.pause()) => {}
            }
        }
    }

    async fn look(&mut self) -> Result<(), StorageError> {
        let mut nodes = if self.all_alive() {
            Vec::new()
        } else {
            self.services.storage.silent_nodes().await?
        };
        nodes.retain(|node| !self.drains(&node.id));
        let now = self.services.clock.instant();
        let mut dead = self.judge.look(now, self.registration.well_since(), &nodes);
        // This node has the name now, so an earlier holder is certainly dead.
        let earlier = nodes
            .iter()
            .filter(|node| !node.alive && self.registration.follows(&node.id));
        dead.extend(earlier.map(|node| node.id.clone()));
        self.dead.retain(|node, _| dead.contains(node));
        self.announce(now, &nodes, &dead);
        // A node whose lists cannot be emptied delays no other.
        let mut result = Ok(());
        for node in nodes.into_iter().filter(|node| dead.contains(&node.id)) {
            result = result.and(self.empty(node).await);
        }
        result
    }

    /// Whether the last heartbeat of this node found a heartbeat of each node, and is not overdue
    /// itself.
    fn all_alive(&self) -> bool {
        let now = self.services.clock.instant();
        let overdue = 2 * self.judge.pause();
        let since = now.checked_sub(overdue).unwrap_or(now);
        (self.services.last_beat).is(since, |beat| beat.all_alive)
    }

    /// Logs of each silent node, once, when its jobs come back. After a crash, operators see
    /// nothing else of them for a minute.
    fn announce(&mut self, now: Instant, nodes: &[Node], dead: &HashSet<NodeId>) {
        let waits = |node: &&Node| !node.alive && !dead.contains(&node.id);
        let waiting: HashSet<&NodeId> = nodes.iter().filter(waits).map(|node| &node.id).collect();
        self.announced.retain(|node, _| waiting.contains(node));
        for node in waiting {
            let dead_by = self
                .judge
                .dead_by(now, self.registration.well_since(), node);
            let before = self.announced.get(node);
            // The time moves if this node itself was not healthy.
            if before.is_none_or(|before| dead_by > *before + self.judge.pause()) {
                let restored_by = self.services.at(now) + dead_by.saturating_duration_since(now);
                log::warn!(%node, restored_by = %rfc3339(restored_by), "a node sends no heartbeat: if that continues, its jobs are restored by then");
                self.announced.insert(node.clone(), dead_by);
            }
        }
    }

    /// Whether `node` is this process under an earlier id, whose jobs run to their ends here.
    fn drains(&self, node: &NodeId) -> bool {
        let mut earlier = self.earlier.iter().filter_map(Weak::upgrade);
        earlier.any(|registration| registration.node() == node)
    }

    /// Restores the jobs in progress of a dead node. It removes the node from the list only when
    /// its lists stayed empty for so long that no fetch of it can be pending any more.
    async fn empty(&mut self, node: Node) -> Result<(), StorageError> {
        let emptied = match self.dead.entry(node.id.clone()) {
            Entry::Occupied(emptied) => emptied.into_mut(),
            Entry::Vacant(place) => place.insert(DeadNode {
                verdicts: Verdicts::reach(&self.services, &node).await?,
                since: None,
            }),
        };
        let mut moved = RestoreCounts::default();
        let mut result = Ok(());
        for queue in node.queues {
            let inprogress = Inprogress {
                queue,
                node: node.id.clone(),
            };
            let restored = restore(
                &self.services,
                &inprogress,
                &emptied.verdicts,
                &self.stop,
                &mut moved,
            );
            result = result.and(restored.await);
        }
        let now = self.services.clock.instant();
        let RestoreCounts { restored, buried } = moved;
        if restored > 0 {
            log::warn!(node = %node.id, restored, "restored the jobs of a dead node");
            self.services.publish(EventKind::JobsRestored {
                node: node.id.clone(),
                count: restored,
            });
        }
        if restored + buried > 0 {
            emptied.since = Some(now);
            return result;
        }
        result?;
        let since = *emptied.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= LONGEST_FETCH
            && self.services.storage.deregister(&node.id).await?
        {
            self.dead.remove(&node.id);
            log::info!(node = %node.id, "took a dead node off the list");
        }
        Ok(())
    }
}
