//! Jobs that wait, as an operator looks at them and moves them.

use bytes::Bytes;

use crate::{
    names::QueueName,
    storage::{DeadLimits, Due, DueSet, ScoredJob},
};

/// A step of one job out of a [`Source`](super::Source).
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The payload as it was read.
    pub held: Bytes,
    /// Where it goes.
    pub to: MoveTarget,
}

/// Where a [`Move`] takes a job.
#[derive(Clone, Debug, PartialEq)]
pub enum MoveTarget {
    /// Nowhere: it is deleted.
    Delete,
    /// Nowhere: another payload has its place in the queue, or its score. Of equal jobs in a queue, it is the next to be fetched.
    Replace {
        /// The payload to store.
        job: Bytes,
    },
    /// To the back of a queue, which is not the one that it comes from.
    Queue {
        /// The queue.
        queue: QueueName,
        /// The payload to store.
        job: Bytes,
    },
    /// To a set, due then.
    Set {
        /// The set.
        set: DueSet,
        /// The time, and the payload to store.
        job: Due,
    },
    /// To the `dead` set, which is then cut to the limits.
    Dead {
        /// The time of death, and the payload to bury.
        job: Due,
        /// The caps of the set.
        limits: DeadLimits,
    },
}

/// The answer to [`Storage::scan_set`](crate::Storage::scan_set).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetScan {
    /// The members.
    pub jobs: Vec<ScoredJob>,
    /// Where the next step goes on; `None` when this was the last.
    pub next: Option<u64>,
}
