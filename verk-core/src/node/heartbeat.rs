//! This node among the others: its name, its registration and its heartbeat.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{
    error::{BuildError, StorageError},
    events::event::{Event, EventKind},
    guard, log,
    names::{NodeId, QueueName},
    node::{
        about::Program,
        beats::HeartbeatThread,
        registration::{Registration, lose},
    },
    services::Services,
    storage::{Beat, Heartbeat, NameClaim},
    time::{backoff::pause_before_retry, clock::rfc3339, server_time::ClockReading},
};

/// How much later than its time to live the node tries to take a name again.
const CLAIM_MARGIN: Duration = Duration::from_millis(50);

/// Registers this node, which runs `queues`, and starts its heartbeat.
///
/// With a configured `node_id`, first takes the name: while another node holds it, waits once for
/// as long as that claim lasts. Returns the registration; the caller restores what earlier holders
/// left.
///
/// `program` says what the node stores about itself. `watch` runs on the `thread` of the heartbeat,
/// which no job can block.
pub(crate) async fn register(
    services: &Arc<Services>,
    program: &Program,
    queues: &[QueueName],
    thread: &HeartbeatThread,
    watch: impl Future<Output = ()> + Send + 'static,
) -> Result<Arc<Registration>, BuildError> {
    let config = &services.config;
    let name = config.name().map_or_else(host_name, str::to_owned);
    let node = NodeId::register(&name).map_err(|error| BuildError::Config(error.into()))?;
    if config.name().is_some() {
        claim_name(services, &node).await?;
    }
    let before = services.clock.instant();
    let info = program.info(&node, services.now());
    services
        .storage
        .register(&node, queues, config.heartbeat_ttl(), &info)
        .await?;
    let named = config.name().is_some();
    let registration = Registration::new(node, config.heartbeat, named, before);
    let registration = Arc::new(registration);
    let registered = Arc::<Registration>::downgrade(&registration);
    services.monitor.registered(registered);
    match &services.test {
        None => start_heartbeat(services, &registration, thread, watch)?,
        // Thousands of tests must not need one thread each.
        Some(test) if test.seam.beats() => {
            tokio::spawn(keep_beating(Arc::clone(services), &registration));
        }
        Some(_) => {}
    }
    log::info!(node = %registration.node, "registered");
    Ok(registration)
}

async fn claim_name(services: &Services, node: &NodeId) -> Result<(), BuildError> {
    let ttl = services.config.heartbeat_ttl();
    let NameClaim::Held { by, ttl: left } = services.storage.claim_name(node, ttl).await? else {
        return Ok(());
    };
    let until = rfc3339(services.now() + left + CLAIM_MARGIN);
    log::warn!(name = node.name(), holder = %by, %until, "the node_id is held by another node: waiting until its claim ends");
    services.clock.sleep(left + CLAIM_MARGIN).await;
    match services.storage.claim_name(node, ttl).await? {
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

/// Beats from a thread and connections of its own, so that a worker that blocks the runtime does
/// not make the node look dead. `watch` finds such workers.
fn start_heartbeat(
    services: &Arc<Services>,
    registration: &Registration,
    thread: &HeartbeatThread,
    watch: impl Future<Output = ()> + Send + 'static,
) -> Result<(), BuildError> {
    let beat = keep_beating(Arc::clone(services), registration);
    let beat_and_watch = async move {
        tokio::select! {
            biased;
            () = beat => {}
            () = watch => {}
        }
    };
    let beats = thread.spawn(beat_and_watch);
    let beats = beats.map_err(BuildError::Thread)?;
    registration.beats.get_or_init(|| beats);
    Ok(())
}

/// Sends heartbeats until the registration ends or is lost.
fn keep_beating(
    services: Arc<Services>,
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
            let sent_at = services.clock.instant();
            let result = tokio::select! {
                () = stop.cancelled() => return,
                result = guard::catch_future(beat(&services, &node, &mut heartbeat)) => {
                    result.unwrap_or_else(|_| Err(StorageError::unknown("send a heartbeat", "it panicked")))
                }
            };
            let pause = match result {
                Ok(Beat { alive: false, .. }) => {
                    lose(&node, &lost);
                    return;
                }
                Ok(beat) => {
                    let heartbeat = services.config.heartbeat;
                    health.send_modify(|health| {
                        health.acknowledge(sent_at, beat.server.clone(), failures, heartbeat);
                    });
                    services.last_beat.set(sent_at, beat);
                    failures = 0;
                    services.monitor.heartbeat.well();
                    services.config.heartbeat / 3
                }
                Err(error) => {
                    failures += 1;
                    services
                        .monitor
                        .heartbeat
                        .failed(&error, services.clock.instant());
                    heartbeat = None;
                    log::warn!(node = %node, error = %error, "heartbeat failed, trying again");
                    pause_before_retry(failures).min(services.config.heartbeat / 3)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = services.clock.sleep(pause) => {}
            }
        }
    }
}

/// Sends one heartbeat.
async fn beat(
    services: &Services,
    node: &NodeId,
    heartbeat: &mut Option<Box<dyn Heartbeat>>,
) -> Result<Beat, StorageError> {
    let heartbeat = match heartbeat {
        Some(heartbeat) => heartbeat,
        None => heartbeat.insert(
            services
                .storage
                .open_heartbeat(node, services.config.heartbeat_ttl())
                .await?,
        ),
    };
    let asked = ClockReading::now(&*services.clock);
    let beat = heartbeat.beat().await?;
    if let Some(here) = services.server_time.measure(beat.server_time, asked) {
        services.events.send(Event {
            at: beat.server_time,
            queue: None,
            job: None,
            what: EventKind::ClockSkewed { here },
        });
    }
    Ok(beat)
}

/// Deregisters this node and ends its heartbeat. If jobs of it are still in progress, because they
/// run in this process and do not end, the node stays registered: they are restored once the
/// process has ended.
pub(crate) async fn deregister(services: &Services, registration: &Registration) {
    if registration.unsure.load(Ordering::Relaxed) {
        log::warn!(node = %registration.node, "cannot make sure that no job is in progress; the node expires by itself");
        return;
    }
    match services.storage.deregister(&registration.node).await {
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
