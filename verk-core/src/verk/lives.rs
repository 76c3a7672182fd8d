//! In which order a node begins and ends: one life for each node id, and in it a manager for each
//! queue. No I/O: the caller says what a life, a manager and a registration do.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    log,
    names::NodeId,
    node::registration::Registration,
    queues::{Queues, handle::ManagerGuard},
    runner::stop::Ends,
    time::clock::Clock,
};

/// How long the node may take to deregister after its jobs have ended.
pub(crate) const SIGN_OFF: Duration = Duration::from_secs(2);

/// The life of one node id.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) registration: Arc<Registration>,
    /// The earlier ids of this process, while jobs still run under them.
    pub(crate) earlier: Vec<Weak<Registration>>,
    pub(crate) ends: Ends,
}

/// Runs a node until `stop` is cancelled and its jobs have ended or were handed back.
///
/// 1. `live` runs under the first registration.
/// 2. When that is lost, its life drains. `again` registers under a new id, and `live` runs under
///    that too.
/// 3. After `stop`, all lives drain. Those that last longer than `shutdown_timeout` are cancelled,
///    and awaited.
pub(crate) async fn run<L, A>(
    first: Arc<Registration>,
    stop: &CancellationToken,
    (clock, shutdown_timeout): (&dyn Clock, Duration),
    live: impl Fn(Life) -> L,
    again: impl Fn(Arc<Registration>) -> A,
) where
    L: Future<Output = ()> + Send + 'static,
    A: Future<Output = Option<Arc<Registration>>>,
{
    let cancel = CancellationToken::new();
    let lives = TaskTracker::new();
    let mut next = Some(first);
    let mut earlier = Vec::new();
    while let Some(registration) = next.take() {
        let ends = Ends {
            drain: stop.child_token(),
            cancel: cancel.clone(),
        };
        lives.spawn(live(Life {
            registration: Arc::clone(&registration),
            earlier: earlier.clone(),
            ends: ends.clone(),
        }));
        earlier.push(Arc::downgrade(&registration));
        tokio::select! {
            () = stop.cancelled() => {}
            () = registration.lost() => {
                ends.drain.cancel();
                next = again(registration).await;
            }
        }
    }
    lives.close();
    let ended = clock.timeout(shutdown_timeout, lives.wait()).await;
    if ended.is_none() {
        cancel.cancel();
        log::warn!(
            timeout_s = shutdown_timeout.as_secs_f64(),
            "jobs are still running: handing them back"
        );
        lives.wait().await;
    }
}

/// Runs a manager for each queue of a node id, also for those that are added later, until `drain`
/// is cancelled. Returns when all managers have ended.
pub(crate) async fn run_queues<M>(
    queues: &Arc<Queues>,
    node: &NodeId,
    drain: &CancellationToken,
    manager: impl Fn(ManagerGuard) -> M,
) where
    M: Future<Output = ()> + Send + 'static,
{
    let mut changes = queues.subscribe();
    let mut managers = JoinSet::new();
    loop {
        changes.mark_unchanged();
        for guard in queues.register_managers(node) {
            managers.spawn(manager(guard));
        }
        tokio::select! {
            biased;
            () = drain.cancelled() => break,
            // An error means that the sender was dropped; it is in `Queues`.
            _ = changes.changed() => {}
            // Its queue was removed, and may have been added again.
            Some(_) = managers.join_next() => {}
        }
    }
    while managers.join_next().await.is_some() {}
}

/// The parts of a life beside its queues, for its end.
#[derive(Debug, Default)]
pub(crate) struct Others {
    /// The parts that end when the life drains.
    pub(crate) parts: TaskTracker,
    /// The keeper of the statistics.
    pub(crate) stats: TaskTracker,
    /// Cancelled when nothing counts any more, so that the last statistics can be stored.
    pub(crate) counted: CancellationToken,
}

impl Others {
    /// Ends a life whose queues have ended. The last statistics are stored once nothing counts any
    /// more. Then `deregister` runs, for at most [`SIGN_OFF`]. Returns whether it was in time.
    pub(crate) async fn end(self, deregister: impl Future<Output = ()>, clock: &dyn Clock) -> bool {
        self.parts.close();
        self.parts.wait().await;
        self.counted.cancel();
        self.stats.close();
        self.stats.wait().await;
        clock.timeout(SIGN_OFF, deregister).await.is_some()
    }
}

#[cfg(test)]
mod tests;
