//! Starts, watches and stops the managers.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    events::event::{Event, EventKind},
    guard, log,
    node::{
        foreign,
        heartbeat::{deregister, register},
        registration::Registration,
        watch::NodeWatch,
    },
    process::manager::ProcessManager,
    queues::{blocked, handle::ManagerGuard, pauses::PauseManager},
    runner::{
        QueueManager,
        stop::{Ends, Stop},
    },
    schedule::ScheduleManager,
    services::Services,
    stats::{counters::Counters, reporter::StatsManager},
    time::backoff::pause_before_retry,
    verk::{parts::Parts, startup},
};

/// The name of the keeper of the statistics in the health of the node.
const STATS: &str = "stats";

/// How long the node may take to deregister after its jobs have ended.
const SIGN_OFF: Duration = Duration::from_secs(2);

/// Runs a node until `stop` is cancelled and its jobs have ended or were handed back.
///
/// When the storage declares the node dead, its jobs run to their ends under the old id, and the
/// node continues under a new one.
pub(crate) async fn supervise(parts: Parts, first: Arc<Registration>, stop: CancellationToken) {
    let Parts {
        services, queues, ..
    } = &parts;
    let pauses = TaskTracker::new();
    pauses.spawn(keep_running(
        PauseManager::new(Arc::clone(services), Arc::clone(queues), stop.clone()),
        ("pauses", "the pause manager"),
        Arc::clone(services),
        |manager| Box::pin(manager.run()),
    ));
    pauses.spawn({
        let (parts, stop) = (parts.clone(), stop.clone());
        async move {
            startup::warn(&parts, &stop).await;
            foreign::warn(&parts.services, &stop).await;
        }
    });

    let ended = CancellationToken::new();
    let process = TaskTracker::new();
    if services.config.process_registry && services.test.is_none() {
        process.spawn(keep_running(
            ProcessManager::new(
                Arc::clone(services),
                Arc::clone(queues),
                first.node(),
                stop.clone(),
                ended.clone(),
            ),
            ("process", "what shows this process to Sidekiq Web"),
            Arc::clone(services),
            |manager| Box::pin(manager.run()),
        ));
    }

    let running = CancellationToken::new();
    let lives = TaskTracker::new();
    let mut registration = Some(first);
    let mut earlier = Vec::new();
    while let Some(current) = registration.take() {
        let ends = Ends {
            drain: stop.child_token(),
            cancel: running.clone(),
        };
        let life = live(
            parts.clone(),
            Arc::clone(&current),
            earlier.clone(),
            ends.clone(),
        );
        lives.spawn(life);
        earlier.push(Arc::downgrade(&current));
        tokio::select! {
            () = stop.cancelled() => {}
            () = current.lost() => {
                ends.drain.cancel();
                let node = current.node().clone();
                services.events.send(Event {
                    at: services.now(),
                    queue: None,
                    job: None,
                    what: EventKind::NodeLost { node },
                });
                registration = register_again(&parts, &stop).await;
            }
        }
    }

    lives.close();
    pauses.close();
    if services
        .clock
        .timeout(services.config.shutdown_timeout, lives.wait())
        .await
        .is_none()
    {
        running.cancel();
        log::warn!(
            timeout_s = services.config.shutdown_timeout.as_secs_f64(),
            "jobs are still running: handing them back"
        );
        lives.wait().await;
    }
    pauses.wait().await;
    ended.cancel();
    process.close();
    if services
        .clock
        .timeout(SIGN_OFF, process.wait())
        .await
        .is_none()
    {
        log::warn!(
            "the storage does not answer: Sidekiq Web shows this process for another minute"
        );
    }
}

/// The life of one node id: its queues run until it is stopped, then it stores its last statistics
/// and deregisters.
async fn live(
    parts: Parts,
    registration: Arc<Registration>,
    earlier: Vec<Weak<Registration>>,
    ends: Ends,
) {
    let services = &parts.services;
    let others = TaskTracker::new();
    others.spawn(keep_running(
        NodeWatch::new(
            Arc::clone(services),
            Arc::clone(&registration),
            earlier,
            ends.drain.clone(),
        ),
        ("watch", "the watch over the other nodes"),
        Arc::clone(services),
        |watch| Box::pin(watch.run()),
    ));
    others.spawn(keep_running(
        ScheduleManager::new(
            Arc::clone(services),
            registration.node().clone(),
            ends.drain.clone(),
        ),
        ("schedule", "the schedule manager"),
        Arc::clone(services),
        |manager| Box::pin(manager.run()),
    ));
    let counters = Arc::new(Counters::new(
        services.config.execution_metrics,
        Arc::clone(&parts.live),
    ));
    let counted = CancellationToken::new();
    let stats = TaskTracker::new();
    stats.spawn(run_stats(
        StatsManager::new(
            Arc::clone(services),
            registration.node().clone(),
            Arc::clone(&counters),
            counted.clone(),
        ),
        Arc::clone(services),
    ));
    let mut queues = parts.queues.subscribe();
    let mut managers = JoinSet::new();
    loop {
        queues.mark_unchanged();
        for guard in parts.queues.register_managers(registration.node()) {
            managers.spawn(run_queue(
                parts.clone(),
                Arc::clone(&registration),
                guard,
                Arc::clone(&counters),
                ends.clone(),
            ));
        }
        tokio::select! {
            () = ends.drain.cancelled() => break,
            // An error means that the sender was dropped; it is in `Queues`.
            _ = queues.changed() => {}
            // Its queue was removed, and may have been added again.
            Some(_) = managers.join_next() => {}
        }
    }
    while managers.join_next().await.is_some() {}
    others.close();
    others.wait().await;
    counted.cancel();
    stats.close();
    stats.wait().await;
    if services
        .clock
        .timeout(SIGN_OFF, deregister(services, &registration))
        .await
        .is_none()
    {
        log::warn!(node = %registration.node(), "the storage does not answer: leaving without signing off");
    }
}

async fn register_again(parts: &Parts, stop: &CancellationToken) -> Option<Arc<Registration>> {
    let Parts {
        services, queues, ..
    } = parts;
    let mut failures = 0;
    loop {
        let names = queues.names();
        let result = tokio::select! {
            () = stop.cancelled() => return None,
            result = register(services, &names, blocked::watch(Arc::clone(queues))) => result,
        };
        match result {
            Ok(registration) => {
                let node = registration.node().clone();
                services.events.send(Event {
                    at: services.now(),
                    queue: None,
                    job: None,
                    what: EventKind::NodeRegistered { node },
                });
                return Some(registration);
            }
            Err(error) => {
                failures += 1;
                log::error!(
                    error = %error,
                    "cannot register again, trying again"
                );
                tokio::select! {
                    () = stop.cancelled() => return None,
                    () = services.clock.sleep(pause_before_retry(failures)) => {}
                }
            }
        }
    }
}

/// Runs the manager of a queue until the node stops or the queue is removed.
async fn run_queue(
    parts: Parts,
    registration: Arc<Registration>,
    guard: ManagerGuard,
    counters: Arc<Counters>,
    node: Ends,
) {
    let stop = Stop {
        queue: node.of_part(),
        node,
    };
    let services = parts.services;
    let handle = Arc::clone(&guard.handle);
    let manager = QueueManager::new(
        parts.workforce,
        &parts.queues,
        registration,
        Arc::clone(&handle),
        &counters,
        stop.clone(),
    );
    let removed = async {
        handle.removed().await;
        stop.queue.drain.cancel();
        services.clock.sleep(services.config.shutdown_timeout).await;
        stop.queue.cancel.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = removed => {}
        () = run_manager(manager, &services) => {}
    }
}

/// Runs a manager to its end, again if it panics. `what` is its name in the log, `part` in the
/// health of the node.
async fn keep_running<M>(
    mut manager: M,
    (part, what): (&'static str, &'static str),
    services: Arc<Services>,
    run: impl for<'a> Fn(&'a mut M) -> BoxFuture<'a, ()>,
) {
    while panics(run(&mut manager)).await {
        let pause = pause_after_panic(part, &services);
        log::error!("{what} panicked: restarting it");
        pause.await;
    }
}

/// Runs a queue manager, and restarts it if it panics. It then starts by reading what the node
/// holds.
async fn run_manager(mut manager: QueueManager, services: &Services) {
    let part = format!("queue {}", manager.queue());
    while panics(manager.run()).await {
        manager.recover();
        let pause = pause_after_panic(&part, services);
        log::error!(queue = %manager.queue(), "a queue manager panicked: restarting it");
        pause.await;
    }
}

/// Runs the keeper of the statistics, again if it panics before its end.
async fn run_stats(mut manager: StatsManager, services: Arc<Services>) {
    while panics(manager.run()).await {
        if manager.is_stopping() {
            services.monitor.panicked(STATS, services.clock.instant());
            log::error!("the keeper of the statistics panicked: the last ones may be missing");
            return;
        }
        let pause = pause_after_panic(STATS, &services);
        log::error!("the keeper of the statistics panicked: restarting it");
        pause.await;
    }
}

/// Whether the run of a manager panics instead of ending.
async fn panics(run: impl Future<Output = ()>) -> bool {
    guard::catch_future(run).await.is_err()
}

/// Records that a part panicked. Returns the pause before it is restarted.
fn pause_after_panic<'a>(part: &str, services: &'a Services) -> impl Future<Output = ()> + use<'a> {
    let panics = services.monitor.panicked(part, services.clock.instant());
    services.clock.sleep(pause_before_retry(panics))
}
