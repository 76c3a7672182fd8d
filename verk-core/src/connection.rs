//! What the connection of a queue is doing.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::{
    error::StorageError,
    storage::{Dequeued, Inprogress, MAX_BATCH_JOBS, Page, QueueConnection, Storage},
};

/// An operation that borrows the connection until its reply is here.
pub(crate) type InFlight<T> =
    BoxFuture<'static, (Box<dyn QueueConnection>, Result<T, StorageError>)>;

/// What the connection of the queue is doing.
pub(crate) enum Connection {
    Closed,
    Idle(Box<dyn QueueConnection>),
    Opening(BoxFuture<'static, Result<Box<dyn QueueConnection>, StorageError>>),
    Fetching(InFlight<Dequeued>),
    Reading(InFlight<Vec<Bytes>>),
}

/// What came of it.
pub(crate) enum Reply {
    Opened(Result<Box<dyn QueueConnection>, StorageError>),
    Fetched(Box<dyn QueueConnection>, Result<Dequeued, StorageError>),
    Read(Box<dyn QueueConnection>, Result<Vec<Bytes>, StorageError>),
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
            Self::Reading(future) => {
                let (queue, result) = future.await;
                Reply::Read(queue, result)
            }
        }
    }

    /// Whether no fetch is in flight.
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
            Self::Reading(_) => "Reading",
        })
    }
}

/// Makes sure that no earlier fetch can still move a job, then reads the whole `inprogress` list.
pub(crate) async fn read_all(
    mut queue: Box<dyn QueueConnection>,
    storage: Arc<dyn Storage>,
    inprogress: Inprogress,
) -> (Box<dyn QueueConnection>, Result<Vec<Bytes>, StorageError>) {
    let result = async {
        queue.reset().await?;
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
    let result = result.await;
    (queue, result)
}
