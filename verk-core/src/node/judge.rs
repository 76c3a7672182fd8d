//! Judges other nodes by what is seen of them. Pure.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use crate::{names::NodeId, storage::Node};

/// Judges which nodes are dead. Pure.
///
/// A node is dead when its heartbeat is missing at two looks that are at least one `heartbeat` apart, while the judge itself was well: its own
/// heartbeats were acknowledged in time, by the same server, since at least one time to live before the first look. After a restart or a
/// failover of the server, everybody's heartbeat may be missing for a moment.
#[derive(Debug)]
pub(crate) struct Judge {
    heartbeat: Duration,
    ttl: Duration,
    /// When a heartbeat was first found missing.
    missing: HashMap<NodeId, Instant>,
}

impl Judge {
    pub(crate) fn new(heartbeat: Duration, ttl: Duration) -> Self {
        Self {
            heartbeat,
            ttl,
            missing: HashMap::new(),
        }
    }

    /// How long the judge waits between two looks.
    pub(crate) fn pause(&self) -> Duration {
        self.heartbeat / 3
    }

    /// Until when a node that is silent is known to be dead, at the latest, if the judge stays well.
    pub(crate) fn dead_by(&self, now: Instant, well_since: Instant, node: &NodeId) -> Instant {
        // The judge looks at `missing` when its time has come, up to a pause late.
        match self.missing.get(node) {
            Some(first) => *first + self.heartbeat + self.pause(),
            None => now.max(well_since + self.ttl) + self.heartbeat + self.pause() * 2,
        }
    }

    /// Returns the nodes that are dead for certain.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        well_since: Instant,
        nodes: &[Node],
    ) -> HashSet<NodeId> {
        let trusted_from = well_since + self.ttl;
        let missing = nodes
            .iter()
            .filter(|node| !node.alive && now >= trusted_from);
        self.missing = missing
            .map(|node| {
                let first = self
                    .missing
                    .get(&node.id)
                    .copied()
                    .filter(|first| *first >= trusted_from);
                (node.id.clone(), first.unwrap_or(now))
            })
            .collect();
        let dead = self
            .missing
            .iter()
            .filter(|(_, first)| now.saturating_duration_since(**first) >= self.heartbeat);
        dead.map(|(node, _)| node.clone()).collect()
    }
}
