//! Starts, watches and stops the managers.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    event::Event,
    foreign,
    node_manager::{Registration, deregister, register},
    node_watch::NodeWatch,
    pause_manager::PauseManager,
    process_manager::ProcessManager,
    queue_manager::{QueueManager, Stop},
    queue_stats::{Counters, StatsManager},
    queues::Taken,
    schedule_manager::ScheduleManager,
    shared::{Shared, pause_before_retry},
};

/// How long the node may take to sign off once its jobs have ended.
const SIGN_OFF: Duration = Duration::from_secs(2);

/// Runs a node until `stop` is cancelled and its jobs have ended or were handed back.
///
/// When the storage declares the node dead, its jobs run to their ends under the old id, while it goes on under a new
/// one.
pub(crate) async fn supervise(
    shared: Arc<Shared>,
    first: Arc<Registration>,
    stop: CancellationToken,
) {
    let pauses = TaskTracker::new();
    pauses.spawn(run_pauses(
        PauseManager::new(Arc::clone(&shared), stop.clone()),
        Arc::clone(&shared),
    ));
    pauses.spawn({
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        async move { foreign::warn(&shared, &stop).await }
    });

    let ended = CancellationToken::new();
    let process = TaskTracker::new();
    if shared.config.process_registry && shared.test.is_none() {
        process.spawn(run_process(
            ProcessManager::new(
                Arc::clone(&shared),
                first.node(),
                stop.clone(),
                ended.clone(),
            ),
            Arc::clone(&shared),
        ));
    }

    let running = CancellationToken::new();
    let lives = TaskTracker::new();
    let mut registration = Some(first);
    let mut earlier = Vec::new();
    while let Some(current) = registration.take() {
        let ends = stop.child_token();
        let stop_life = Stop {
            fetching: ends.clone(),
            running: running.clone(),
            signing_off: ends,
            leaving: running.clone(),
        };
        let life = live(
            Arc::clone(&shared),
            Arc::clone(&current),
            earlier.clone(),
            stop_life.clone(),
        );
        lives.spawn(life);
        earlier.push(Arc::downgrade(&current));
        tokio::select! {
            () = stop.cancelled() => {}
            () = current.lost() => {
                stop_life.fetching.cancel();
                let node = current.node().clone();
                shared.events.send(Event::NodeLost { node, at: shared.now() });
                registration = register_again(&shared, &stop).await;
            }
        }
    }

    lives.close();
    pauses.close();
    if shared
        .clock
        .timeout(shared.config.shutdown_timeout, lives.wait())
        .await
        .is_none()
    {
        tracing::warn!(timeout = ?shared.config.shutdown_timeout, "jobs are still running: handing them back");
        running.cancel();
        lives.wait().await;
    }
    pauses.wait().await;
    ended.cancel();
    process.close();
    if shared
        .clock
        .timeout(SIGN_OFF, process.wait())
        .await
        .is_none()
    {
        tracing::warn!(
            "the storage does not answer: Sidekiq Web shows this process for another minute"
        );
    }
}

/// The life of one node id: its queues run until it is told to stop, then it stores its last statistics and signs off.
async fn live(
    shared: Arc<Shared>,
    registration: Arc<Registration>,
    earlier: Vec<Weak<Registration>>,
    stop: Stop,
) {
    let others = TaskTracker::new();
    others.spawn(run_watch(
        NodeWatch::new(
            Arc::clone(&shared),
            Arc::clone(&registration),
            earlier,
            stop.fetching.clone(),
        ),
        Arc::clone(&shared),
    ));
    others.spawn(run_schedule(
        ScheduleManager::new(
            Arc::clone(&shared),
            registration.node().clone(),
            stop.fetching.clone(),
        ),
        Arc::clone(&shared),
    ));
    let counters = Arc::new(Counters::new(shared.config.execution_metrics));
    let counted = CancellationToken::new();
    let stats = TaskTracker::new();
    stats.spawn(run_stats(
        StatsManager::new(
            Arc::clone(&shared),
            registration.node().clone(),
            Arc::clone(&counters),
            counted.clone(),
        ),
        Arc::clone(&shared),
    ));
    let mut queues = shared.queues.subscribe();
    let mut managers = JoinSet::new();
    loop {
        queues.mark_unchanged();
        for taken in shared.queues.take_seats(registration.node()) {
            managers.spawn(run_queue(
                Arc::clone(&shared),
                Arc::clone(&registration),
                taken,
                Arc::clone(&counters),
                stop.clone(),
            ));
        }
        tokio::select! {
            () = stop.fetching.cancelled() => break,
            // An error says that the sender is gone; it is in `shared`.
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
    if shared
        .clock
        .timeout(SIGN_OFF, deregister(&shared, &registration))
        .await
        .is_none()
    {
        tracing::warn!(node = %registration.node(), "the storage does not answer: leaving without signing off");
    }
}

async fn register_again(
    shared: &Arc<Shared>,
    stop: &CancellationToken,
) -> Option<Arc<Registration>> {
    let mut failures = 0;
    loop {
        let result = tokio::select! {
            () = stop.cancelled() => return None,
            result = register(shared) => result,
        };
        match result {
            Ok(registration) => {
                let node = registration.node().clone();
                shared.events.send(Event::NodeRegistered {
                    node,
                    at: shared.now(),
                });
                return Some(registration);
            }
            Err(error) => {
                failures += 1;
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot register again, trying again"
                );
                tokio::select! {
                    () = stop.cancelled() => return None,
                    () = shared.clock.sleep(pause_before_retry(failures)) => {}
                }
            }
        }
    }
}

/// Runs the manager of a queue until the node stops or the queue is removed.
async fn run_queue(
    shared: Arc<Shared>,
    registration: Arc<Registration>,
    taken: Taken,
    counters: Arc<Counters>,
    stop: Stop,
) {
    let stop = Stop {
        fetching: stop.fetching.child_token(),
        running: stop.running.child_token(),
        signing_off: stop.signing_off,
        leaving: stop.leaving,
    };
    let seat = Arc::clone(&taken.seat);
    let manager = QueueManager::new(
        Arc::clone(&shared),
        registration,
        Arc::clone(&seat),
        &counters,
        stop.clone(),
    );
    let removed = async {
        seat.removed().await;
        stop.fetching.cancel();
        shared.clock.sleep(shared.config.shutdown_timeout).await;
        stop.running.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = removed => {}
        () = run_manager(manager, &shared) => {}
    }
}

/// Runs a queue manager, again if it panics.
async fn run_manager(mut manager: QueueManager, shared: &Shared) {
    let part = format!("queue {}", manager.queue());
    while AssertUnwindSafe(manager.run())
        .catch_unwind()
        .await
        .is_err()
    {
        let panics = shared.monitor.panicked(&part, shared.clock.instant());
        tracing::error!(queue = %manager.queue(), "a queue manager panicked: restarting it");
        manager.recover();
        shared.clock.sleep(pause_before_retry(panics)).await;
    }
}

/// Runs the schedule manager, again if it panics.
async fn run_schedule(mut manager: ScheduleManager, shared: Arc<Shared>) {
    while AssertUnwindSafe(manager.run())
        .catch_unwind()
        .await
        .is_err()
    {
        let panics = shared.monitor.panicked("schedule", shared.clock.instant());
        tracing::error!("the schedule manager panicked: restarting it");
        shared.clock.sleep(pause_before_retry(panics)).await;
    }
}

/// Runs the pause manager, again if it panics.
async fn run_pauses(manager: PauseManager, shared: Arc<Shared>) {
    while AssertUnwindSafe(manager.run())
        .catch_unwind()
        .await
        .is_err()
    {
        let panics = (shared.monitor).panicked("pauses", shared.clock.instant());
        tracing::error!("the pause manager panicked: restarting it");
        shared.clock.sleep(pause_before_retry(panics)).await;
    }
}

/// Runs the watch over the other nodes, again if it panics.
async fn run_watch(mut watch: NodeWatch, shared: Arc<Shared>) {
    while AssertUnwindSafe(watch.run()).catch_unwind().await.is_err() {
        let panics = shared.monitor.panicked("watch", shared.clock.instant());
        tracing::error!("the watch over the other nodes panicked: restarting it");
        shared.clock.sleep(pause_before_retry(panics)).await;
    }
}

/// Runs the keeper of the statistics, again if it panics.
async fn run_stats(mut manager: StatsManager, shared: Arc<Shared>) {
    while AssertUnwindSafe(manager.run())
        .catch_unwind()
        .await
        .is_err()
    {
        let panics = shared.monitor.panicked("stats", shared.clock.instant());
        if manager.is_stopping() {
            tracing::error!("the keeper of the statistics panicked: the last ones may be missing");
            return;
        }
        tracing::error!("the keeper of the statistics panicked: restarting it");
        shared.clock.sleep(pause_before_retry(panics)).await;
    }
}

/// Runs the manager that shows the process, again if it panics.
async fn run_process(mut manager: ProcessManager, shared: Arc<Shared>) {
    while AssertUnwindSafe(manager.run())
        .catch_unwind()
        .await
        .is_err()
    {
        let panics = shared.monitor.panicked("process", shared.clock.instant());
        tracing::error!("what shows this process to Sidekiq Web panicked: restarting it");
        shared.clock.sleep(pause_before_retry(panics)).await;
    }
}
