//! This node among the others: its name, its registration and its heartbeat.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use tokio::runtime;

use crate::{
    error::{BuildError, StorageError},
    events::event::Event,
    guard, log,
    names::NodeId,
    node::registration::{Registration, lose},
    shared::Shared,
    storage::{Beat, Heartbeat, NameClaim},
    time::{backoff::pause_before_retry, clock::rfc3339, server_time::Asked},
};

/// How much later than its time to live a name is asked for again.
const CLAIM_MARGIN: Duration = Duration::from_millis(50);

/// Registers this node and starts its heartbeat.
///
/// With a configured `node_id`, first takes the name: while another node holds it, waits once for as long as that claim
/// lasts. Returns the registration; the caller restores what earlier holders left.
///
/// `watch` runs on the thread of the heartbeat, which no job can keep.
pub(crate) async fn register(
    shared: &Arc<Shared>,
    watch: impl Future<Output = ()> + Send + 'static,
) -> Result<Arc<Registration>, BuildError> {
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
    let named = config.name().is_some();
    let registration = Registration::new(node, config.heartbeat, named, before);
    let registration = Arc::new(registration);
    let registered = Arc::<Registration>::downgrade(&registration);
    shared.monitor.registered(registered);
    match &shared.test {
        None => start_heartbeat(shared, &registration, watch)?,
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
/// dead. `watch` finds such workers.
fn start_heartbeat(
    shared: &Arc<Shared>,
    registration: &Registration,
    watch: impl Future<Output = ()> + Send + 'static,
) -> Result<(), BuildError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BuildError::Thread)?;
    let beat = keep_beating(Arc::clone(shared), registration);
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
