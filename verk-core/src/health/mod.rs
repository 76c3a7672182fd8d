//! The health of a node: [`Health`], and where its parts report theirs.

pub(crate) mod link;
pub(crate) mod monitor;

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{config::file::duration, guard, names::QueueName};

/// How a node is: see [`Verk::health`](crate::Verk::health).
///
/// As JSON:
/// `{"live":true,"ready":false,"reasons":[{"reason":"connecting","queue":"default"}],"caught_panics":0}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Whether the process works. If not, only a new process helps.
    pub live: bool,
    /// Whether the node does all of its work now.
    pub ready: bool,
    /// Why it is not ready, or not live, or ready only in part: see [`Reason::Cell`].
    pub reasons: Vec<Reason>,
    /// How many panics of code that is not verk's were caught in this process, by all its nodes: of
    /// log subscribers, metrics recorders, event subscribers and `retry_at` functions. The node
    /// continues without their result. Panics of jobs do not count. A number above 0 means that
    /// logs or metrics are incomplete: see the messages of the panic hook.
    pub caught_panics: u64,
}

impl Health {
    /// `reasons` concern the whole node, `enqueue` an enqueue that failed, and each of `cells` one
    /// cell. Of several cells, one that works keeps the node ready, although an enqueue to another
    /// one failed.
    pub(crate) fn new(
        mut reasons: Vec<Reason>,
        mut enqueue: Option<Reason>,
        mut cells: Vec<Vec<Reason>>,
    ) -> Self {
        if let [only] = &mut *cells {
            reasons.append(only);
            reasons.extend(enqueue.take());
        }
        let is_ready = reasons.is_empty() && cells.iter().any(Vec::is_empty);
        reasons.extend(enqueue);
        for (cell, of_cell) in cells.into_iter().enumerate() {
            reasons.extend(of_cell.into_iter().map(|reason| Reason::Cell {
                cell,
                because: Box::new(reason),
            }));
        }
        Self {
            live: !reasons.iter().any(Reason::is_fatal),
            ready: is_ready,
            reasons,
            caught_panics: guard::caught(),
        }
    }
}

/// Why a node is not ready, or not live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// It has queues, and `start` or `run` was not called.
    NotStarted,
    /// It shuts down, or has.
    Stopping,
    /// Every queue that it runs is paused, here or for all nodes, or an operator made it
    /// [quiet](crate::Verk::quiet).
    Quiet,
    /// It has not reached the storage for this queue yet.
    Connecting {
        /// The queue.
        queue: QueueName,
    },
    /// Its last request to the storage failed: the storage is down, is full, or refuses.
    StorageFailing {
        /// The part that sent the request: `heartbeat`, `schedule`, `enqueue` or `queue NAME`.
        part: String,
        /// The error with its sources. It has no password.
        error: String,
    },
    /// Its last heartbeat that was acknowledged is older than `heartbeat`: it fetches nothing.
    HeartbeatStale {
        /// How old.
        #[serde(with = "duration")]
        age: Duration,
    },
    /// The storage does not know the node any more: it registers again.
    RegistrationLost,
    /// A part of the node panics each time it is started. Not live.
    Panicking {
        /// The part.
        part: String,
    },
    /// The thread of the heartbeat has ended. Not live.
    HeartbeatEnded,
    /// The supervisor of the queues has ended. Not live.
    SupervisorEnded,
    /// One of the [cells](crate::cells::Cells) has a reason. The node is ready while another cell
    /// has none.
    Cell {
        /// The number of the cell.
        cell: usize,
        /// The reason.
        because: Box<Reason>,
    },
}

impl Reason {
    /// Returns whether only a new process helps: the node is not live.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Panicking { .. } | Self::HeartbeatEnded | Self::SupervisorEnded => true,
            Self::Cell { because, .. } => because.is_fatal(),
            _ => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => f.write_str("not started"),
            Self::Stopping => f.write_str("shutting down"),
            Self::Quiet => f.write_str("all queues are paused"),
            Self::Connecting { queue } => write!(f, "queue {queue} is not connected yet"),
            Self::StorageFailing { part, error } => write!(f, "{part}: {error}"),
            Self::HeartbeatStale { age } => {
                write!(f, "the last acknowledged heartbeat is {age:.1?} old")
            }
            Self::RegistrationLost => f.write_str("the storage does not know this node any more"),
            Self::Panicking { part } => write!(f, "{part} keeps panicking"),
            Self::HeartbeatEnded => f.write_str("the heartbeat has ended"),
            Self::SupervisorEnded => f.write_str("what runs the queues has ended"),
            Self::Cell { cell, because } => write!(f, "cell {cell}: {because}"),
        }
    }
}

pub(crate) fn failing(part: &str, error: String) -> Reason {
    Reason::StorageFailing {
        part: part.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cell_that_works_keeps_a_node_ready() {
        let lost = || vec![Reason::RegistrationLost];
        let enqueue = || Some(failing("enqueue", "full".to_owned()));
        for (reasons, enqueue, cells, ready, count) in [
            (vec![], None, vec![vec![]], true, 0),
            (vec![], None, vec![lost()], false, 1),
            (vec![], enqueue(), vec![vec![]], false, 1),
            (vec![], None, vec![lost(), vec![]], true, 1),
            (vec![], enqueue(), vec![lost(), vec![]], true, 2),
            (vec![], None, vec![lost(), lost()], false, 2),
            (vec![Reason::Stopping], None, vec![vec![], vec![]], false, 1),
        ] {
            let health = Health::new(reasons, enqueue, cells);
            assert_eq!((health.ready, health.reasons.len()), (ready, count));
            assert!(health.live);
        }
        let ended = vec![vec![], vec![Reason::HeartbeatEnded]];
        let health = Health::new(vec![], None, ended);
        assert!(!health.live);
        assert_eq!(
            health.reasons[0].to_string(),
            "cell 1: the heartbeat has ended"
        );
    }
}
