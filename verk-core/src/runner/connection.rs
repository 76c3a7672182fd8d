//! What the connection of a queue is doing.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    error::StorageError,
    job::{Job, MalformedJob},
    names::QueueName,
    storage::{Dequeued, Inprogress, MAX_BATCH_JOBS, Page, QueueConnection, Settled, Storage},
};

/// An operation that borrows the connection until its reply is here.
pub(crate) type InFlight<T> =
    BoxFuture<'static, (Box<dyn QueueConnection>, Result<T, StorageError>)>;

/// What the connection of the queue is doing.
pub(crate) enum Connection {
    Closed,
    Idle(Box<dyn QueueConnection>),
    Opening(BoxFuture<'static, Result<Box<dyn QueueConnection>, StorageError>>),
    /// Waits for jobs, maybe for long.
    Fetching(InFlight<Fetched>),
    /// Settles a batch and looks for jobs, in one trip.
    Exchanging(BoxFuture<'static, Exchanged>),
    /// Makes sure of what the second connection did as well.
    Reading(BoxFuture<'static, Read>),
}

/// The reply to a look at the list.
pub(crate) struct Read {
    pub(crate) queue: Box<dyn QueueConnection>,
    pub(crate) second: Option<Box<dyn QueueConnection>>,
    pub(crate) list: Result<Vec<Bytes>, StorageError>,
}

/// The reply to a batch of settlements that went with a look for jobs.
pub(crate) struct Exchanged {
    pub(crate) queue: Box<dyn QueueConnection>,
    pub(crate) settled: Vec<Settled>,
    pub(crate) fetched: Result<Fetched, StorageError>,
    pub(crate) took: Duration,
}

/// What a look for jobs found, read.
pub(crate) enum Fetched {
    Jobs(Vec<Payload>),
    /// Nobody starts these.
    Paused(Vec<Bytes>),
    NodeGone,
}

impl Fetched {
    /// Reads what was found in `queue`.
    pub(crate) fn read(dequeued: Dequeued, queue: &QueueName) -> Self {
        match dequeued {
            Dequeued::Jobs(jobs) => {
                let read = |payload| Payload::read(payload, queue);
                Self::Jobs(jobs.into_iter().map(read).collect())
            }
            Dequeued::Paused(jobs) => Self::Paused(jobs),
            Dequeued::NodeGone => Self::NodeGone,
        }
    }
}

/// A payload, and the job that it is.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) held: Bytes,
    pub(crate) job: Result<Arc<Job>, MalformedJob>,
}

impl Payload {
    /// Reads what was fetched from `queue`.
    pub(crate) fn read(held: Bytes, queue: &QueueName) -> Self {
        let job = Job::decode_from(held.clone(), Some(queue)).map(Arc::new);
        Self { held, job }
    }
}

/// What came of what the connection was doing.
pub(crate) enum Reply {
    Opened(Result<Box<dyn QueueConnection>, StorageError>),
    Fetched(Box<dyn QueueConnection>, Result<Fetched, StorageError>),
    Exchanged(Exchanged),
    Read(Read),
}

impl Connection {
    /// Waits for what is in flight. Pends for ever when nothing is.
    ///
    /// Cancel safe: what is in flight stays in flight.
    pub(crate) async fn reply(&mut self) -> Reply {
        match self {
            Self::Closed | Self::Idle(_) => std::future::pending().await,
            Self::Opening(future) => Reply::Opened(future.await),
            Self::Fetching(future) => {
                let (queue, result) = future.await;
                Reply::Fetched(queue, result)
            }
            Self::Exchanging(future) => Reply::Exchanged(future.await),
            Self::Reading(future) => Reply::Read(future.await),
        }
    }

    /// Puts on its way what was just begun. Answers if that is all it takes.
    pub(crate) fn send(&mut self) -> Option<Reply> {
        self.reply().now_or_never()
    }

    /// Lets an exchange go on beside the task that waits for it: the reply is read while that one starts jobs.
    pub(crate) fn spawn(self) -> Self {
        let Self::Exchanging(exchange) = self else {
            return self;
        };
        let task = AbortOnDropHandle::new(tokio::spawn(exchange));
        Self::Exchanging(Box::pin(async {
            match task.await {
                Ok(exchanged) => exchanged,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime ends, and so does who waits.
                    Err(_) => std::future::pending().await,
                },
            }
        }))
    }

    /// Takes the connection if it is idle.
    pub(crate) fn take_idle(&mut self) -> Option<Box<dyn QueueConnection>> {
        match std::mem::replace(self, Self::Closed) {
            Self::Idle(queue) => Some(queue),
            other => {
                *self = other;
                None
            }
        }
    }

    pub(crate) fn is_exchanging(&self) -> bool {
        matches!(self, Self::Exchanging(_))
    }

    pub(crate) fn is_opening(&self) -> bool {
        matches!(self, Self::Opening(_))
    }

    /// Whether something is in flight that may bring jobs.
    pub(crate) fn is_fetching(&self) -> bool {
        matches!(self, Self::Fetching(_) | Self::Exchanging(_))
    }

    /// Whether no fetch is in flight, and no look at the list.
    pub(crate) fn is_quiet(&self) -> bool {
        matches!(self, Self::Closed | Self::Idle(_) | Self::Opening(_))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "Closed",
            Self::Idle(_) => "Idle",
            Self::Opening(_) => "Opening",
            Self::Fetching(_) => "Fetching",
            Self::Exchanging(_) => "Exchanging",
            Self::Reading(_) => "Reading",
        })
    }
}

/// Makes sure that no earlier fetch can still move a job, then reads the whole `inprogress` list.
pub(crate) async fn read_all(
    mut queue: Box<dyn QueueConnection>,
    mut second: Option<Box<dyn QueueConnection>>,
    storage: Arc<dyn Storage>,
    inprogress: Inprogress,
) -> Read {
    let list = async {
        queue.reset().await?;
        if let Some(second) = &mut second {
            second.reset().await?;
        }
        let mut list = Vec::new();
        loop {
            let page = Page {
                offset: list.len(),
                limit: MAX_BATCH_JOBS,
            };
            let payloads = storage.inprogress(&inprogress, page).await?;
            if payloads.is_empty() {
                return Ok(list);
            }
            list.extend(payloads);
        }
    };
    let list = list.await;
    Read {
        queue,
        second,
        list,
    }
}
