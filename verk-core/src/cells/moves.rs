//! Where queues lie that moved to another cell: [`Moves`].
//!
//! Each cell keeps where each of these queues lies, so a program may ask any of them. What it knows
//! may be out of date. That is safe: a cell refuses the steps that must happen in one cell only
//! ([`Gate`](crate::storage::Gate)), and all other jobs run where they are.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::Cells;
use crate::{
    names::QueueName,
    storage::{Gate, MovedQueue},
    time::clock::{Clock, SystemClock},
};

/// How often a program that enqueues asks where queues lie.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// How long it waits before it asks the next cell, and how long for an answer.
const AGAIN: Duration = Duration::from_millis(50);
const SLOW: Duration = Duration::from_secs(1);

/// Where a queue lies, as the cells keep it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The cell in which it lies.
    pub(crate) cell: usize,
    /// The cell to which it moves.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) to: Option<usize>,
    /// Whether it moves, and no cell is open for it until it has.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub(crate) closed: bool,
    /// The id of the last move.
    pub(crate) id: String,
    /// The other cells in which it lay.
    #[serde(default)]
    pub(crate) before: Vec<usize>,
    /// When the last move began, in seconds.
    pub(crate) since: f64,
}

impl Place {
    /// What a storage keeps says where a queue lies; `None` if it cannot be read.
    pub(crate) fn of(moved: &MovedQueue) -> Option<Self> {
        serde_json::from_str(&moved.place).ok()
    }

    /// As a cell keeps it.
    pub(crate) fn kept_by(&self, cell: usize, queue: &QueueName, revision: u64) -> MovedQueue {
        MovedQueue {
            queue: queue.clone(),
            revision,
            gate: match self.to {
                Some(to) if to == cell => Gate::Arriving,
                _ if self.cell == cell && !self.closed => Gate::Open,
                _ => Gate::Closed,
            },
            // Numbers always have a JSON form.
            place: serde_json::to_string(self).unwrap_or_default(),
        }
    }
}

/// What a program knows of queues that moved.
#[derive(Debug, Default)]
pub(super) struct Moves {
    known: RwLock<Known>,
    /// When somebody asked before an enqueue.
    asked: Mutex<Option<Instant>>,
    /// Held by the one who asks soon, and how often one did.
    asking: tokio::sync::Mutex<()>,
    answers: AtomicUsize,
    /// The cell to ask next.
    next: AtomicUsize,
}

#[derive(Debug, Default)]
struct Known {
    places: BTreeMap<QueueName, (u64, Place)>,
    /// How many times it changed.
    changes: u64,
}

impl Moves {
    /// The cell in which a queue lies, if it moved.
    pub(super) fn cell_of(&self, queue: &QueueName) -> Option<usize> {
        let known = self.known.read();
        known.places.get(queue).map(|(_, place)| place.cell)
    }

    /// The cells in which a queue lay.
    pub(super) fn before(&self, queue: &QueueName) -> Vec<usize> {
        let known = self.known.read();
        let place = known.places.get(queue);
        place.map_or_else(Vec::new, |(_, place)| place.before.clone())
    }

    /// Learns what a cell of this many keeps. Of two revisions, the higher one counts.
    fn learn(&self, moved: &[MovedQueue], cells: usize) {
        let places = moved.iter().filter_map(|moved| {
            let place = Place::of(moved)?;
            let of_place = place.before.iter().chain([&place.cell]).chain(&place.to);
            (of_place.copied().max() < Some(cells)).then_some((moved, place))
        });
        for (moved, place) in places {
            let mut known = self.known.write();
            let before = known.places.get(&moved.queue);
            if before.is_none_or(|(revision, _)| *revision < moved.revision) {
                let place = (moved.revision, place);
                known.places.insert(moved.queue.clone(), place);
                known.changes += 1;
            }
        }
    }
}

/// # Queues that moved
impl Cells {
    /// How many times this program learned that a queue moved.
    pub(crate) fn moves(&self) -> u64 {
        self.moves.known.read().changes
    }

    /// Learns what a cell keeps.
    pub(crate) fn learn(&self, moved: &[MovedQueue]) {
        self.moves.learn(moved, self.count());
    }

    /// The cells in which a queue lay before, without that in which it lies.
    pub(super) fn before(&self, queue: &QueueName) -> Vec<usize> {
        self.moves.before(queue)
    }

    /// Asks one cell where queues lie, and another one the next time.
    pub(crate) async fn ask_a_cell(&self) {
        let turn = self.moves.next.fetch_add(1, Ordering::Relaxed);
        self.ask(turn % self.count()).await;
    }

    /// Asks a cell where queues lie, a moment after somebody did. Those who ask at the same time
    /// wait for one answer.
    pub(super) async fn ask_soon(&self) {
        let clock: &dyn Clock = &SystemClock;
        let before = self.moves.answers.load(Ordering::Relaxed);
        let _first = self.moves.asking.lock().await;
        if self.moves.answers.load(Ordering::Relaxed) == before {
            clock.sleep(AGAIN).await;
            clock.timeout(SLOW, self.ask_a_cell()).await;
            self.moves.answers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Before jobs are enqueued by the places that are known: asks where queues lie if nobody did
    /// before, and now and then. Only the first time, the caller waits for an answer.
    pub(super) async fn ask_now_and_then(&self) {
        let now = (&SystemClock as &dyn Clock).instant();
        let is_first = {
            let mut asked = self.moves.asked.lock();
            if asked.is_some_and(|last| now.duration_since(last) < ASK_EVERY) {
                return;
            }
            asked.replace(now).is_none()
        };
        if is_first {
            let all = (0..self.count()).map(|cell| self.ask(cell));
            let mut all: FuturesUnordered<_> = all.collect();
            while all.next().await.is_some_and(|answered| !answered) {}
        } else if let Ok(runtime) = Handle::try_current() {
            let cells = self.clone();
            runtime.spawn(async move {
                let clock: &dyn Clock = &SystemClock;
                // So one task at most asks. It may end with its runtime.
                clock.timeout(SLOW, cells.ask_a_cell()).await;
            });
        }
    }

    /// Asks a cell where queues lie. Returns whether it answered.
    async fn ask(&self, cell: usize) -> bool {
        match self.storages()[cell].moved_queues().await {
            Ok(moved) => {
                self.moves.learn(&moved, self.count());
                true
            }
            // Another one answers, or the next time.
            Err(_) => false,
        }
    }
}
