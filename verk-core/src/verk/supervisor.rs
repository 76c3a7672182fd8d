//! Starts, watches and stops the managers.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    events::event::EventKind,
    log,
    names::NodeId,
    node::{
        about::Program, foreign, heartbeat::deregister, registration::Registration,
        watch::NodeWatch,
    },
    process::manager::ProcessManager,
    queues::{handle::ManagerGuard, pauses::PauseManager, strays::StrayManager},
    runner::{
        QueueManager,
        stop::{Ends, Stop},
    },
    schedule::ScheduleManager,
    services::Services,
    stats::{counters::Counters, reporter::StatsManager},
    time::backoff::pause_before_retry,
    verk::{
        lives::{self, Life, Others},
        parts::{CellParts, Parts},
        restart::Restarts,
        startup,
    },
};

/// How long Sidekiq Web's entry of this process may take to go after the node has ended.
const SIGN_OFF: Duration = Duration::from_secs(2);

/// Runs a node until `stop` is cancelled and its jobs have ended or were handed back, in each cell.
pub(crate) async fn supervise(
    parts: Parts,
    first: Vec<Arc<Registration>>,
    stop: CancellationToken,
) {
    let Parts { essentials, .. } = &parts;
    let name_of_process = first[essentials.cells.of_name(first[0].node().name())].node();
    let ended = CancellationToken::new();
    let process = TaskTracker::new();
    let services = &parts.first().services;
    if essentials.config.process_registry && services.test.is_none() {
        process.spawn(keep_running(
            ProcessManager::new(
                Arc::clone(essentials),
                parts.queues.clone(),
                name_of_process,
                stop.clone(),
                ended.clone(),
            ),
            ("process", "what shows this process to Sidekiq Web"),
            Arc::clone(services),
            |manager| Box::pin(manager.run()),
        ));
    }
    let strays = TaskTracker::new();
    if parts.cells.len() > 1 {
        strays.spawn(keep_running(
            StrayManager::new(Arc::clone(essentials), parts.queues.clone(), stop.clone()),
            (
                "strays",
                "what runs jobs in other cells than that of their queue",
            ),
            Arc::clone(services),
            |manager| Box::pin(manager.run()),
        ));
    }
    let mut cells = JoinSet::new();
    for (cell, registration) in parts.cells.iter().zip(&first) {
        let (cell, registration) = (cell.clone(), Arc::clone(registration));
        let (of_process, stop) = (name_of_process.clone(), stop.clone());
        cells.spawn(supervise_cell(cell, registration, of_process, stop));
    }
    while cells.join_next().await.is_some() {}
    strays.close();
    strays.wait().await;
    ended.cancel();
    process.close();
    let signed_off = essentials.clock.timeout(SIGN_OFF, process.wait());
    if signed_off.await.is_none() {
        log::warn!(
            "the storage does not answer: Sidekiq Web shows this process for another minute"
        );
    }
}

/// Runs a node in one cell until `stop` is cancelled and its jobs there have ended or were handed
/// back.
///
/// When the storage declares the node dead, its jobs run to their ends under the old id, and the
/// node continues under a new one. `of_process` is the id after which its process is named.
async fn supervise_cell(
    parts: CellParts,
    first: Arc<Registration>,
    of_process: NodeId,
    stop: CancellationToken,
) {
    let CellParts {
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

    let program = parts.program().registered_as(&of_process);
    let lost = |registration: Arc<Registration>| {
        let (parts, program, stop) = (&parts, &program, &stop);
        async move {
            let node = registration.node().clone();
            tell(&parts.services, EventKind::NodeLost { node });
            register_again(parts, program, stop).await
        }
    };
    lives::run(
        first,
        &stop,
        (&*services.clock, services.config.shutdown_timeout),
        |life| live(parts.clone(), life),
        lost,
    )
    .await;
    pauses.close();
    pauses.wait().await;
}

/// The life of one node id: its queues run until it is stopped, then it stores its last statistics
/// and deregisters.
async fn live(parts: CellParts, life: Life) {
    let Life {
        registration,
        earlier,
        ends,
    } = life;
    let services = &parts.services;
    let others = Others::default();
    others.parts.spawn(keep_running(
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
    others.parts.spawn(keep_running(
        ScheduleManager::new(
            Arc::clone(services),
            registration.node().clone(),
            Arc::clone(&parts.declared),
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
    others.stats.spawn(run_stats(
        StatsManager::new(
            Arc::clone(services),
            registration.node().clone(),
            Arc::clone(&counters),
            others.counted.clone(),
        ),
        Arc::clone(services),
    ));
    let manager = |guard| {
        run_queue(
            parts.clone(),
            Arc::clone(&registration),
            guard,
            Arc::clone(&counters),
            ends.clone(),
        )
    };
    lives::run_queues(&parts.queues, registration.node(), &ends.drain, manager).await;
    let deregister = deregister(services, &registration);
    if !others.end(deregister, &*services.clock).await {
        log::warn!(node = %registration.node(), "the storage does not answer: leaving without signing off");
    }
}

/// Publishes what happened to a node id of this process.
fn tell(services: &Services, what: EventKind) {
    services.publish(what);
}

async fn register_again(
    parts: &CellParts,
    program: &Program,
    stop: &CancellationToken,
) -> Option<Arc<Registration>> {
    let services = &parts.services;
    let mut failures = 0;
    loop {
        let result = tokio::select! {
            () = stop.cancelled() => return None,
            result = parts.register(program) => result,
        };
        match result {
            Ok(registration) => {
                let node = registration.node().clone();
                tell(services, EventKind::NodeRegistered { node });
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
    parts: CellParts,
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
    manager: M,
    (part, what): (&'static str, &'static str),
    services: Arc<Services>,
    run: impl for<'a> Fn(&'a mut M) -> BoxFuture<'a, ()>,
) {
    let restart = |_: &mut M| {
        log::error!("{what} panicked: restarting it");
        ControlFlow::Continue(())
    };
    let restarts = Restarts::of(&services);
    restarts.keep_running(part, manager, run, restart).await;
}

/// Runs a queue manager, and restarts it if it panics. It then starts by reading what the node
/// holds.
async fn run_manager(manager: QueueManager, services: &Services) {
    let part = format!("queue {}", manager.queue());
    let restart = |manager: &mut QueueManager| {
        manager.recover();
        log::error!(queue = %manager.queue(), "a queue manager panicked: restarting it");
        ControlFlow::Continue(())
    };
    let restarts = Restarts::of(services);
    restarts
        .keep_running(&part, manager, |manager| Box::pin(manager.run()), restart)
        .await;
}

/// Runs the keeper of the statistics, again if it panics before its end.
async fn run_stats(manager: StatsManager, services: Arc<Services>) {
    let restart = |manager: &mut StatsManager| {
        if manager.is_stopping() {
            log::error!("the keeper of the statistics panicked: the last ones may be missing");
            return ControlFlow::Break(());
        }
        log::error!("the keeper of the statistics panicked: restarting it");
        ControlFlow::Continue(())
    };
    let restarts = Restarts::of(&services);
    restarts
        .keep_running("stats", manager, |manager| Box::pin(manager.run()), restart)
        .await;
}
