//! This node among the others: its name, its registration, its heartbeat, and the jobs that an earlier holder of its name left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    error::{BuildError, StorageError},
    event::Event,
    names::{NodeId, QueueName},
    shared::{Shared, pause_before_retry},
    storage::{
        Heartbeat, Inprogress, MAX_BATCH_JOBS, NameClaim, Node, Page, Settled, Settlement, Target,
    },
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
    /// When the last heartbeat that the storage acknowledged was sent.
    acknowledged: Arc<watch::Sender<Instant>>,
    /// Cancelled when the storage does not know the node any more.
    lost: CancellationToken,
    /// Ends the heartbeat.
    stop: CancellationToken,
    /// Whether the heartbeat goes on for as long as the process lives: jobs that do not end still run.
    beat_on: AtomicBool,
}

impl Registration {
    pub(crate) fn node(&self) -> &NodeId {
        &self.node
    }

    /// Whether the node is known to be alive: no fetch is sent while the last acknowledged heartbeat is older than `heartbeat`.
    pub(crate) fn may_fetch(&self, clock: &dyn Clock) -> bool {
        let age = clock
            .instant()
            .saturating_duration_since(*self.acknowledged.borrow());
        age <= self.heartbeat && !self.lost.is_cancelled()
    }

    /// Waits until an acknowledged heartbeat is young enough to fetch.
    pub(crate) async fn until_fresh(&self, clock: &dyn Clock) {
        let fresh = |sent_at: &Instant| {
            clock.instant().saturating_duration_since(*sent_at) <= self.heartbeat
        };
        // An error says that the sender is gone; it is in `self`.
        let _ = self.acknowledged.subscribe().wait_for(fresh).await;
    }

    /// The storage does not know this node any more.
    pub(crate) fn lose(&self) {
        lose(&self.node, &self.lost);
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
        tracing::warn!(%node, "this node was declared dead: it drains, and registers again under a new id");
        lost.cancel();
    }
}

/// Registers this node and starts its heartbeat.
///
/// With a configured `node_id`, first takes the name: while another node holds it, waits once for as long as that claim
/// lasts. Returns the registration; the caller restores what earlier holders left.
pub(crate) async fn register(shared: &Arc<Shared>) -> Result<Arc<Registration>, BuildError> {
    let config = &shared.config;
    let name = config.node_id.clone().unwrap_or_else(host_name);
    let node = NodeId::register(&name).map_err(|error| BuildError::Config(error.into()))?;
    if config.node_id.is_some() {
        claim_name(shared, &node).await?;
    }
    let queues: Vec<QueueName> = shared.queues.borrow().keys().cloned().collect();
    let before = shared.clock.instant();
    shared
        .storage
        .register(&node, &queues, config.heartbeat_ttl())
        .await?;
    let registration = Arc::new(Registration {
        node,
        heartbeat: config.heartbeat,
        named: config.node_id.is_some(),
        acknowledged: Arc::new(watch::Sender::new(before)),
        lost: CancellationToken::new(),
        stop: CancellationToken::new(),
        beat_on: AtomicBool::new(false),
    });
    // A test's heartbeat outlasts the test: thousands of them must not need a thread each.
    if shared.test.is_none() {
        start_heartbeat(shared, &registration)?;
    }
    tracing::info!(node = %registration.node, "registered");
    Ok(registration)
}

async fn claim_name(shared: &Shared, node: &NodeId) -> Result<(), BuildError> {
    let ttl = shared.config.heartbeat_ttl();
    let NameClaim::Held { by, ttl: left } = shared.storage.claim_name(node, ttl).await? else {
        return Ok(());
    };
    tracing::warn!(name = node.name(), holder = %by, wait = ?left, "the node_id is held by another node: waiting for its claim to end");
    shared.clock.sleep(left + CLAIM_MARGIN).await;
    match shared.storage.claim_name(node, ttl).await? {
        NameClaim::Granted => Ok(()),
        NameClaim::Held { by, .. } => Err(BuildError::NameHeld {
            name: node.name().to_owned(),
            holder: by,
        }),
    }
}

fn host_name() -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}

/// Beats from a thread and a connection of its own, so that a worker that blocks the runtime does not make the node look
/// dead.
fn start_heartbeat(shared: &Arc<Shared>, registration: &Registration) -> Result<(), BuildError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BuildError::Thread)?;
    let shared = Arc::clone(shared);
    let (node, stop, lost) = (
        registration.node.clone(),
        registration.stop.clone(),
        registration.lost.clone(),
    );
    let acknowledged = Arc::clone(&registration.acknowledged);
    let beat = async move {
        let mut heartbeat: Option<Box<dyn Heartbeat>> = None;
        let mut failures = 0;
        loop {
            let sent_at = shared.clock.instant();
            let result = tokio::select! {
                () = stop.cancelled() => return,
                result = beat(&shared, &node, &mut heartbeat) => result,
            };
            let pause = match result {
                Ok(true) => {
                    failures = 0;
                    acknowledged.send_replace(sent_at);
                    shared.config.heartbeat / 3
                }
                Ok(false) => {
                    lose(&node, &lost);
                    return;
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(node = %node, error = &error as &dyn std::error::Error, "heartbeat failed, trying again");
                    heartbeat = None;
                    pause_before_retry(failures).min(shared.config.heartbeat / 3)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = shared.clock.sleep(pause) => {}
            }
        }
    };
    thread::Builder::new()
        .name("verk-heartbeat".to_owned())
        .spawn(move || runtime.block_on(beat))
        .map_err(BuildError::Thread)?;
    Ok(())
}

/// Sends one heartbeat; `false` when the node is gone.
async fn beat(
    shared: &Shared,
    node: &NodeId,
    heartbeat: &mut Option<Box<dyn Heartbeat>>,
) -> Result<bool, StorageError> {
    let heartbeat = match heartbeat {
        Some(heartbeat) => heartbeat,
        None => heartbeat.insert(
            shared
                .storage
                .open_heartbeat(node, shared.config.heartbeat_ttl())
                .await?,
        ),
    };
    let before = shared.clock.now();
    let beat = heartbeat.beat().await?;
    let round_trip = shared
        .clock
        .now()
        .duration_since(before)
        .unwrap_or_default();
    shared
        .offset
        .measure(beat.server_time, before + round_trip / 2);
    Ok(beat.alive)
}

/// Takes this node off the list and ends its heartbeat. While jobs of it are in progress, which then run in this process and do
/// not end, it stays: they are restored once the process has ended.
pub(crate) async fn deregister(shared: &Shared, registration: &Registration) {
    match shared.storage.deregister(&registration.node).await {
        Ok(true) => tracing::info!(node = %registration.node, "deregistered"),
        Ok(false) => {
            registration.beat_on.store(true, Ordering::Relaxed);
            tracing::warn!(node = %registration.node, "jobs are still in progress: the node stays registered for as long as this process lives");
        }
        Err(error) => {
            tracing::warn!(node = %registration.node, error = &error as &dyn std::error::Error, "could not deregister; the node expires by itself");
        }
    }
}

/// Puts back what earlier holders of this node's configured name left in progress, and deregisters them.
///
/// Tries again until all is done, `stop` is cancelled, or only nodes are left that outlive their name: those are not
/// earlier holders, but nodes whose host has that name.
pub(crate) async fn restore_earlier_holders(
    shared: &Shared,
    registration: &Registration,
    stop: &CancellationToken,
) {
    if !registration.named {
        return;
    }
    let alive_until = shared.clock.instant() + shared.config.heartbeat_ttl();
    let mut tries = 0;
    while !stop.is_cancelled() {
        match try_restore(shared, registration).await {
            Ok(Restored::All) => return,
            Ok(Restored::AllButLiving) if shared.clock.instant() > alive_until => return,
            Ok(Restored::AllButLiving | Restored::Some) => {}
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot restore the jobs of an earlier holder of this node_id, trying again"
                );
            }
        }
        tries += 1;
        tokio::select! {
            () = stop.cancelled() => {}
            () = shared.clock.sleep(pause_before_retry(tries)) => {}
        }
    }
}

enum Restored {
    All,
    AllButLiving,
    Some,
}

async fn try_restore(
    shared: &Shared,
    registration: &Registration,
) -> Result<Restored, StorageError> {
    let name = registration.node.name();
    let earlier = |node: &Node| {
        node.id != registration.node && node.id.name() == name && node.id.as_str() != name
    };
    let mut result = Restored::All;
    for node in shared.storage.nodes().await?.into_iter().filter(earlier) {
        if node.alive {
            if matches!(result, Restored::All) {
                result = Restored::AllButLiving;
            }
            continue;
        }
        let mut restored = 0;
        for queue in node.queues {
            let inprogress = Inprogress {
                queue,
                node: node.id.clone(),
            };
            restored += restore(shared, &inprogress).await?;
        }
        if restored > 0 {
            tracing::warn!(node = %node.id, restored, "restored the jobs of an earlier holder of this node_id");
            shared.events.send(Event::JobsRestored {
                node: node.id.clone(),
                count: restored,
            });
        }
        if !shared.storage.deregister(&node.id).await? {
            result = Restored::Some;
        }
    }
    Ok(result)
}

/// Moves what is in `inprogress` to the front of its queue, in order, the most recently fetched first, so that the oldest ends up in front.
async fn restore(shared: &Shared, inprogress: &Inprogress) -> Result<usize, StorageError> {
    let mut restored = 0;
    let mut stuck = 0;
    loop {
        let page = Page {
            offset: stuck,
            limit: MAX_BATCH_JOBS,
        };
        let mut jobs = shared.storage.inprogress(inprogress, page).await?;
        if jobs.is_empty() {
            return Ok(restored);
        }
        jobs.reverse();
        let settlements: Vec<_> = jobs
            .into_iter()
            .map(|held| Settlement {
                held,
                to: Target::Requeue,
            })
            .collect();
        for result in shared.storage.restore(inprogress, &settlements).await {
            match result {
                Settled::Done | Settled::Merged => restored += 1,
                Settled::NotHeld => stuck += 1,
                Settled::Failed(error) => return Err(error),
            }
        }
    }
}
