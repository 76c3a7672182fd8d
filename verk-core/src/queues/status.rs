//! The state of queues and of running jobs for users.

use std::{fmt, sync::Arc, time::SystemTime};

use crate::{
    job::Job,
    names::{Jid, QueueName},
};

/// A queue of this node: see [`Verk::queues`](crate::Verk::queues).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStatus {
    /// The name of the queue.
    pub name: QueueName,
    /// How many of its jobs may run at once.
    pub concurrency: usize,
    /// How many of its jobs run now.
    pub running: usize,
    /// What the node does with the queue.
    pub status: Status,
    /// Whether the queue is paused for all nodes. Then it runs once
    /// [`resume_queue_everywhere`](crate::manage::Admin::resume_queue_everywhere) was called, if it
    /// is not paused on this node as well.
    pub paused_everywhere: bool,
}

/// What a node does with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// Jobs run.
    Running,
    /// No job runs; the next one will.
    Idle,
    /// It is paused, and jobs that began before still run.
    Pausing,
    /// It is paused, and no job runs.
    Paused,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Idle => "idle",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
        })
    }
}

/// A job that runs on this node: see [`Verk::running_jobs`](crate::Verk::running_jobs).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningJob {
    /// The class of the job.
    pub class: String,
    /// The id of the job.
    pub jid: Jid,
    /// The queue that it was fetched from.
    pub queue: QueueName,
    /// When the run began.
    pub started_at: SystemTime,
}

/// A running job, as the managers know it.
#[derive(Clone, Debug)]
pub(crate) struct RunSnapshot {
    pub(crate) job: Arc<Job>,
    pub(crate) queue: QueueName,
    pub(crate) started_at: SystemTime,
}

/// What a queue does in one cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueFigures {
    pub(crate) running: usize,
    /// Whether nothing is to be fetched.
    pub(crate) is_paused: bool,
    /// Whether each of its managers has ended its last fetch since the pause.
    pub(crate) is_done: bool,
    pub(crate) paused_everywhere: bool,
}

impl QueueFigures {
    /// Adds those of the same queue in another cell.
    pub(crate) fn add(&mut self, other: &Self) {
        self.running += other.running;
        self.is_paused &= other.is_paused;
        self.is_done &= other.is_done;
        self.paused_everywhere |= other.paused_everywhere;
    }

    pub(crate) fn status(&self) -> Status {
        match (self.is_paused, self.running) {
            (false, 0) => Status::Idle,
            (false, _) => Status::Running,
            (true, 0) if self.is_done => Status::Paused,
            (true, _) => Status::Pausing,
        }
    }
}

/// An event about a queue: its new status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueEvent {
    Running,
    Pausing,
    Paused,
}

/// The next event of a queue, if there is one. `last` belongs to the count of changes at that time.
///
/// After each change all events are published again. So a caller that pauses a queue and waits for
/// `QueuePaused` gets it, even if the queue was paused, resumed and paused before its manager
/// looked.
pub(crate) fn next_event(
    last: Option<(u64, QueueEvent)>,
    changes: u64,
    open: bool,
    done: bool,
) -> Option<QueueEvent> {
    let last = last.and_then(|(of, told)| (of == changes).then_some(told));
    match (open, last) {
        (true, Some(QueueEvent::Running)) => None,
        (true, _) => Some(QueueEvent::Running),
        (false, None | Some(QueueEvent::Running)) => Some(QueueEvent::Pausing),
        (false, Some(QueueEvent::Pausing)) if done => Some(QueueEvent::Paused),
        (false, Some(QueueEvent::Pausing | QueueEvent::Paused)) => None,
    }
}
