//! Judges other nodes by their heartbeats. Pure.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use crate::{names::NodeId, storage::Node};

/// Judges which nodes are dead. Pure.
///
/// A node is dead when its heartbeat is missing at two checks, at least one `heartbeat` apart,
/// while the judge itself was healthy: the judge's own heartbeats were acknowledged on time, by the
/// same server, since at least one time to live before the first check. The reason: after a restart
/// or a failover of the server, all heartbeats may be missing for a moment.
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

    /// How long the judge waits between two checks.
    pub(crate) fn pause(&self) -> Duration {
        self.heartbeat / 3
    }

    /// When a silent node is known to be dead, at the latest, if the judge stays healthy.
    pub(crate) fn dead_by(&self, now: Instant, well_since: Instant, node: &NodeId) -> Instant {
        // The judge reads `missing` when its time has come, up to a pause late.
        match self.missing.get(node) {
            Some(first) => *first + self.heartbeat + self.pause(),
            None => now.max(well_since + self.ttl) + self.heartbeat + self.pause() * 2,
        }
    }

    /// Checks the nodes, and returns those that are certainly dead.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::clock::{Clock, SystemClock};

    const HEARTBEAT: Duration = Duration::from_secs(10);
    const TTL: Duration = Duration::from_secs(20);

    fn node(id: &str, alive: bool) -> Node {
        Node {
            id: NodeId::from(id),
            alive,
            queues: Vec::new(),
        }
    }

    /// Checks a node at these seconds after the judge started, with whether the node is alive.
    /// Returns when it was declared dead.
    fn judged(looks: &[(u64, bool)], well_since: impl Fn(u64) -> u64) -> Vec<u64> {
        let start = SystemClock.instant();
        let mut judge = Judge::new(HEARTBEAT, TTL);
        let mut dead_at = Vec::new();
        for &(second, alive) in looks {
            let at = |second| start + Duration::from_secs(second);
            if !judge
                .look(at(second), at(well_since(second)), &[node("other", alive)])
                .is_empty()
            {
                dead_at.push(second);
            }
        }
        dead_at
    }

    #[test]
    fn a_silent_node_is_found_dead_by_the_time_that_is_announced() {
        let start = SystemClock.instant();
        let at = |second| start + Duration::from_secs(second);
        let other = NodeId::from("other");
        // The judge checks every `HEARTBEAT / 3`, here a little earlier, so that no check is
        // exactly at a limit.
        for (silent_from, well_since) in [(0, 0), (7, 0), (50, 0), (50, 45)] {
            let mut judge = Judge::new(HEARTBEAT, TTL);
            let mut announced = None;
            let mut dead = false;
            let mut now = at(silent_from);
            while !dead {
                dead = !judge
                    .look(now, at(well_since), &[node("other", false)])
                    .is_empty();
                let by =
                    *announced.get_or_insert_with(|| judge.dead_by(now, at(well_since), &other));
                assert!(now <= by, "{silent_from} {well_since}");
                now += HEARTBEAT / 3 - Duration::from_millis(1);
            }
        }
    }

    #[test]
    fn a_node_is_dead_when_it_is_missing_at_two_looks_a_heartbeat_apart() {
        assert_eq!(
            judged(&[(100, false), (105, false), (110, false)], |_| 0),
            [110]
        );
    }

    #[test]
    fn a_heartbeat_in_between_starts_the_judgement_anew() {
        assert_eq!(
            judged(
                &[
                    (100, false),
                    (105, true),
                    (110, false),
                    (119, false),
                    (120, false)
                ],
                |_| 0
            ),
            [120]
        );
    }

    #[test]
    fn a_judge_that_just_started_waits_for_a_time_to_live() {
        assert_eq!(
            judged(
                &[
                    (0, false),
                    (10, false),
                    (19, false),
                    (20, false),
                    (29, false),
                    (30, false)
                ],
                |_| 0
            ),
            [30]
        );
    }

    #[test]
    fn a_judge_whose_own_heartbeat_failed_forgets_what_it_saw() {
        // Not healthy at 105: the check at 100 does not count, and none does until 125.
        let well_since = |second| if second < 105 { 0 } else { 105 };
        let looks = [
            (100, false),
            (110, false),
            (120, false),
            (125, false),
            (135, false),
        ];
        assert_eq!(judged(&looks, well_since), [135]);
    }

    #[test]
    fn a_node_that_left_the_list_is_forgotten() {
        let start = SystemClock.instant();
        let at = |second| start + Duration::from_secs(second);
        let mut judge = Judge::new(HEARTBEAT, TTL);
        judge.look(at(100), start, &[node("other", false)]);
        judge.look(at(105), start, &[]);
        assert!(
            judge
                .look(at(110), start, &[node("other", false)])
                .is_empty()
        );
    }
}
