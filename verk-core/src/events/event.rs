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
/// What a job came to is told once the storage has it, so a program that sees `JobFinished` will not find the job in
/// storage. Times are the storage's, as far as this node knows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A run began.
    JobStarted {
        /// The job.
        job: Arc<Job>,
        /// The queue that it was fetched from.
        queue: QueueName,
        /// When.
        started_at: SystemTime,
    },
    /// A run succeeded.
    JobFinished {
        /// The job.
        job: Arc<Job>,
        /// The queue that it was fetched from.
        queue: QueueName,
        /// When the run began.
        started_at: SystemTime,
        /// How long it took.
        took: Duration,
    },
    /// A run failed; or none could begin, because nobody registered the class.
    JobFailed {
        /// The job, with the failure recorded in it.
        job: Arc<Job>,
        /// The queue that it was fetched from.
        queue: QueueName,
        /// When the run began.
        started_at: SystemTime,
        /// How long it took.
        took: Duration,
        /// What went wrong.
        failure: Failure,
        /// What follows.
        then: AfterFailure,
    },
    /// A worker answered that the job should run later, or there is none for its class and the node [requeues](crate::UnknownClass) such jobs;
    /// no attempt is counted.
    JobSnoozed {
        /// The job.
        job: Arc<Job>,
        /// The queue that it was fetched from.
        queue: QueueName,
        /// When the run began.
        started_at: SystemTime,
        /// How long it took.
        took: Duration,
        /// When it runs again.
        until: SystemTime,
    },
    /// A worker answered that the job is not needed, or the job expired before it could run.
    JobDiscarded {
        /// The job.
        job: Arc<Job>,
        /// The queue that it was fetched from.
        queue: QueueName,
        /// When the run began.
        started_at: SystemTime,
        /// How long it took.
        took: Duration,
        /// Why.
        reason: String,
    },
    /// A payload that is no job went to the `dead` set, untouched.
    JobMalformed {
        /// The queue that it was fetched from.
        queue: QueueName,
        /// When it was found.
        at: SystemTime,
        /// What is wrong with it.
        reason: String,
    },
    /// A job went back to the front of its queue without counting an attempt: the node stops, or it stops fetching from the queue.
    JobHandedBack {
        /// The job, if a run had begun.
        job: Option<Arc<Job>>,
        /// The queue.
        queue: QueueName,
        /// When.
        at: SystemTime,
    },
    /// A job of this node is not this node's any more, so its outcome has no effect: another node was given it, or an operator removed it.
    JobLost {
        /// The job, if it was read.
        job: Option<Arc<Job>>,
        /// The queue.
        queue: QueueName,
        /// When this was noticed.
        at: SystemTime,
    },
    /// A job equalled a member (same bytes) of the set that it went to: there is one of them now.
    JobMerged {
        /// The job, if it was read.
        job: Option<Arc<Job>>,
        /// The queue that it came from or goes to, if it names one.
        queue: Option<QueueName>,
        /// When.
        at: SystemTime,
    },
    /// The node runs the queue: it starts to, or the queue was resumed.
    QueueRunning {
        /// The queue.
        queue: QueueName,
        /// When.
        at: SystemTime,
    },
    /// The node stops fetching from the queue, which is paused or removed, or the node stops; jobs may still run.
    QueuePausing {
        /// The queue.
        queue: QueueName,
        /// When.
        at: SystemTime,
    },
    /// The node fetches nothing from the queue, and no job of it runs.
    QueuePaused {
        /// The queue.
        queue: QueueName,
        /// When.
        at: SystemTime,
    },
    /// The storage answered to a batch of outcomes of one queue, whatever the answers were.
    BatchSettled {
        /// The queue.
        queue: QueueName,
        /// When.
        at: SystemTime,
        /// How many outcomes were sent.
        jobs: usize,
        /// How long the answer took.
        took: Duration,
    },
    /// The reply to a fetch, to a batch of outcomes or to a move of due jobs was lost, so nobody knows whether it took effect. The node looks, and
    /// sends again only what did not.
    ReplyLost {
        /// The queue, if the change concerned only one.
        queue: Option<QueueName>,
        /// When.
        at: SystemTime,
        /// What was to be changed, and what happened.
        error: StorageError,
    },
    /// This node registered again, under this id: see [`NodeLost`](Self::NodeLost).
    NodeRegistered {
        /// The new id.
        node: NodeId,
        /// When.
        at: SystemTime,
    },
    /// The storage does not know this node any more: it was declared dead. What runs goes on under this id, and ends there unless it was given
    /// to another node; new jobs are fetched under a new id.
    NodeLost {
        /// The id that is gone.
        node: NodeId,
        /// When.
        at: SystemTime,
    },
    /// A node that died left jobs, and they are back in their queues, or in the `schedule` set if they may be poison pills.
    JobsRestored {
        /// The node that held them.
        node: NodeId,
        /// When.
        at: SystemTime,
        /// How many.
        count: usize,
    },
    /// A job that a dead node left is a poison pill: it went to the `dead` set.
    PoisonPillBuried {
        /// The job, with a failure recorded in it that says so.
        job: Arc<Job>,
        /// The node that died last.
        node: NodeId,
        /// When.
        at: SystemTime,
        /// How many processes died while it ran, in the last 72 hours.
        deaths: u32,
    },
    /// The clock of this machine and the storage's began to differ by more than a second. Due times follow the storage's.
    ClockSkewed {
        /// The time of day here.
        here: SystemTime,
        /// The storage's at that moment.
        storage: SystemTime,
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

/// The kinds of [`Event`]: one for each variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// [`Event::JobStarted`].
    JobStarted,
    /// [`Event::JobFinished`].
    JobFinished,
    /// [`Event::JobFailed`].
    JobFailed,
    /// [`Event::JobSnoozed`].
    JobSnoozed,
    /// [`Event::JobDiscarded`].
    JobDiscarded,
    /// [`Event::JobMalformed`].
    JobMalformed,
    /// [`Event::JobHandedBack`].
    JobHandedBack,
    /// [`Event::JobLost`].
    JobLost,
    /// [`Event::JobMerged`].
    JobMerged,
    /// [`Event::QueueRunning`].
    QueueRunning,
    /// [`Event::QueuePausing`].
    QueuePausing,
    /// [`Event::QueuePaused`].
    QueuePaused,
    /// [`Event::BatchSettled`].
    BatchSettled,
    /// [`Event::ReplyLost`].
    ReplyLost,
    /// [`Event::JobsRestored`].
    JobsRestored,
    /// [`Event::PoisonPillBuried`].
    PoisonPillBuried,
    /// [`Event::NodeRegistered`].
    NodeRegistered,
    /// [`Event::NodeLost`].
    NodeLost,
    /// [`Event::ClockSkewed`].
    ClockSkewed,
}

impl Event {
    /// Which variant this is.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::JobStarted { .. } => EventKind::JobStarted,
            Self::JobFinished { .. } => EventKind::JobFinished,
            Self::JobFailed { .. } => EventKind::JobFailed,
            Self::JobSnoozed { .. } => EventKind::JobSnoozed,
            Self::JobDiscarded { .. } => EventKind::JobDiscarded,
            Self::JobMalformed { .. } => EventKind::JobMalformed,
            Self::JobHandedBack { .. } => EventKind::JobHandedBack,
            Self::JobLost { .. } => EventKind::JobLost,
            Self::JobMerged { .. } => EventKind::JobMerged,
            Self::QueueRunning { .. } => EventKind::QueueRunning,
            Self::QueuePausing { .. } => EventKind::QueuePausing,
            Self::QueuePaused { .. } => EventKind::QueuePaused,
            Self::BatchSettled { .. } => EventKind::BatchSettled,
            Self::ReplyLost { .. } => EventKind::ReplyLost,
            Self::JobsRestored { .. } => EventKind::JobsRestored,
            Self::PoisonPillBuried { .. } => EventKind::PoisonPillBuried,
            Self::NodeRegistered { .. } => EventKind::NodeRegistered,
            Self::NodeLost { .. } => EventKind::NodeLost,
            Self::ClockSkewed { .. } => EventKind::ClockSkewed,
        }
    }

    /// When it happened; of a run that ended, when it ended.
    #[must_use]
    pub fn at(&self) -> SystemTime {
        match self {
            Self::JobStarted { started_at, .. } => *started_at,
            Self::JobFinished {
                started_at, took, ..
            }
            | Self::JobFailed {
                started_at, took, ..
            }
            | Self::JobSnoozed {
                started_at, took, ..
            }
            | Self::JobDiscarded {
                started_at, took, ..
            } => *started_at + *took,
            Self::JobMalformed { at, .. }
            | Self::JobHandedBack { at, .. }
            | Self::JobLost { at, .. }
            | Self::JobMerged { at, .. }
            | Self::QueueRunning { at, .. }
            | Self::QueuePausing { at, .. }
            | Self::QueuePaused { at, .. }
            | Self::BatchSettled { at, .. }
            | Self::ReplyLost { at, .. }
            | Self::JobsRestored { at, .. }
            | Self::PoisonPillBuried { at, .. }
            | Self::NodeRegistered { at, .. }
            | Self::NodeLost { at, .. }
            | Self::ClockSkewed { storage: at, .. } => *at,
        }
    }

    /// The job, if it concerns one that was read.
    #[must_use]
    pub fn job(&self) -> Option<&Arc<Job>> {
        match self {
            Self::JobStarted { job, .. }
            | Self::JobFinished { job, .. }
            | Self::JobFailed { job, .. }
            | Self::JobSnoozed { job, .. }
            | Self::JobDiscarded { job, .. }
            | Self::PoisonPillBuried { job, .. } => Some(job),
            Self::JobHandedBack { job, .. }
            | Self::JobLost { job, .. }
            | Self::JobMerged { job, .. } => job.as_ref(),
            Self::JobMalformed { .. }
            | Self::QueueRunning { .. }
            | Self::QueuePausing { .. }
            | Self::QueuePaused { .. }
            | Self::BatchSettled { .. }
            | Self::ReplyLost { .. }
            | Self::JobsRestored { .. }
            | Self::NodeRegistered { .. }
            | Self::NodeLost { .. }
            | Self::ClockSkewed { .. } => None,
        }
    }

    /// The queue, if it concerns one; of a job, the one that it was fetched from.
    #[must_use]
    pub fn queue(&self) -> Option<&QueueName> {
        match self {
            Self::JobStarted { queue, .. }
            | Self::JobFinished { queue, .. }
            | Self::JobFailed { queue, .. }
            | Self::JobSnoozed { queue, .. }
            | Self::JobDiscarded { queue, .. }
            | Self::JobMalformed { queue, .. }
            | Self::JobHandedBack { queue, .. }
            | Self::JobLost { queue, .. }
            | Self::QueueRunning { queue, .. }
            | Self::QueuePausing { queue, .. }
            | Self::QueuePaused { queue, .. }
            | Self::BatchSettled { queue, .. } => Some(queue),
            Self::JobMerged { queue, .. } | Self::ReplyLost { queue, .. } => queue.as_ref(),
            Self::JobsRestored { .. }
            | Self::PoisonPillBuried { .. }
            | Self::NodeRegistered { .. }
            | Self::NodeLost { .. }
            | Self::ClockSkewed { .. } => None,
        }
    }
}
