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
    /// When the storage last acknowledged a heartbeat.
    acknowledged: watch::Sender<Instant>,
    /// Cancelled when the storage does not know the node any more.
    lost: CancellationToken,
    /// Ends the heartbeat.
    stop: CancellationToken,
    named: AtomicBool,
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

    /// Waits for the next acknowledged heartbeat.
    pub(crate) async fn changed(&self) {
        // An error says that the sender is gone; it is in `self`.
        let _ = self.acknowledged.subscribe().changed().await;
    }

    /// The storage does not know this node any more.
    pub(crate) fn lose(&self) {
        if !self.lost.is_cancelled() {
            tracing::warn!(node = %self.node, "this node was declared dead: it drains, and registers again under a new id");
            self.lost.cancel();
        }
    }

    /// Waits until the storage does not know this node any more.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Registers this node and starts its heartbeat.
///
/// With a configured `node_id`, first takes the name: while another node holds it, waits once for as long as that claim
/// lasts. Returns the registration; the caller restores what earlier holders left.
pub(crate) async fn register(shared: &Arc<Shared>) -> Result<Arc<Registration>, BuildError> {
    let config = &shared.config;
    let name = config.node_id.clone().unwrap_or_else(host_name);
    let node = NodeId::register(&name).map_err(|error| BuildError::Config(vec![error.into()]))?;
    if config.node_id.is_some() {
        claim_name(shared, &node).await?;
    }
    let queues: Vec<QueueName> = config.queues.keys().cloned().collect();
    let before = shared.clock.instant();
    shared
        .storage
        .register(&node, &queues, config.heartbeat_ttl())
        .await?;
    let registration = Arc::new(Registration {
        node,
        heartbeat: config.heartbeat,
        acknowledged: watch::Sender::new(before),
        lost: CancellationToken::new(),
        stop: CancellationToken::new(),
        named: AtomicBool::new(config.node_id.is_some()),
    });
    start_heartbeat(shared, &registration)?;
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
fn start_heartbeat(
    shared: &Arc<Shared>,
    registration: &Arc<Registration>,
) -> Result<(), BuildError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BuildError::Thread)?;
    let shared = Arc::clone(shared);
    let weak = Arc::downgrade(registration);
    let (node, stop) = (registration.node.clone(), registration.stop.clone());
    let beat = async move {
        let mut heartbeat: Option<Box<dyn Heartbeat>> = None;
        let mut failures = 0;
        loop {
            let sent_at = shared.clock.instant();
            let result = tokio::select! {
                () = stop.cancelled() => return,
                result = beat(&shared, &node, &mut heartbeat) => result,
            };
            let Some(registration) = weak.upgrade() else {
                return;
            };
            let pause = match result {
                Ok(true) => {
                    failures = 0;
                    registration.acknowledged.send_replace(sent_at);
                    shared.config.heartbeat / 3
                }
                Ok(false) => {
                    registration.lose();
                    return;
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(node = %node, error = &error as &dyn std::error::Error, "heartbeat failed, trying again");
                    heartbeat = None;
                    pause_before_retry(failures).min(shared.config.heartbeat / 3)
                }
            };
            drop(registration);
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

/// Takes this node off the list, if nothing of it is in progress, and ends its heartbeat.
pub(crate) async fn deregister(shared: &Shared, registration: &Registration) {
    match shared.storage.deregister(&registration.node).await {
        Ok(true) => tracing::info!(node = %registration.node, "deregistered"),
        Ok(false) => {
            tracing::warn!(node = %registration.node, "jobs are still in progress: the node stays registered, so that they are restored")
        }
        Err(error) => {
            tracing::warn!(node = %registration.node, error = &error as &dyn std::error::Error, "could not deregister; the node expires by itself")
        }
    }
    registration.stop.cancel();
}

/// Puts back what earlier holders of this node's configured name left in progress, and deregisters them.
///
/// Tries again until all is done or `stop` is cancelled.
pub(crate) async fn restore_earlier_holders(
    shared: &Shared,
    registration: &Registration,
    stop: &CancellationToken,
) {
    if !registration.named.load(Ordering::Relaxed) {
        return;
    }
    let mut failures = 0;
    while !stop.is_cancelled() {
        let pause = match try_restore(shared, registration).await {
            Ok(true) => return,
            // A heartbeat ends a moment after the name did, or a list did not take a job back.
            Ok(false) => CLAIM_MARGIN,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot restore the jobs of an earlier holder of this node_id, trying again"
                );
                Duration::ZERO
            }
        };
        failures += 1;
        tokio::select! {
            () = stop.cancelled() => {}
            () = shared.clock.sleep(pause.max(pause_before_retry(failures))) => {}
        }
    }
}

/// Whether nothing is left to restore.
async fn try_restore(shared: &Shared, registration: &Registration) -> Result<bool, StorageError> {
    let name = registration.node.name();
    let earlier = |node: &Node| {
        node.id != registration.node && node.id.name() == name && node.id.as_str() != name
    };
    let mut done = true;
    for node in shared.storage.nodes().await?.into_iter().filter(earlier) {
        if node.alive {
            done = false;
            continue;
        }
        let mut restored = 0;
        for queue in node.queues {
            restored += restore(
                shared,
                &Inprogress {
                    queue,
                    node: node.id.clone(),
                },
            )
            .await?;
        }
        if restored > 0 {
            tracing::warn!(node = %node.id, restored, "restored the jobs of an earlier holder of this node_id");
            shared.events.send(Event::JobsRestored {
                node: node.id.clone(),
                count: restored,
            });
        }
        done &= shared.storage.deregister(&node.id).await?;
    }
    Ok(done)
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
