//! The life of one node id, and what its heartbeats show. No I/O.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    health::{Reason, monitor::Registered},
    log,
    names::NodeId,
    time::clock::Clock,
};

/// The life of one node id, from its registration until it is deregistered or lost.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) node: NodeId,
    heartbeat: Duration,
    /// Whether the name is configured, and has one holder.
    named: bool,
    pub(crate) health: Arc<watch::Sender<HeartbeatHealth>>,
    /// Cancelled when the storage does not know the node any more.
    pub(crate) lost: CancellationToken,
    /// Ends the heartbeat.
    pub(crate) stop: CancellationToken,
    /// Whether the heartbeat continues for as long as the process lives, because jobs that do not
    /// end still run.
    pub(crate) beat_on: AtomicBool,
    /// Whether a fetch may still bring jobs that the node would not know.
    pub(crate) unsure: AtomicBool,
    /// The task of the heartbeat, unless this is a test.
    pub(crate) beats: OnceLock<JoinHandle<()>>,
}

/// What the heartbeats tell about this node.
#[derive(Clone, Debug)]
pub(crate) struct HeartbeatHealth {
    /// When the last heartbeat that the storage acknowledged was sent.
    acknowledged: Instant,
    /// Since when each heartbeat was acknowledged on time, by the same server.
    well_since: Instant,
    /// Who acknowledged the last one.
    server: Option<String>,
    /// How often another server answered than before, or the same one after a restart or in another
    /// role.
    servers: u64,
}

impl HeartbeatHealth {
    /// The node is registered, and has not sent a heartbeat yet.
    fn new(registered_at: Instant) -> Self {
        Self {
            acknowledged: registered_at,
            well_since: registered_at,
            server: None,
            servers: 0,
        }
    }

    /// A heartbeat that was sent at this time is acknowledged. `failures` heartbeats failed since
    /// the last one.
    pub(crate) fn acknowledge(
        &mut self,
        sent_at: Instant,
        server: String,
        failures: u32,
        heartbeat: Duration,
    ) {
        let in_time = sent_at.saturating_duration_since(self.acknowledged) <= heartbeat;
        let same_server = self.server.as_ref().is_none_or(|known| *known == server);
        if !(in_time && same_server && failures == 0) {
            self.well_since = sent_at;
        }
        self.acknowledged = sent_at;
        self.servers += u64::from(!same_server);
        self.server = Some(server);
    }

    fn is_fresh(&self, now: Instant, heartbeat: Duration) -> bool {
        now.saturating_duration_since(self.acknowledged) <= heartbeat
    }
}

impl Registration {
    /// The node is registered since `at`, and sends no heartbeat yet.
    pub(crate) fn new(node: NodeId, heartbeat: Duration, named: bool, at: Instant) -> Self {
        Self {
            node,
            heartbeat,
            named,
            health: Arc::new(watch::Sender::new(HeartbeatHealth::new(at))),
            lost: CancellationToken::new(),
            stop: CancellationToken::new(),
            beat_on: AtomicBool::new(false),
            unsure: AtomicBool::new(false),
            beats: OnceLock::new(),
        }
    }

    pub(crate) fn node(&self) -> &NodeId {
        &self.node
    }

    /// Whether the node is known to be alive: no fetch is sent while the last acknowledged
    /// heartbeat is older than `heartbeat`.
    pub(crate) fn may_fetch(&self, clock: &dyn Clock) -> bool {
        (self.health.borrow()).is_fresh(clock.instant(), self.heartbeat)
            && !self.lost.is_cancelled()
    }

    /// Whether the heartbeat has ended unexpectedly.
    fn heartbeat_ended(&self) -> bool {
        self.beats.get().is_some_and(JoinHandle::is_finished)
            && !self.lost.is_cancelled()
            && !self.stop.is_cancelled()
    }

    /// Waits until an acknowledged heartbeat is recent enough to fetch.
    pub(crate) async fn until_fresh(&self, clock: &dyn Clock) {
        let fresh = |health: &HeartbeatHealth| health.is_fresh(clock.instant(), self.heartbeat);
        // An error means that the sender was dropped; it is in `self`.
        let _ = self.health.subscribe().wait_for(fresh).await;
    }

    /// The storage does not know this node any more.
    pub(crate) fn lose(&self) {
        lose(&self.node, &self.lost);
    }

    /// Since when this node's own heartbeats were acknowledged on time, by the same server.
    pub(crate) fn well_since(&self) -> Instant {
        self.health.borrow().well_since
    }

    /// Waits until another server answers than the last time, whose number is in `seen`: it may
    /// lack changes of the last one.
    pub(crate) async fn server_changed(&self, seen: &mut u64) {
        let mut health = self.health.subscribe();
        // An error means that the sender was dropped; it is in `self`.
        if let Ok(health) = health.wait_for(|health| health.servers != *seen).await {
            *seen = health.servers;
        }
    }

    /// Whether `node` is an earlier holder of this node's configured name.
    pub(crate) fn follows(&self, node: &NodeId) -> bool {
        let name = self.node.name();
        self.named && *node != self.node && node.name() == name && node.as_str() != name
    }

    /// Keeps the node registered, because other nodes must restore the jobs that it may still get.
    pub(crate) fn stay_on_the_list(&self) {
        self.unsure.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Waits until the storage does not know this node any more.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Registered for Registration {
    fn reason(&self, clock: &dyn Clock, heartbeat: Duration) -> Option<Reason> {
        if self.is_lost() {
            return Some(Reason::RegistrationLost);
        }
        if self.heartbeat_ended() {
            return Some(Reason::HeartbeatEnded);
        }
        let acknowledged = self.health.borrow().acknowledged;
        let age = clock.instant().saturating_duration_since(acknowledged);
        (age > heartbeat).then_some(Reason::HeartbeatStale { age })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.beat_on.load(Ordering::Relaxed) {
            self.stop.cancel();
        }
    }
}

pub(crate) fn lose(node: &NodeId, lost: &CancellationToken) {
    if !lost.is_cancelled() {
        lost.cancel();
        log::warn!(%node, "this node was declared dead: it drains, and registers again under a new id");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::time::clock::SystemClock;

    const HEARTBEAT: Duration = Duration::from_secs(9);

    /// Since which second a node that registered at 0 is healthy, after heartbeats at these
    /// seconds, each with its server and how many failed before it.
    fn well_since(beats: &[(u64, &str, u32)]) -> u64 {
        let start = SystemClock.instant();
        let mut health = HeartbeatHealth::new(start);
        for &(second, server, failures) in beats {
            let sent_at = start + Duration::from_secs(second);
            health.acknowledge(sent_at, server.to_owned(), failures, HEARTBEAT);
            assert_eq!(health.acknowledged, sent_at);
        }
        (health.well_since - start).as_secs()
    }

    #[test]
    fn a_node_is_well_while_its_heartbeats_are_acknowledged_in_time() {
        assert_eq!(well_since(&[(0, "a", 0), (3, "a", 0), (12, "a", 0)]), 0);
        assert_eq!(well_since(&[(0, "a", 0), (10, "a", 0), (13, "a", 0)]), 10);
        assert_eq!(well_since(&[(0, "a", 0), (5, "a", 1), (8, "a", 0)]), 5);
    }

    #[test]
    fn after_a_restart_or_a_failover_of_the_server_a_node_is_well_anew() {
        assert_eq!(well_since(&[(0, "a", 0), (3, "b", 0), (6, "b", 0)]), 3);
        assert_eq!(well_since(&[(0, "a", 0), (3, "b", 0), (6, "a", 0)]), 6);
    }
}
