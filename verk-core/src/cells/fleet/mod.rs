//! A fleet of several cells as one storage, for clients and operators: [`Fleet`].
//!
//! A storage that shards inside cannot carry the protocol of a node: a heartbeat, a fetch, a
//! settlement and a restore are only right if each is one atomic step of one storage. So this view
//! takes no part in that protocol. A node works on the storage of each cell, and every step of a
//! node fails here with [`NotApplied`](crate::error::Applied::NotApplied). The report of a process
//! is no such step: it goes to the cell of its identity.
//!
//! What is left is sound over several cells:
//!
//! 1. Each change of a job goes to one cell, as one atomic step there. Which cell follows from the
//!    queue of the job. If the job is not there, because its queue lay elsewhere before, the cells
//!    are asked one after another, and the first that holds the job changes it.
//! 2. A change of all cells, such as a pause, is idempotent. After an error the caller repeats it.
//! 3. A read asks all cells at once and joins their answers. If a cell fails, the read fails: a sum
//!    that lacks a cell would be wrong. Each error names its cell by number and address.
//!
//! Each cell has sets of its own, and each keeps its own limits: `max_dead_jobs` is that of a cell.
//!
//! The decisions are pure, in `merge`, `cursor`, `facts`, `running` and `sums`.

mod cursor;
mod facts;
mod jobs;
mod locks;
mod merge;
mod nodes;
mod pauses;
mod processes;
mod running;
mod sets;
mod stats;
mod sums;
mod timetable;
mod waiting;

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::atomic::AtomicUsize,
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use parking_lot::Mutex;

use crate::{
    cells::Cells,
    error::{Applied, StorageError},
    job::Job,
    names::{NodeId, QueueName},
    storage::{AuditStore, CellStore, LockRef, MovedQueue, Page, Server, ServerFacts, Storage},
    time::clock::{Clock, SystemClock},
};

/// Several cells as one storage. The [module](self) says what it can do.
#[derive(Debug)]
pub(super) struct Fleet {
    cells: Cells,
    /// In which cells the nodes are registered that were last read. An id is made for one
    /// registration, so what this has stays true.
    homes: Mutex<HashMap<NodeId, Vec<usize>>>,
    /// How many times jobs without a partition went to queues that are spread.
    turns: AtomicUsize,
}

/// The answer of a cell, on its way.
type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send + 'a>>;

impl Fleet {
    pub(super) fn new(cells: Cells) -> Self {
        Self {
            cells,
            homes: Mutex::default(),
            turns: AtomicUsize::new(0),
        }
    }

    fn count(&self) -> usize {
        self.cells.count()
    }

    /// The storage of a cell, which exists.
    fn cell(&self, cell: usize) -> &dyn Storage {
        &*self.cells.storages()[cell]
    }

    /// The cell in which a job belongs. One that names no queue belongs in cell 0. One of a queue
    /// that is spread over several cells belongs in that of its partition; without a partition, in
    /// that of its id.
    fn of_payload(&self, payload: &Bytes) -> usize {
        let job = Job::decode(payload.clone()).ok();
        let queue = job.as_ref().and_then(|job| Some((job, job.queue()?)));
        queue.map_or(0, |(job, queue)| {
            if !self.cells.is_spread(queue) {
                return self.cells.of(queue);
            }
            let partition = job.partition_key();
            let partition = partition.unwrap_or_else(|| job.jid().to_string());
            self.cells.of_partition(queue, &partition)
        })
    }

    /// The cell of a lock: in a queue that is spread over several cells, the lock is the partition.
    fn of_lock(&self, lock: &LockRef) -> usize {
        self.cells.of_partition(&lock.queue, &lock.id.to_string())
    }

    /// All cells, the first of them this one.
    fn from(&self, first: usize) -> impl Iterator<Item = usize> + use<> {
        let others = (0..self.count()).filter(move |cell| *cell != first);
        std::iter::once(first).chain(others)
    }

    /// Asks one cell.
    async fn at<'a, T>(
        &'a self,
        cell: usize,
        ask: impl FnOnce(&'a dyn Storage) -> Asked<'a, T>,
    ) -> Result<T, StorageError> {
        let answer = ask(self.cell(cell)).await;
        answer.map_err(|error| self.name(cell, error))
    }

    /// Asks all cells at once.
    async fn all<'a, T>(
        &'a self,
        ask: impl Fn(&'a dyn Storage) -> Asked<'a, T>,
    ) -> Result<Vec<T>, StorageError> {
        try_join_all((0..self.count()).map(|cell| self.at(cell, &ask))).await
    }

    /// Changes all cells at once. Unlike a read, it does not end at the first error.
    async fn change_all<'a, T>(
        &'a self,
        change: impl Fn(&'a dyn Storage) -> Asked<'a, T>,
    ) -> Result<Vec<T>, StorageError> {
        joined(join_all((0..self.count()).map(|cell| self.at(cell, &change))).await)
    }

    /// The error of a cell, with its number and its address.
    fn name(&self, cell: usize, error: StorageError) -> StorageError {
        error.in_cell(cell, self.cell(cell).address())
    }
}

/// For how long a change waits for a queue to arrive in its cell.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says when a change that a cell refused, because the queue moves, may be made again.
struct Patience {
    until: Instant,
    /// How many moves were known before the change was sent.
    moves: u64,
}

impl Patience {
    fn new(fleet: &Fleet) -> Self {
        let clock: &dyn Clock = &SystemClock;
        Self {
            until: clock.instant_in(PATIENCE),
            moves: fleet.cells.moves(),
        }
    }

    /// Waits until this program knows more than when the change was sent. Returns whether it does.
    async fn look(&mut self, fleet: &Fleet) -> bool {
        let clock: &dyn Clock = &SystemClock;
        loop {
            let moves = fleet.cells.moves();
            if moves != self.moves {
                self.moves = moves;
                return true;
            }
            if clock.instant() >= self.until {
                return false;
            }
            fleet.cells.ask_soon().await;
        }
    }
}

/// Groups what belongs to cells, each with the number of its cell, in the given order.
fn by_cell<T>(items: impl IntoIterator<Item = (usize, T)>) -> BTreeMap<usize, Vec<T>> {
    let mut groups: BTreeMap<usize, Vec<T>> = BTreeMap::new();
    for (cell, item) in items {
        groups.entry(cell).or_default().push(item);
    }
    groups
}

/// Some of the items, by their numbers.
fn picked<T: Clone>(items: &[T], numbers: &[usize]) -> Vec<T> {
    numbers
        .iter()
        .map(|&number| items[number].clone())
        .collect()
}

/// The answers of cells that each changed something. If some failed, the error says so, and is
/// `NotApplied` only if no cell changed anything.
fn joined<T>(answers: Vec<Result<T, StorageError>>) -> Result<Vec<T>, StorageError> {
    let (mut done, mut failed, mut is_applied) = (Vec::new(), None, false);
    for answer in answers {
        match answer {
            Ok(answer) => {
                is_applied = true;
                done.push(answer);
            }
            Err(error) => {
                is_applied |= error.applied() == Applied::Unknown;
                failed.get_or_insert(error);
            }
        }
    }
    match failed {
        None => Ok(done),
        Some(error) if is_applied => Err(error.maybe_applied()),
        Some(error) => Err(error),
    }
}

/// The answer to what only a node does.
fn of_a_node<T>(op: &'static str) -> Result<T, StorageError> {
    Err(step_of_a_node(op))
}

fn step_of_a_node(op: &'static str) -> StorageError {
    StorageError::not_applied(op, "this is a step of a node, which works on one cell")
}

/// The list of what operators did lies in cell 0.
#[async_trait]
impl AuditStore for Fleet {
    async fn record_action(&self, entry: &Bytes) -> Result<(), StorageError> {
        self.at(0, |cell| cell.record_action(entry)).await
    }

    async fn actions(&self, page: Page) -> Result<Vec<Bytes>, StorageError> {
        self.at(0, |cell| cell.actions(page)).await
    }
}

#[async_trait]
impl CellStore for Fleet {
    async fn claim_layout(&self, _layout: &str) -> Result<String, StorageError> {
        of_a_node("claim a cell")
    }

    /// What the cell says that knows the newest revision.
    async fn moved_queues(&self) -> Result<Vec<MovedQueue>, StorageError> {
        let all = self.all(|cell| cell.moved_queues()).await?;
        let mut newest: BTreeMap<QueueName, MovedQueue> = BTreeMap::new();
        for moved in all.into_iter().flatten() {
            let known = newest.get(&moved.queue);
            if known.is_none_or(|known| known.revision < moved.revision) {
                newest.insert(moved.queue.clone(), moved);
            }
        }
        Ok(newest.into_values().collect())
    }

    async fn record_move(&self, _moved: &MovedQueue, _seen: u64) -> Result<bool, StorageError> {
        of_a_node("record where a queue lies")
    }
}

#[async_trait]
impl Server for Fleet {
    /// The time of cell 0.
    async fn server_time(&self) -> Result<SystemTime, StorageError> {
        self.at(0, |cell| cell.server_time()).await
    }

    /// Each fact is that of the cell where it is worst.
    async fn server_facts(&self) -> Result<ServerFacts, StorageError> {
        let all = self.all(|cell| cell.server_facts()).await?;
        Ok(all.into_iter().reduce(facts::worst).unwrap_or_default())
    }

    fn lost_connections(&self) -> u64 {
        let cells = self.cells.storages().iter();
        let lost = cells.map(|cell| cell.lost_connections());
        lost.fold(0, u64::saturating_add)
    }

    /// The addresses of the first [`SHOWN`] cells, and how many more there are.
    fn address(&self) -> String {
        let cells = self.cells.storages().iter();
        let shown: Vec<String> = cells.take(SHOWN).map(|cell| cell.address()).collect();
        match self.count().saturating_sub(SHOWN) {
            0 => shown.join(", "),
            more => format!("{}, and {more} more", shown.join(", ")),
        }
    }
}

/// How many cells the address of a fleet names.
const SHOWN: usize = 4;
