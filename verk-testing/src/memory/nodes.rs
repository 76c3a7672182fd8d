//! The nodes, and the jobs of dead nodes.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use verk_core::{
    Jid, QueueName, StorageError,
    names::NodeId,
    storage::{
        ForeignList, ForeignPage, Heartbeat, Inprogress, JobSet, Lease, NameClaim, Node, NodeStore,
        SchedulePoll, Settled, Settlement, StoredNodeInfo,
    },
};

use super::{
    MemoryStorage,
    connection::MemoryHeartbeat,
    each_failed,
    faults::{Fault, Key, Operation},
    state::State,
};

/// How long a death of a job counts, and how long the number is kept that a node prefetched before
/// it died.
pub(super) const DEATHS_LAST: Duration = Duration::from_secs(72 * 60 * 60);

/// Whose processes died.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    /// How often, and until when that is remembered.
    pub(super) of_jobs: HashMap<Jid, (u32, Instant)>,
    /// What was counted for a node.
    pub(super) of_nodes: HashMap<NodeId, HashMap<Jid, u32>>,
}

#[async_trait]
impl NodeStore for MemoryStorage {
    async fn claim_name(&self, node: &NodeId, ttl: Duration) -> Result<NameClaim, StorageError> {
        let now = self.shared.clock.instant();
        self.write("claim a name", |state| Ok(state.claim_name(node, ttl, now)))
    }

    async fn register(
        &self,
        node: &NodeId,
        queues: &[QueueName],
        ttl: Duration,
        info: &StoredNodeInfo,
    ) -> Result<(), StorageError> {
        let now = self.shared.clock.instant();
        self.write("register a node", |state| {
            state.register(node, queues, ttl, now);
            if *info != StoredNodeInfo::default() {
                state.node_infos.insert(node.clone(), info.clone());
            }
            Ok(())
        })
    }

    async fn node_infos(
        &self,
        nodes: &[NodeId],
    ) -> Result<Vec<Option<StoredNodeInfo>>, StorageError> {
        self.read("read what nodes are", |state| {
            let infos = nodes.iter().map(|node| state.node_infos.get(node).cloned());
            Ok(infos.collect())
        })
    }

    async fn open_heartbeat(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Box<dyn Heartbeat>, StorageError> {
        self.read("open a heartbeat", |_| Ok(()))?;
        Ok(Box::new(MemoryHeartbeat::new(
            self.clone(),
            node.clone(),
            ttl,
        )))
    }

    async fn deregister(&self, node: &NodeId) -> Result<bool, StorageError> {
        self.held_while(|faults| faults.holding_reports).await;
        self.write("deregister a node", |state| Ok(state.deregister(node)))
    }

    async fn nodes(&self) -> Result<Vec<Node>, StorageError> {
        let now = self.shared.clock.instant();
        self.read("list the nodes", |state| Ok(state.nodes(now)))
    }

    async fn restore(&self, inprogress: &Inprogress, settlements: &[Settlement]) -> Vec<Settled> {
        const OP: &str = "restore a job";
        let now = self.shared.clock.instant();
        self.write(OP, |state| {
            if state.is_alive(&inprogress.node, now) {
                return Ok(vec![Settled::NotHeld; settlements.len()]);
            }
            Ok(state.restore(inprogress, settlements, OP, now))
        })
        .unwrap_or_else(|error| each_failed(settlements.len(), &error))
    }

    async fn count_deaths(
        &self,
        node: &NodeId,
        started: &[Jid],
    ) -> Result<HashMap<Jid, u32>, StorageError> {
        const OP: &str = "count the deaths of jobs";
        let now = self.shared.clock.instant();
        let (counted, lost) = self.write(OP, |state| {
            let counted = state.count_deaths(node, started, now);
            Ok((counted, state.faults.loses_reply(Operation::CountDeaths)))
        })?;
        if lost {
            return Err(StorageError::unknown(OP, Fault::ReplyLost));
        }
        Ok(counted)
    }

    async fn foreign_lists(&self, _: u64) -> Result<ForeignPage, StorageError> {
        self.read("look for lists of other nodes", |state| {
            Ok(ForeignPage {
                lists: state.foreign_lists(),
                next: None,
            })
        })
    }
}

impl State {
    pub(super) fn count_deaths(
        &mut self,
        node: &NodeId,
        started: &[Jid],
        now: Instant,
    ) -> HashMap<Jid, u32> {
        if self.is_alive(node, now) || !self.nodes.contains_key(node) {
            return HashMap::new();
        }
        let Deaths { of_jobs, of_nodes } = &mut self.deaths;
        let counted = of_nodes.entry(node.clone()).or_insert_with(|| {
            let mut counted = HashMap::new();
            for jid in started {
                counted.entry(jid.clone()).or_insert_with(|| {
                    let (deaths, until) = of_jobs.entry(jid.clone()).or_insert((0, now));
                    *deaths = if *until > now { *deaths + 1 } else { 1 };
                    *until = now + DEATHS_LAST;
                    *deaths
                });
            }
            counted
        });
        counted.clone()
    }

    pub(super) fn foreign_lists(&self) -> Vec<ForeignList> {
        let foreign = self.inprogress.iter().filter(|(list, _)| {
            let queues = self.nodes.get(&list.node);
            !queues.is_some_and(|queues| queues.contains(&list.queue))
        });
        foreign
            .map(|(list, jobs)| ForeignList {
                key: format!("inprogress:{}:{}", list.queue, list.node),
                jobs: jobs.len(),
            })
            .collect()
    }

    pub(super) fn is_alive(&self, node: &NodeId, now: Instant) -> bool {
        self.heartbeats
            .get(node)
            .is_some_and(|&expires| expires > now)
    }

    pub(super) fn claim_name(&mut self, node: &NodeId, ttl: Duration, now: Instant) -> NameClaim {
        match self.names.get(node.name()) {
            Some((holder, expires)) if holder != node && *expires > now => NameClaim::Held {
                by: holder.clone(),
                ttl: *expires - now,
            },
            _ => {
                let claim = (node.clone(), now + ttl);
                self.names.insert(node.name().to_owned(), claim);
                NameClaim::Granted
            }
        }
    }

    pub(super) fn poll_schedule(
        &mut self,
        node: &NodeId,
        ttl: Duration,
        now: Instant,
    ) -> SchedulePoll {
        let lease = match &self.lease {
            Some((holder, expires)) if holder != node && *expires > now => Lease::Held {
                ttl: *expires - now,
            },
            _ => {
                self.lease = Some((node.clone(), now + ttl));
                Lease::Granted
            }
        };
        SchedulePoll {
            lease,
            schedule: self.next_due(JobSet::Schedule),
            retry: self.next_due(JobSet::Retry),
            cron: self.next_cron(),
            has_suspects: self.locks.has_suspects(),
            dead: match self.faults.check_key(Key::Set(JobSet::Dead)) {
                Ok(()) => self.dead.len(),
                Err(_) => 0,
            },
            first_death: self.next_due(JobSet::Dead),
        }
    }

    pub(super) fn register(
        &mut self,
        node: &NodeId,
        queues: &[QueueName],
        ttl: Duration,
        now: Instant,
    ) {
        self.heartbeats.insert(node.clone(), now + ttl);
        let known = self.nodes.entry(node.clone()).or_default();
        known.extend(queues.iter().cloned());
    }

    /// Registers the node, which is alive, and its queue again.
    pub(super) fn touch(&mut self, inprogress: &Inprogress) {
        let known = self.nodes.entry(inprogress.node.clone()).or_default();
        known.insert(inprogress.queue.clone());
    }

    /// Renews the heartbeat, and the name if the node holds it; returns whether the heartbeat
    /// existed.
    pub(super) fn beat(&mut self, node: &NodeId, ttl: Duration, now: Instant) -> bool {
        if !self.is_alive(node, now) {
            return false;
        }
        self.heartbeats.insert(node.clone(), now + ttl);
        if let Some((holder, expires)) = self.names.get_mut(node.name())
            && holder == node
            && *expires > now
        {
            *expires = now + ttl;
        }
        true
    }

    pub(super) fn deregister(&mut self, node: &NodeId) -> bool {
        for queue in self.nodes.get(node).into_iter().flatten() {
            let inprogress = Inprogress {
                queue: queue.clone(),
                node: node.clone(),
            };
            let holds_jobs = self.inprogress.contains_key(&inprogress);
            if holds_jobs || self.faults.check_key(Key::Inprogress(inprogress)).is_err() {
                return false;
            }
        }
        self.nodes.remove(node);
        self.heartbeats.remove(node);
        self.node_infos.remove(node);
        self.stats.forget(node);
        self.deaths.of_nodes.remove(node);
        self.prefetched.retain(|list, _| list.node != *node);
        self.expire_lease(node);
        if self
            .names
            .get(node.name())
            .is_some_and(|(by, _)| by == node)
        {
            self.names.remove(node.name());
        }
        true
    }

    pub(super) fn nodes(&self, now: Instant) -> Vec<Node> {
        self.nodes
            .iter()
            .map(|(id, queues)| Node {
                id: id.clone(),
                alive: self.is_alive(id, now),
                queues: queues.iter().cloned().collect(),
            })
            .collect()
    }

    pub(super) fn expire_heartbeat(&mut self, node: &NodeId) {
        self.heartbeats.remove(node);
    }

    pub(super) fn expire_lease(&mut self, node: &NodeId) {
        self.lease.take_if(|(holder, _)| holder == node);
    }

    pub(super) fn expire_name(&mut self, node: &NodeId) {
        self.names.remove(node.name());
    }

    pub(super) fn heartbeat_ttl(&self, node: &NodeId, now: Instant) -> Option<Duration> {
        let expires = self.heartbeats.get(node)?;
        expires
            .checked_duration_since(now)
            .filter(|ttl| !ttl.is_zero())
    }
}
