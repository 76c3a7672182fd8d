//! The changes of a [`State`] that concern nodes.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use verk_core::{
    Jid, QueueName,
    names::NodeId,
    storage::{ForeignList, Inprogress, JobSet, Lease, NameClaim, Node, SchedulePoll},
};

use super::{faults::Key, state::State};

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
