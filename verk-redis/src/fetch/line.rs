//! The connection that the fetches of one queue share: [`Line`].
//!
//! While jobs are short, two requests of a queue are in flight. They go over one connection, so
//! that the server takes them in the order in which they were sent, and jobs start in the order of
//! their queue.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use verk_core::storage::Inprogress;

use crate::{
    connect::pool::Connection,
    error::Failure,
    fetch::{
        OpenQueues,
        blocking::{QueueId, Slot},
    },
};

/// The lines of the queues that are open, each with the list that its fetches fill.
pub(crate) type Lines = Mutex<HashMap<Inprogress, Weak<Line>>>;

/// What the open connections of one queue of a node share.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) id: QueueId,
    queues: Arc<OpenQueues>,
    inprogress: Inprogress,
    /// The connection, while a request of the queue is in flight.
    held: Mutex<Weak<Held>>,
}

impl Line {
    pub(crate) fn of(queues: &Arc<OpenQueues>, inprogress: &Inprogress) -> Arc<Self> {
        let mut lines = queues.lines.lock();
        if let Some(line) = lines.get(inprogress).and_then(Weak::upgrade) {
            return line;
        }
        let line = Arc::new(Self {
            id: queues.blocking.open(),
            queues: Arc::clone(queues),
            inprogress: inprogress.clone(),
            held: Mutex::default(),
        });
        lines.insert(inprogress.clone(), Arc::downgrade(&line));
        line
    }

    /// The connection of the queue: the one on which a request is in flight, if there is one.
    /// `None` if other queues have all of them.
    pub(crate) async fn hold(&self) -> Result<Option<Arc<Held>>, Failure> {
        let in_flight = self.held.lock().upgrade();
        if let Some(held) = in_flight
            && !held.connection.is_broken()
        {
            return Ok(Some(held));
        }
        let Some(slot) = self.queues.blocking.slot(self.id) else {
            return Ok(None);
        };
        let connection = slot.connection(&self.queues.link.connector).await?;
        let held = Arc::new(Held {
            queues: Arc::clone(&self.queues),
            connection,
            slot,
            unanswered: AtomicUsize::new(0),
        });
        *self.held.lock() = Arc::downgrade(&held);
        Ok(Some(held))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.queues.blocking.close(self.id);
        let mut lines = self.queues.lines.lock();
        // Another may have taken its place already.
        if lines
            .get(&self.inprogress)
            .is_some_and(|line| line.strong_count() == 0)
        {
            lines.remove(&self.inprogress);
        }
    }
}

/// A connection that one queue uses alone. Dropping it keeps the connection for the next use.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) connection: Connection,
    queues: Arc<OpenQueues>,
    slot: Slot,
    /// How many requests have no reply.
    unanswered: AtomicUsize,
}

impl Held {
    /// A request is sent.
    pub(crate) fn begin(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    /// Its reply is here.
    pub(crate) fn end(&self) {
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Of a request without a reply, the server may still move a job.
        if *self.unanswered.get_mut() == 0 {
            let connector = &self.queues.link.connector;
            self.slot.give_back(connector, &self.connection);
        }
    }
}
