//! The queues that may wait on the server, each on a connection of its own: [`Blocking`].

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    connect::pool::{Connection, Connector},
    error::Failure,
};

/// The connections that block, as many as configured, and the queues that have them: those that had
/// jobs last.
#[derive(Debug)]
pub(crate) struct Blocking {
    /// One permit for each connection.
    permits: Arc<Semaphore>,
    most: usize,
    last_id: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The queues that may wait, the one that had a job last first. At most `most`.
    queues: VecDeque<QueueId>,
    /// Connections that nobody waits on, the longest idle first, each with its cell.
    idle: Vec<(Cell, Connection)>,
}

/// Which of the cells that share a budget a connection is for; `None` without cells.
type Cell = Option<usize>;

/// An open queue of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct QueueId(u64);

/// The right to wait on the server with one command.
#[derive(Debug)]
pub(crate) struct Slot {
    blocking: Arc<Blocking>,
    _permit: OwnedSemaphorePermit,
}

impl Blocking {
    pub(crate) fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(most)),
            most,
            last_id: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Names a queue that was opened.
    pub(crate) fn open(&self) -> QueueId {
        QueueId(self.last_id.fetch_add(1, Ordering::Relaxed))
    }

    /// The queue is no more.
    pub(crate) fn close(&self, queue: QueueId) {
        self.state().queues.retain(|other| *other != queue);
    }

    /// The queue had a job, so it is the most recently active one.
    pub(crate) fn had_jobs(&self, queue: QueueId) {
        let queues = &mut self.state().queues;
        if queues.front() != Some(&queue) {
            queues.retain(|other| *other != queue);
            queues.push_front(queue);
            queues.truncate(self.most);
        }
    }

    /// A slot, if the queue is one of the most recently active ones. If it has just become one,
    /// another queue may still wait in its place, for as long as one command blocks.
    pub(crate) fn slot(self: &Arc<Self>, queue: QueueId) -> Option<Slot> {
        let queues = &mut self.state().queues;
        if !queues.contains(&queue) {
            if queues.len() >= self.most {
                return None;
            }
            queues.push_back(queue);
        }
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(Slot {
            blocking: Arc::clone(self),
            _permit: permit,
        })
    }

    /// Takes an idle connection of a cell.
    fn idle(&self, cell: Cell) -> Option<Connection> {
        let idle = &mut self.state().idle;
        let place = idle.iter().rposition(|(of, _)| *of == cell)?;
        Some(idle.remove(place).1)
    }

    /// Makes room for a new connection, among those that are in use and those that are idle.
    fn make_room(&self) {
        let in_use = self.most.saturating_sub(self.permits.available_permits());
        let surplus: Vec<_> = {
            let idle = &mut self.state().idle;
            let surplus = (in_use + idle.len()).saturating_sub(self.most);
            idle.drain(..surplus.min(idle.len())).collect()
        };
        // They close here, outside of the lock.
        drop(surplus);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Slot {
    /// A connection that nobody else uses.
    pub(crate) async fn connection(&self, connector: &Connector) -> Result<Connection, Failure> {
        let cell = cell_of(connector);
        while let Some(connection) = self.blocking.idle(cell) {
            if !connection.is_broken_now() {
                return Ok(connection);
            }
        }
        self.blocking.make_room();
        connector.connect_alone().await.map_err(Failure::not_sent)
    }

    /// Keeps a connection of `connector` for the next use. A connection without an answer must not
    /// be passed here.
    pub(crate) fn give_back(&self, connector: &Connector, connection: &Connection) {
        if !connection.is_broken() {
            let idle = (cell_of(connector), connection.clone());
            self.blocking.state().idle.push(idle);
        }
    }
}

fn cell_of(connector: &Connector) -> Cell {
    let cell = connector.slot().and_then(|slot| slot.cell());
    cell.map(|(_, cell)| cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_for_the_queues_that_had_jobs_last() {
        let blocking = Arc::new(Blocking::new(2));
        let [a, b, c] = [(); 3].map(|()| blocking.open());
        let (slot_a, slot_b) = (blocking.slot(a), blocking.slot(b));
        assert!(slot_a.is_some() && slot_b.is_some());
        assert!(blocking.slot(c).is_none(), "none is free");
        drop(slot_a);
        assert!(blocking.slot(c).is_none(), "it is for another");

        blocking.had_jobs(c);
        assert!(blocking.slot(b).is_none(), "c and a are more active");
        drop(slot_b);
        let slots = (blocking.slot(c), blocking.slot(a));
        assert!(slots.0.is_some() && slots.1.is_some());
        blocking.had_jobs(b);
        assert!(blocking.slot(b).is_none(), "both are taken as yet");
        drop(slots);
        assert!(blocking.slot(b).is_some() && blocking.slot(a).is_none());
        blocking.close(c);
        assert!(blocking.slot(a).is_some());
    }

    #[test]
    fn there_may_be_no_slot_at_all() {
        let blocking = Arc::new(Blocking::new(0));
        let queue = blocking.open();
        blocking.had_jobs(queue);
        assert!(blocking.slot(queue).is_none());
    }
}
