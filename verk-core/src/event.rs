//! Everything that happens, as it happens: [`Event`] and [`Events`].

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use futures_core::Stream;
use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};

use crate::{
    job::{Failure, Job},
    names::{NodeId, QueueName},
    test_seam::TestSeam,
};

/// How many events a subscriber may lag behind before it misses some.
const CAPACITY: usize = 4096;

/// Something that happened on this node.
///
/// What a job came to is told once the storage has it, so a program that sees `JobFinished` will not find the job in
/// storage.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A run began.
    JobStarted {
        /// The job.
        job: Arc<Job>,
        /// When.
        started_at: SystemTime,
    },
    /// A run succeeded.
    JobFinished {
        /// The job.
        job: Arc<Job>,
        /// When the run began.
        started_at: SystemTime,
        /// How long it took.
        took: Duration,
    },
    /// A run failed.
    JobFailed {
        /// The job, with the failure recorded in it.
        job: Arc<Job>,
        /// What went wrong.
        failure: Failure,
        /// What follows.
        then: AfterFailure,
    },
    /// A worker answered that the job should run later; no attempt is counted.
    JobSnoozed {
        /// The job.
        job: Arc<Job>,
        /// When it runs again.
        until: SystemTime,
    },
    /// A worker answered that the job is not needed.
    JobDiscarded {
        /// The job.
        job: Arc<Job>,
        /// Why.
        reason: String,
    },
    /// A payload that is no job went to the `dead` set, untouched.
    JobMalformed {
        /// The queue that it was fetched from.
        queue: QueueName,
        /// What is wrong with it.
        reason: String,
    },
    /// A job went back to the front of its queue without counting an attempt: the node stops, or it stops fetching from the queue.
    JobHandedBack {
        /// The queue.
        queue: QueueName,
    },
    /// A job of this node is not this node's any more, so its outcome has no effect: another node was given it, or an operator removed it.
    JobLost {
        /// The queue.
        queue: QueueName,
    },
    /// The node runs the queue: it starts to, or the queue was resumed.
    QueueRunning {
        /// The queue.
        queue: QueueName,
    },
    /// The node stops fetching from the queue, which is paused or removed, or the node stops; jobs may still run.
    QueuePausing {
        /// The queue.
        queue: QueueName,
    },
    /// The node fetches nothing from the queue, and no job of it runs.
    QueuePaused {
        /// The queue.
        queue: QueueName,
    },
    /// This node registered again, under this id: see [`NodeLost`](Self::NodeLost).
    NodeRegistered {
        /// The new id.
        node: NodeId,
    },
    /// The storage does not know this node any more: it was declared dead. What runs goes on under this id, and ends there unless it was given
    /// to another node; new jobs are fetched under a new id.
    NodeLost {
        /// The id that is gone.
        node: NodeId,
    },
    /// A node that died left jobs, and they are back in their queues, or in the `schedule` set if they may be poison pills.
    JobsRestored {
        /// The node that held them.
        node: NodeId,
        /// How many.
        count: usize,
    },
    /// A job that a dead node left is a poison pill: it went to the `dead` set.
    PoisonPillBuried {
        /// The job, with a failure recorded in it that says so.
        job: Arc<Job>,
        /// The node that died last.
        node: NodeId,
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

/// Tells events to whoever subscribed. Free when nobody did.
#[derive(Clone, Debug)]
pub(crate) struct EventSender {
    sender: broadcast::Sender<Event>,
    /// The test that this node runs in.
    test: Option<Arc<dyn TestSeam>>,
}

impl EventSender {
    pub(crate) fn new(test: Option<Arc<dyn TestSeam>>) -> Self {
        Self {
            sender: broadcast::Sender::new(CAPACITY),
            test,
        }
    }

    pub(crate) fn send(&self, event: Event) {
        // An error says that nobody listens.
        if let Some(test) = &self.test {
            let _ = self.sender.send(event.clone());
            test.event(&event);
        } else {
            let _ = self.sender.send(event);
        }
    }

    pub(crate) fn subscribe(&self) -> Events {
        Events(BroadcastStream::new(self.sender.subscribe()))
    }
}

/// The events of a Verk from now on, as a [`Stream`].
///
/// A subscriber that falls behind by more than 4096 events is told how many it missed, and never slows a
/// worker.
#[derive(Debug)]
pub struct Events(BroadcastStream<Event>);

/// The subscriber was too slow, and missed this many events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("missed {0} events")]
pub struct Lagged(pub u64);

impl Events {
    /// Waits for the next event; `None` once the Verk is gone.
    ///
    /// # Errors
    ///
    /// [`Lagged`] when events were missed; the next call goes on with the oldest one kept.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost.
    pub async fn recv(&mut self) -> Option<Result<Event, Lagged>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Events {
    type Item = Result<Event, Lagged>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx).map(|event| {
            event.map(|event| {
                event.map_err(|BroadcastStreamRecvError::Lagged(missed)| Lagged(missed))
            })
        })
    }
}
