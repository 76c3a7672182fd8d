//! How a queue learns that it has to end ([`Stop`]), and how far it is in that ([`Phase`]).

use tokio_util::sync::CancellationToken;

/// The two steps in which something ends.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    /// Fetch nothing more, and end once everything is settled.
    pub(crate) drain: CancellationToken,
    /// The time of the running jobs is up.
    pub(crate) cancel: CancellationToken,
}

impl Ends {
    /// The same for one part: it ends together with the whole, or earlier.
    pub(crate) fn of_part(&self) -> Self {
        Self {
            drain: self.drain.child_token(),
            cancel: self.cancel.child_token(),
        }
    }
}

/// What ends a queue on a node.
///
/// A queue drains before it is cancelled, and no later than its node drains. So a task that waits
/// for the next step of a running queue waits for only one token.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    /// The node id ends when it drains, the process when it is cancelled.
    pub(crate) node: Ends,
    /// The queue ends alone if it was removed, and otherwise with the node.
    pub(crate) queue: Ends,
}

impl Stop {
    /// How far the queue is in its stop.
    pub(crate) fn phase(&self) -> Phase {
        if !self.queue.drain.is_cancelled() {
            Phase::Running
        } else if !self.queue.cancel.is_cancelled() {
            Phase::Draining
        } else if !self.node.cancel.is_cancelled() {
            Phase::Cancelled
        } else {
            Phase::Leaving
        }
    }

    /// Whether the node id ends, not only the queue. If it does, other nodes restore what it leaves
    /// behind.
    pub(crate) fn node_ends(&self) -> bool {
        self.node.drain.is_cancelled()
    }

    /// Waits until [`phase`](Self::phase) or [`node_ends`](Self::node_ends) differs from `phase`
    /// and `node_ends`.
    pub(crate) async fn advance(&self, phase: Phase, node_ends: bool) {
        if phase == Phase::Running {
            return self.queue.drain.cancelled().await;
        }
        tokio::select! {
            () = self.queue.cancel.cancelled(), if phase < Phase::Cancelled => {}
            () = self.node.cancel.cancelled(), if phase < Phase::Leaving => {}
            () = self.node.drain.cancelled(), if !node_ends => {}
            else => std::future::pending().await,
        }
    }
}

/// How far a queue is in its stop. Each phase is later than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It fetches jobs, unless it is paused.
    #[default]
    Running,
    /// It fetches nothing more. Running jobs continue.
    Draining,
    /// The running jobs were cancelled, and go back to the queue.
    Cancelled,
    /// The process ends. A job that does not end soon stays in progress, and another node restores
    /// it.
    Leaving,
}

#[cfg(test)]
mod tests;
