//! What a storage keeps as one of several cells: [`CellStore`].

use std::fmt;

use async_trait::async_trait;

use crate::{error::StorageError, names::QueueName};

/// What a storage keeps as one of several [cells](crate::cells) of a fleet.
///
/// A part of [`Storage`](super::Storage), whose page has the rules for errors and dropped futures.
#[async_trait]
pub trait CellStore: fmt::Debug + Send + Sync + 'static {
    /// Keeps `layout` as the [layout](crate::cells::Layout) of this storage, unless it has one, and
    /// returns the one that it then has. Only storages that are one of several cells are asked.
    ///
    /// Called again, it changes nothing.
    async fn claim_layout(&self, layout: &str) -> Result<String, StorageError>;

    /// Reads what this storage knows of queues that moved to another cell, in any order.
    async fn moved_queues(&self) -> Result<Vec<MovedQueue>, StorageError>;

    /// Keeps what `moved` says of its queue, if this storage has revision `seen` of that; 0 stands
    /// for nothing. Returns whether it had.
    ///
    /// From then on the gate holds: see [`Gate`].
    async fn record_move(&self, moved: &MovedQueue, seen: u64) -> Result<bool, StorageError>;
}

/// What a cell knows of a queue that moved, or moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedQueue {
    /// The queue.
    pub queue: QueueName,
    /// Each change of what the cells know of the queue has a higher one. From 1 on.
    pub revision: u64,
    /// What this cell accepts for the queue.
    pub gate: Gate,
    /// Where the queue lies and lay, opaque to the storage: without line feeds.
    pub place: String,
}

/// What a cell accepts for a queue, of the steps that must happen in one cell only: an enqueue that
/// takes a lock ([`enqueue_locked`]), one that happens once ([`enqueue_once`]), a run of the
/// timetable that takes a lock ([`tick_cron`]), and a new definition of an entry ([`upsert_cron`]).
///
/// What it does not accept is [`NotApplied`](crate::error::Applied::NotApplied), of the kind
/// [`Moved`](crate::error::StorageErrorKind::Moved). All other steps work as always: jobs run where
/// they are.
///
/// [`enqueue_locked`]: super::EffectStore::enqueue_locked
/// [`enqueue_once`]: super::EffectStore::enqueue_once
/// [`tick_cron`]: super::CronStore::tick_cron
/// [`upsert_cron`]: super::CronStore::upsert_cron
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// All of them, as for a queue that never moved.
    Open,
    /// Only what a move brings: enqueues that happen once, and definitions.
    Arriving,
    /// None of them.
    Closed,
}

impl Gate {
    /// As a storage keeps it: `open`, `arriving` or `closed`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Arriving => "arriving",
            Self::Closed => "closed",
        }
    }

    /// The gate with this text; `None` for another text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Open, Self::Arriving, Self::Closed];
        all.into_iter().find(|gate| gate.as_str() == text)
    }
}
