//! Everything that happens, as it happens: [`Event`].

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    error::StorageError,
    job::{Failure, Job},
    names::{Jid, NodeId, QueueName},
};

/// Something that happened on this node.
///
/// The outcome of a job is published after the storage has it. So a program that sees `JobFinished`
/// will not find the job in storage.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// When the event happened; for a run that ended, when it ended. It is the storage's time, as
    /// far as this node knows it.
    pub at: SystemTime,
    /// The queue, if the event concerns one; for a job, the queue that it was fetched from.
    pub queue: Option<QueueName>,
    /// The job, if the event concerns one that verk could read.
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
    /// A run failed, or could not begin because no worker has the class.
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
    /// A worker asked to run the job later, or there is none for its class and the node
    /// [requeues](crate::config::UnknownClass) such jobs. No attempt is counted.
    JobSnoozed {
        /// When the run began.
        started_at: SystemTime,
        /// How long it took.
        took: Duration,
        /// When it runs again.
        until: SystemTime,
    },
    /// A worker said that the job is not needed, or the job expired before it could run.
    JobDiscarded {
        /// When the run began.
        started_at: SystemTime,
        /// How long it took.
        took: Duration,
        /// Why.
        reason: String,
    },
    /// A payload that is no job went to the `dead` set, byte for byte.
    JobMalformed {
        /// What is wrong with it.
        reason: String,
    },
    /// A job went back to the front of its queue, and no attempt was counted: the node stops, or it
    /// stops fetching from the queue.
    JobHandedBack,
    /// A job does not belong to this node any more, so its outcome here has no effect: another node
    /// has it, or an operator removed it. Also sent if the reply to the outcome was lost and the
    /// node was then declared dead: the outcome may be stored, or another node has the job.
    JobLost,
    /// A job equalled a member (same bytes) of the set that it went to: the set has it once now.
    JobMerged,
    /// The node runs the queue: it has just started to, or the queue was resumed.
    QueueRunning,
    /// The node stops fetching from the queue, because the queue is paused or removed, or the node
    /// stops. Jobs may still run.
    QueuePausing,
    /// The node fetches nothing from the queue, and no job of it runs.
    QueuePaused,
    /// The storage answered to a batch of outcomes of one queue, whether they succeeded or not.
    BatchSettled {
        /// How many outcomes were sent.
        jobs: usize,
        /// How long the answer took.
        took: Duration,
    },
    /// The reply to a fetch, to a batch of outcomes or to a move of due jobs was lost, so the node
    /// does not know whether it took effect. It reads the storage, and sends again only what had no
    /// effect.
    ReplyLost {
        /// The change, and the error.
        error: StorageError,
    },
    /// This node registered again, under this id: see [`NodeLost`](Self::NodeLost).
    NodeRegistered {
        /// The new id.
        node: NodeId,
    },
    /// The storage does not know this node any more: it was declared dead. Its running jobs
    /// continue under this id, and end there unless another node has them. The node fetches new
    /// jobs under a new id.
    NodeLost {
        /// The id that is gone.
        node: NodeId,
    },
    /// The jobs of a dead node are back in their queues, or in the `schedule` set if they may be
    /// poison pills.
    JobsRestored {
        /// The node that held them.
        node: NodeId,
        /// How many.
        count: usize,
    },
    /// A job of a dead node is a poison pill: it went to the `dead` set.
    PoisonPillBuried {
        /// The node that died last.
        node: NodeId,
        /// How many processes died while they ran it, in the last 72 hours.
        deaths: u32,
    },
    /// A run of an entry of the timetable was enqueued.
    CronTicked {
        /// The entry.
        name: String,
        /// The time that the run is for.
        due: SystemTime,
        /// How many runs before it were missed.
        missed: u64,
    },
    /// Runs of an entry of the timetable were missed: no node was there in time, and its policy
    /// does not make up for them.
    CronMissed {
        /// The entry.
        name: String,
        /// How many, at least.
        missed: u64,
        /// The time of the first of them.
        since: SystemTime,
    },
    /// A run of an entry of the timetable enqueued no job, because the job of an earlier run still
    /// waits or runs, or because its class is unique and another job has the lock.
    CronSkipped {
        /// The entry.
        name: String,
        /// The time that the run was for.
        due: SystemTime,
        /// The job that has the lock.
        holder: Jid,
    },
    /// This node declares an entry of the timetable differently from the live nodes that have
    /// replaced its declaration. Theirs holds.
    CronDisagrees {
        /// The entry.
        name: String,
    },
    /// An entry of the timetable is paused, because no live node has declared it for a day.
    CronOrphaned {
        /// The entry.
        name: String,
        /// Since when no live node declares it.
        since: SystemTime,
    },
    /// A program recorded on this node what an operator did: see
    /// [`Admin::record_action`](crate::manage::Admin::record_action).
    OperatorActed {
        /// Who, if that is known.
        who: Option<String>,
        /// What the operator did.
        action: String,
        /// What it was done to.
        target: Option<String>,
        /// How many jobs or other things it changed.
        count: Option<u64>,
    },
    /// The job of a unique lock was nowhere, so the lock is free: another program deleted the job,
    /// or ran it.
    LockRepaired {
        /// The job that held the lock.
        jid: Jid,
        /// Its class; empty if that is not known.
        class: String,
    },
    /// The clock of this machine and the storage's began to differ by more than a second. Due times
    /// follow the storage's clock.
    ClockSkewed {
        /// The time of day here.
        here: SystemTime,
    },
}

/// What happens to a job after its failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// The job is in the `retry` set until then.
    Retry {
        /// When it runs again.
        at: SystemTime,
    },
    /// The job is in the `dead` set.
    Dead,
    /// The job is deleted: it asked for neither a retry nor the dead set.
    Discarded,
}
