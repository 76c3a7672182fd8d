//! This node among the others: its name, its registration and its heartbeat.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::{runtime, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{
    blocked,
    clock::{Clock, rfc3339},
    error::{BuildError, StorageError},
    event::Event,
    guard, log,
    names::NodeId,
    shared::Shared,
    storage::{Beat, Heartbeat, NameClaim},
    time::{backoff::pause_before_retry, server_time::Asked},
};

/// How much later than its time to live a name is asked for again.
const CLAIM_MARGIN: Duration = Duration::from_millis(50);

/// The life of one node id, from its registration until it is deregistered or lost.
#[derive(Debug)]
pub(crate) struct Registration {
    node: NodeId,
    heartbeat: Duration,
    /// Whether the name is configured, and has one holder.
    named: bool,
    health: Arc<watch::Sender<Health>>,
    /// Cancelled when the storage does not know the node any more.
    lost: CancellationToken,
    /// Ends the heartbeat.
    stop: CancellationToken,
    /// Whether the heartbeat goes on for as long as the process lives: jobs that do not end still run.
    beat_on: AtomicBool,
    /// Whether a fetch may still bring jobs that nobody here knows of.
    unsure: AtomicBool,
    /// The thread of the heartbeat, unless this is a test.
    thread: OnceLock<JoinHandle<()>>,
}

/// What the heartbeats tell about this node.
#[derive(Clone, Debug)]
struct Health {
    /// When the last heartbeat that the storage acknowledged was sent.
    acknowledged: Instant,
    /// Since when each was acknowledged in time, by the same server.
    well_since: Instant,
    /// Who acknowledged the last one.
    server: Option<String>,
    /// How often another server answered than before, or the same one after a restart or in another role.
    servers: u64,
}

impl Health {
    /// The node is registered, and has not sent a heartbeat yet.
    fn new(registered_at: Instant) -> Self {
        Self {
            acknowledged: registered_at,
            well_since: registered_at,
            server: None,
            servers: 0,
        }
    }

    /// A heartbeat that was sent at this time is acknowledged. `failures` were not, since the last one.
    fn acknowledge(
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
    pub(crate) fn node(&self) -> &NodeId {
        &self.node
    }

    /// Whether the node is known to be alive: no fetch is sent while the last acknowledged heartbeat is older than `heartbeat`.
    pub(crate) fn may_fetch(&self, clock: &dyn Clock) -> bool {
        (self.health.borrow()).is_fresh(clock.instant(), self.heartbeat)
            && !self.lost.is_cancelled()
    }

    /// How long ago the last heartbeat that was acknowledged was sent.
    pub(crate) fn heartbeat_age(&self, clock: &dyn Clock) -> Duration {
        let acknowledged = self.health.borrow().acknowledged;
        clock.instant().saturating_duration_since(acknowledged)
    }

    /// Whether the heartbeat has ended though nobody ended it.
    pub(crate) fn heartbeat_ended(&self) -> bool {
        self.thread.get().is_some_and(JoinHandle::is_finished)
            && !self.lost.is_cancelled()
            && !self.stop.is_cancelled()
    }

    /// Waits until an acknowledged heartbeat is young enough to fetch.
    pub(crate) async fn until_fresh(&self, clock: &dyn Clock) {
        let fresh = |health: &Health| health.is_fresh(clock.instant(), self.heartbeat);
        // An error says that the sender is gone; it is in `self`.
        let _ = self.health.subscribe().wait_for(fresh).await;
    }

    /// The storage does not know this node any more.
    pub(crate) fn lose(&self) {
        lose(&self.node, &self.lost);
    }

    /// Since when this node's own heartbeats were acknowledged in time, by the same server.
    pub(crate) fn well_since(&self) -> Instant {
        self.health.borrow().well_since
    }

    /// Waits until another server answers than at the last time, whose number is in `seen`: it may not know all that the last one knew.
    pub(crate) async fn server_changed(&self, seen: &mut u64) {
        let mut health = self.health.subscribe();
        // An error says that the sender is gone; it is in `self`.
        if let Ok(health) = health.wait_for(|health| health.servers != *seen).await {
            *seen = health.servers;
        }
    }

    /// Whether `node` is an earlier holder of this node's configured name.
    pub(crate) fn follows(&self, node: &NodeId) -> bool {
        let name = self.node.name();
        self.named && *node != self.node && node.name() == name && node.as_str() != name
    }

    /// Whatever this node may still be given is restored by others: it must not leave the list of nodes.
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

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.beat_on.load(Ordering::Relaxed) {
            self.stop.cancel();
        }
    }
}

fn lose(node: &NodeId, lost: &CancellationToken) {
    if !lost.is_cancelled() {
        lost.cancel();
        log::warn!(%node, "this node was declared dead: it drains, and registers again under a new id");
    }
}

/// Registers this node and starts its heartbeat.
///
/// With a configured `node_id`, first takes the name: while another node holds it, waits once for as long as that claim
/// lasts. Returns the registration; the caller restores what earlier holders left.
pub(crate) async fn register(shared: &Arc<Shared>) -> Result<Arc<Registration>, BuildError> {
    let config = &shared.config;
    let name = config.name().map_or_else(host_name, str::to_owned);
    let node = NodeId::register(&name).map_err(|error| BuildError::Config(error.into()))?;
    if config.name().is_some() {
        claim_name(shared, &node).await?;
    }
    let queues = shared.queues.names();
    let before = shared.clock.instant();
    shared
        .storage
        .register(&node, &queues, config.heartbeat_ttl())
        .await?;
    let registration = Arc::new(Registration {
        node,
        heartbeat: config.heartbeat,
        named: config.name().is_some(),
        health: Arc::new(watch::Sender::new(Health::new(before))),
        lost: CancellationToken::new(),
        stop: CancellationToken::new(),
        beat_on: AtomicBool::new(false),
        unsure: AtomicBool::new(false),
        thread: OnceLock::new(),
    });
    shared.monitor.registered(&registration);
    match &shared.test {
        None => start_heartbeat(shared, &registration)?,
        // Thousands of tests must not need a thread each.
        Some(test) if test.seam.beats() => {
            tokio::spawn(keep_beating(Arc::clone(shared), &registration));
        }
        Some(_) => {}
    }
    log::info!(node = %registration.node, "registered");
    Ok(registration)
}

async fn claim_name(shared: &Shared, node: &NodeId) -> Result<(), BuildError> {
    let ttl = shared.config.heartbeat_ttl();
    let NameClaim::Held { by, ttl: left } = shared.storage.claim_name(node, ttl).await? else {
        return Ok(());
    };
    let until = rfc3339(shared.now() + left + CLAIM_MARGIN);
    log::warn!(name = node.name(), holder = %by, %until, "the node_id is held by another node: waiting until its claim ends");
    shared.clock.sleep(left + CLAIM_MARGIN).await;
    match shared.storage.claim_name(node, ttl).await? {
        NameClaim::Granted => Ok(()),
        NameClaim::Held { by, .. } => Err(BuildError::NameHeld {
            name: node.name().to_owned(),
            holder: by,
        }),
    }
}

pub(crate) fn host_name() -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}

/// Beats from a thread and a connection of its own, so that a worker that blocks the runtime does not make the node look
/// dead. The same thread finds such workers.
fn start_heartbeat(shared: &Arc<Shared>, registration: &Registration) -> Result<(), BuildError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BuildError::Thread)?;
    let beat = keep_beating(Arc::clone(shared), registration);
    let watch = blocked::watch(Arc::clone(shared));
    let beat_and_watch = async move {
        tokio::select! {
            biased;
            () = beat => {}
            () = watch => {}
        }
    };
    let thread = thread::Builder::new()
        .name("verk-heartbeat".to_owned())
        .spawn(move || runtime.block_on(beat_and_watch))
        .map_err(BuildError::Thread)?;
    registration.thread.get_or_init(|| thread);
    Ok(())
}

/// Sends heartbeats until the registration ends or is lost.
fn keep_beating(
    shared: Arc<Shared>,
    registration: &Registration,
) -> impl Future<Output = ()> + Send + use<> {
    let (node, stop, lost) = (
        registration.node.clone(),
        registration.stop.clone(),
        registration.lost.clone(),
    );
    let health = Arc::clone(&registration.health);
    async move {
        let mut heartbeat: Option<Box<dyn Heartbeat>> = None;
        let mut failures = 0;
        loop {
            let sent_at = shared.clock.instant();
            let result = tokio::select! {
                () = stop.cancelled() => return,
                result = guard::catch_future(beat(&shared, &node, &mut heartbeat)) => {
                    result.unwrap_or_else(|_| Err(StorageError::unknown("send a heartbeat", "it panicked")))
                }
            };
            let pause = match result {
                Ok(Beat { alive: false, .. }) => {
                    lose(&node, &lost);
                    return;
                }
                Ok(beat) => {
                    let heartbeat = shared.config.heartbeat;
                    health.send_modify(|health| {
                        health.acknowledge(sent_at, beat.server, failures, heartbeat);
                    });
                    failures = 0;
                    shared.monitor.heartbeat.well();
                    shared.config.heartbeat / 3
                }
                Err(error) => {
                    failures += 1;
                    shared
                        .monitor
                        .heartbeat
                        .failed(&error, shared.clock.instant());
                    heartbeat = None;
                    log::warn!(node = %node, error = %error, "heartbeat failed, trying again");
                    pause_before_retry(failures).min(shared.config.heartbeat / 3)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = shared.clock.sleep(pause) => {}
            }
        }
    }
}

/// Sends one heartbeat.
async fn beat(
    shared: &Shared,
    node: &NodeId,
    heartbeat: &mut Option<Box<dyn Heartbeat>>,
) -> Result<Beat, StorageError> {
    let heartbeat = match heartbeat {
        Some(heartbeat) => heartbeat,
        None => heartbeat.insert(
            shared
                .storage
                .open_heartbeat(node, shared.config.heartbeat_ttl())
                .await?,
        ),
    };
    let asked = Asked::now(&*shared.clock);
    let beat = heartbeat.beat().await?;
    let skewed = shared
        .server_time
        .measure(beat.server_time, asked, &*shared.clock);
    if let Some(here) = skewed {
        shared.events.send(Event::ClockSkewed {
            here,
            storage: beat.server_time,
        });
    }
    Ok(beat)
}

/// Takes this node off the list and ends its heartbeat. While jobs of it are in progress, which then run in this process and do
/// not end, it stays: they are restored once the process has ended.
pub(crate) async fn deregister(shared: &Shared, registration: &Registration) {
    if registration.unsure.load(Ordering::Relaxed) {
        log::warn!(node = %registration.node, "cannot make sure that no job is in progress; the node expires by itself");
        return;
    }
    match shared.storage.deregister(&registration.node).await {
        Ok(true) => log::info!(node = %registration.node, "deregistered"),
        Ok(false) => {
            registration.beat_on.store(true, Ordering::Relaxed);
            log::warn!(node = %registration.node, "jobs are still in progress: the node stays registered for as long as this process lives");
        }
        Err(error) => {
            log::warn!(node = %registration.node, error = %error, "could not deregister; the node expires by itself");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    const HEARTBEAT: Duration = Duration::from_secs(9);

    /// Since which second a node that registered at 0 is well, after beats at these seconds, each with its server and how many failed
    /// before it.
    fn well_since(beats: &[(u64, &str, u32)]) -> u64 {
        let start = SystemClock.instant();
        let mut health = Health::new(start);
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
