//! Everything that happens, as it happens: [`Event`].

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    error::StorageError,
    job::{Failure, Job},
    names::{NodeId, QueueName},
};

/// Something that happened on this node.
///
/// What a job came to is told once the storage has it, so a program that sees `JobFinished` will
/// not find the job in storage.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// When it happened; of a run that ended, when it ended. The storage's time, as far as this
    /// node knows.
    pub at: SystemTime,
    /// The queue, if it concerns one; of a job, the one that it was fetched from.
    pub queue: Option<QueueName>,
    /// The job, if it concerns one that was read.
    pub job: Option<Arc<Job>>,
    /// What happened.
    pub what: EventKind,
}

/// What happened: see [`Event`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// A run began.
    JobStarted,
    /// A run succeeded.
    JobFinished {
        /// When the run began.
        started_at: SystemTime,
        /// How long it took.
        took: Duration,
    },
    /// A run failed; or none could begin, because nobody registered the class.
    JobFailed {
        /// When the run began.
        started_at: SystemTime,
        /// How long it took.
        took: Duration,
        /// What went wrong.
        failure: Failure,
        /// What follows.
        then: AfterFailure,
    },
    /// A worker answered that the job should run later, or there is none for its class and the node
    /// [requeues](crate::UnknownClass) such jobs; no attempt is counted.
    JobSnoozed {
        /// When the run began.
        started_at: SystemTime,
        /// How long it took.
        took: Duration,
        /// When it runs again.
        until: SystemTime,
    },
    /// A worker answered that the job is not needed, or the job expired before it could run.
    JobDiscarded {
        /// When the run began.
        started_at: SystemTime,
        /// How long it took.
        took: Duration,
        /// Why.
        reason: String,
    },
    /// A payload that is no job went to the `dead` set, untouched.
    JobMalformed {
        /// What is wrong with it.
        reason: String,
    },
    /// A job went back to the front of its queue without counting an attempt: the node stops, or it
    /// stops fetching from the queue.
    JobHandedBack,
    /// A job of this node is not this node's any more, so its outcome has no effect: another node
    /// was given it, or an operator removed it.
    JobLost,
    /// A job equalled a member (same bytes) of the set that it went to: there is one of them now.
    JobMerged,
    /// The node runs the queue: it starts to, or the queue was resumed.
    QueueRunning,
    /// The node stops fetching from the queue, which is paused or removed, or the node stops; jobs
    /// may still run.
    QueuePausing,
    /// The node fetches nothing from the queue, and no job of it runs.
    QueuePaused,
    /// The storage answered to a batch of outcomes of one queue, whatever the answers were.
    BatchSettled {
        /// How many outcomes were sent.
        jobs: usize,
        /// How long the answer took.
        took: Duration,
    },
    /// The reply to a fetch, to a batch of outcomes or to a move of due jobs was lost, so nobody
    /// knows whether it took effect. The node looks, and sends again only what did not.
    ReplyLost {
        /// What was to be changed, and what happened.
        error: StorageError,
    },
    /// This node registered again, under this id: see [`NodeLost`](Self::NodeLost).
    NodeRegistered {
        /// The new id.
        node: NodeId,
    },
    /// The storage does not know this node any more: it was declared dead. What runs goes on under
    /// this id, and ends there unless it was given to another node; new jobs are fetched under a
    /// new id.
    NodeLost {
        /// The id that is gone.
        node: NodeId,
    },
    /// A node that died left jobs, and they are back in their queues, or in the `schedule` set if
    /// they may be poison pills.
    JobsRestored {
        /// The node that held them.
        node: NodeId,
        /// How many.
        count: usize,
    },
    /// A job that a dead node left is a poison pill: it went to the `dead` set.
    PoisonPillBuried {
        /// The node that died last.
        node: NodeId,
        /// How many processes died while it ran, in the last 72 hours.
        deaths: u32,
    },
    /// The clock of this machine and the storage's began to differ by more than a second. Due times
    /// follow the storage's.
    ClockSkewed {
        /// The time of day here.
        here: SystemTime,
    },
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// The job is in the `retry` set until then.
    Retry {
        /// When it runs again.
        at: SystemTime,
    },
    /// The job is in the `dead` set.
    Dead,
    /// The job is gone: it asked for no retry and no burial.
    Discarded,
}
