//! The connections of a queue: what each does now, and which outcomes it sent.

use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::{
    error::StorageError,
    names::QueueName,
    runner::{payload::Payload, prefetch::Demand, settle::Pending},
    storage::{Dequeued, Inprogress, QueueConnection, Settled, Storage, read_from},
};

/// Everything that a queue has sent to the storage and that has no reply yet.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// Fetches, exchanges, and reads the list.
    pub(super) first: Lane,
    /// Exchanges only, and only while an older exchange is on its way.
    pub(super) second: Lane,
    /// A batch that is settled without a fetch. It uses no connection of the queue.
    pub(super) settling: Option<SettleCall>,
    /// Ends the newest fetch of the first lane, if that waits on the server.
    pub(super) interrupt: CancellationToken,
}

impl Lanes {
    /// What the queue was asked for and has not returned yet.
    pub(super) fn demand(&self) -> Demand {
        self.first.demand() + self.second.demand()
    }

    /// How many outcomes are on their way.
    pub(super) fn unsettled(&self) -> usize {
        let settling = self.settling.as_ref();
        self.first.batch().len()
            + self.second.batch().len()
            + settling.map_or(0, |call| call.batch.len())
    }

    /// Drops everything, and with it the replies. Returns the outcomes that were on their way: the
    /// node does not know whether they are stored.
    pub(super) fn close(&mut self) -> impl Iterator<Item = Pending> + use<> {
        let Self {
            first,
            second,
            settling,
            interrupt: _,
        } = std::mem::take(self);
        let settling = settling.map_or_else(Vec::new, |call| call.batch);
        let batches = [first.into_batch(), second.into_batch(), settling];
        batches.into_iter().flatten()
    }
}

/// A batch that is settled without a fetch.
pub(super) struct SettleCall {
    pub(super) batch: Vec<Pending>,
    pub(super) sent_at: Instant,
    pub(super) reply: BoxFuture<'static, Vec<Settled>>,
}

impl fmt::Debug for SettleCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettleCall")
            .field("batch", &self.batch)
            .field("sent_at", &self.sent_at)
            .finish_non_exhaustive()
    }
}

/// One connection of a queue.
#[derive(Default)]
pub(super) enum Lane {
    #[default]
    Closed,
    Idle(Box<dyn QueueConnection>),
    Opening(BoxFuture<'static, Result<Box<dyn QueueConnection>, StorageError>>),
    /// Waits for jobs, maybe for a long time.
    Fetching {
        reply: BoxFuture<'static, (Box<dyn QueueConnection>, Result<Fetch, StorageError>)>,
        demand: Demand,
    },
    /// Settles a batch and fetches jobs, in one trip.
    Exchanging {
        reply: BoxFuture<'static, Exchange>,
        batch: Vec<Pending>,
        demand: Demand,
        /// Whether the reply is here already.
        is_answered: bool,
    },
    /// Reads the list, after it has ensured that the fetches of both lanes have ended.
    Reading(BoxFuture<'static, List>),
}

/// What a lane does, without the data of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    Closed,
    Idle,
    Opening,
    Fetching,
    Exchanging,
    /// An exchange was answered as soon as it was sent, and the answer is not read yet.
    Answered,
    Reading,
}

impl Activity {
    /// Whether an operation that may return jobs is in flight.
    pub(super) fn may_bring_jobs(self) -> bool {
        matches!(self, Self::Fetching | Self::Exchanging | Self::Answered)
    }

    /// Whether no fetch is in flight, and no read of the list.
    pub(super) fn is_quiet(self) -> bool {
        matches!(self, Self::Closed | Self::Idle | Self::Opening)
    }
}

/// What happened on the lanes.
pub(super) enum Next {
    /// The first lane has a reply.
    Replied(Reply),
    /// The second lane is open, or could not be opened.
    OpenedSecond(Result<Box<dyn QueueConnection>, StorageError>),
}

/// Waits for a reply of the first lane, or for the connection of the second, and receives the reply
/// of the second, which is handled after that of the first.
///
/// Cancel safe: what is in flight stays in flight.
pub(super) async fn next(first: &mut Lane, second: &mut Lane) -> Next {
    let mut first = pin!(first.reply());
    // The second first: while it reads their connection, the reply of the first may arrive.
    poll_fn(|cx| match second.poll_beside(cx) {
        Poll::Ready(result) => Poll::Ready(Next::OpenedSecond(result)),
        Poll::Pending => first.as_mut().poll(cx).map(Next::Replied),
    })
    .await
}

/// The result of the operation of a lane.
pub(super) enum Reply {
    Opened(Result<Box<dyn QueueConnection>, StorageError>),
    Fetched {
        queue: Box<dyn QueueConnection>,
        fetch: Result<Fetch, StorageError>,
        demand: Demand,
    },
    Exchanged {
        exchange: Exchange,
        batch: Vec<Pending>,
        demand: Demand,
    },
    Read(List),
}

/// The jobs that a fetch returned, read.
pub(super) enum Fetch {
    Jobs(Vec<Payload>),
    /// The queue is paused: these jobs must not start.
    Paused(Vec<Bytes>),
    NodeGone,
}

impl Fetch {
    /// Reads what was found in `queue`.
    pub(super) fn read(dequeued: Dequeued, queue: &QueueName) -> Self {
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

/// The answer to an exchange: the results of its settlements, and the jobs that it fetched.
pub(super) struct Exchange {
    pub(super) queue: Box<dyn QueueConnection>,
    pub(super) settled: Vec<Settled>,
    pub(super) fetch: Result<Fetch, StorageError>,
    pub(super) took: Duration,
}

/// The answer to a read of the list, and the connections on which no earlier fetch can still move a
/// job.
pub(super) struct List {
    pub(super) queue: Box<dyn QueueConnection>,
    pub(super) second: Option<Box<dyn QueueConnection>>,
    pub(super) payloads: Result<Vec<Bytes>, StorageError>,
}

impl Lane {
    /// Waits for the operation in flight. The lane is closed then, and the reply holds the
    /// connection. Pends forever when nothing is in flight.
    ///
    /// Cancel safe: what is in flight stays in flight.
    async fn reply(&mut self) -> Reply {
        let reply = match self {
            Self::Closed | Self::Idle(_) => std::future::pending().await,
            Self::Opening(reply) => Reply::Opened(reply.await),
            Self::Fetching { reply, demand } => {
                let (queue, fetch) = reply.await;
                Reply::Fetched {
                    queue,
                    fetch,
                    demand: *demand,
                }
            }
            Self::Exchanging {
                reply,
                batch,
                demand,
                is_answered: _,
            } => Reply::Exchanged {
                exchange: reply.await,
                batch: std::mem::take(batch),
                demand: *demand,
            },
            Self::Reading(reply) => Reply::Read(reply.await),
        };
        *self = Self::Closed;
        reply
    }

    /// As the second lane: opens, or receives the reply to its exchange and keeps it.
    fn poll_beside(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Box<dyn QueueConnection>, StorageError>> {
        match self {
            Self::Opening(reply) => {
                let result = ready!(reply.as_mut().poll(cx));
                *self = Self::Closed;
                Poll::Ready(result)
            }
            _ => {
                self.receive(cx);
                Poll::Pending
            }
        }
    }

    /// Sends an exchange that was just begun, before the queue waits for its reply.
    pub(super) fn send(&mut self) {
        self.receive(&mut Context::from_waker(Waker::noop()));
    }

    /// Moves an exchange on, and keeps its reply if that is here.
    fn receive(&mut self, cx: &mut Context<'_>) {
        if let Self::Exchanging {
            reply, is_answered, ..
        } = self
            && !*is_answered
            && let Poll::Ready(exchange) = reply.as_mut().poll(cx)
        {
            *reply = Box::pin(std::future::ready(exchange));
            *is_answered = true;
        }
    }

    /// Takes the connection if it is idle. The lane is closed then.
    pub(super) fn take_idle(&mut self) -> Option<Box<dyn QueueConnection>> {
        match std::mem::take(self) {
            Self::Idle(queue) => Some(queue),
            other => {
                *self = other;
                None
            }
        }
    }

    pub(super) fn activity(&self) -> Activity {
        match self {
            Self::Closed => Activity::Closed,
            Self::Idle(_) => Activity::Idle,
            Self::Opening(_) => Activity::Opening,
            Self::Fetching { .. } => Activity::Fetching,
            Self::Exchanging {
                is_answered: false, ..
            } => Activity::Exchanging,
            Self::Exchanging {
                is_answered: true, ..
            } => Activity::Answered,
            Self::Reading(_) => Activity::Reading,
        }
    }

    /// What the queue was asked for and has not returned yet.
    fn demand(&self) -> Demand {
        match self {
            Self::Fetching { demand, .. } | Self::Exchanging { demand, .. } => *demand,
            _ => Demand::default(),
        }
    }

    /// The outcomes that are on their way.
    pub(super) fn batch(&self) -> &[Pending] {
        match self {
            Self::Exchanging { batch, .. } => batch,
            _ => &[],
        }
    }

    fn into_batch(self) -> Vec<Pending> {
        match self {
            Self::Exchanging { batch, .. } => batch,
            _ => Vec::new(),
        }
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.activity().fmt(f)
    }
}

/// Ensures that no earlier fetch can still move a job, then reads the whole `inprogress` list.
pub(super) async fn read_all(
    mut queue: Box<dyn QueueConnection>,
    mut second: Option<Box<dyn QueueConnection>>,
    storage: Arc<dyn Storage>,
    inprogress: Inprogress,
) -> List {
    let payloads = async {
        queue.reset().await?;
        if let Some(second) = &mut second {
            second.reset().await?;
        }
        read_from(&*storage, &inprogress, 0).await
    };
    let payloads = payloads.await;
    List {
        queue,
        second,
        payloads,
    }
}
