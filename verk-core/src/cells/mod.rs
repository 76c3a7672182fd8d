//! The storages of a fleet: [`Cells`]. Most fleets have one.
//!
//! A *cell* is one complete storage: it has queues, sets, nodes, locks and statistics of its own. A
//! queue lies in one cell, which follows from its name ([`Cells::of`]) unless an operator moved it.
//! No atomic step ever crosses a cell.

pub(crate) mod clear;
mod fleet;
mod layout;
pub(crate) mod moves;
mod placement;

pub use self::layout::Layout;

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    cells::{
        fleet::Fleet,
        moves::Moves,
        placement::{place, places},
    },
    error::BuildError,
    names::QueueName,
    storage::Storage,
};

/// The storages of a fleet, by number. There is at least one. Cheap to clone.
///
/// All programs of a fleet need the same storages in the same order, because the number of a cell
/// decides which queues lie in it: see [`Layout`].
///
/// ```
/// use std::sync::Arc;
///
/// use verk_core::cells::Cells;
/// use verk_testing::MemoryStorage;
///
/// let cells = Cells::new(Arc::new(MemoryStorage::default()))
///     .with(Arc::new(MemoryStorage::default()))
///     .with(Arc::new(MemoryStorage::default()));
/// let mailers = "mailers".parse().unwrap();
/// assert_eq!((cells.count(), cells.of(&mailers)), (3, 1));
/// ```
#[derive(Clone, Debug)]
pub struct Cells {
    storages: Arc<[Arc<dyn Storage>]>,
    /// In how many cells each queue lies that lies in several.
    spread: Arc<BTreeMap<QueueName, usize>>,
    /// Where queues lie that moved.
    moves: Arc<Moves>,
}

impl Cells {
    /// A fleet on one storage, cell 0.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self::from_iter([storage])
    }

    /// Adds the next cell.
    #[must_use]
    pub fn with(self, storage: Arc<dyn Storage>) -> Self {
        let storages = self.storages.iter().cloned().chain([storage]);
        Self {
            storages: storages.collect(),
            ..self
        }
    }

    /// Spreads each of these queues over so many cells; more than there are mean all.
    pub(crate) fn spread(self, queues: &BTreeMap<QueueName, usize>) -> Self {
        Self {
            spread: Arc::new(queues.clone()),
            ..self
        }
    }

    /// How many cells there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.storages.len()
    }

    /// The number of the cell in which a queue lies; of a queue that is spread over several, the
    /// first. A queue that was [moved](crate::manage::Admin::move_queue) lies elsewhere than its
    /// name says, once this program knows that.
    #[must_use]
    pub fn of(&self, queue: &QueueName) -> usize {
        let moved = match self.is_spread(queue) {
            true => None,
            false => self.moves.cell_of(queue),
        };
        moved.unwrap_or_else(|| self.by_name(queue))
    }

    /// The number of the cell in which a queue lies that was never moved.
    pub(crate) fn by_name(&self, queue: &QueueName) -> usize {
        place(queue.as_str(), self.count())
    }

    /// The numbers of the cells in which a queue lies. There is at least one.
    pub(crate) fn all_of(&self, queue: &QueueName) -> Vec<usize> {
        match self.spread.get(queue) {
            None => vec![self.of(queue)],
            Some(&most) => places(queue.as_str(), self.count(), most.max(1)),
        }
    }

    /// The number of the cell for a job of a queue. In a queue that is spread over several cells,
    /// jobs of one partition have one cell.
    pub(crate) fn of_partition(&self, queue: &QueueName, partition: &str) -> usize {
        if !self.is_spread(queue) {
            return self.of(queue);
        }
        let all = self.all_of(queue);
        all[place(partition, all.len())]
    }

    /// Whether a queue lies in several cells.
    pub(crate) fn is_spread(&self, queue: &QueueName) -> bool {
        self.spread.contains_key(queue)
    }

    /// The number of the cell in which something else lies that has a name, such as the report of a
    /// process.
    #[must_use]
    pub fn of_name(&self, name: &str) -> usize {
        place(name, self.count())
    }

    /// The whole fleet as one storage, for a program that only enqueues or manages: make a
    /// [`Client`](crate::Client) of it. Of one cell it is that cell's storage, which costs nothing.
    ///
    /// A step of a node, such as a fetch or a heartbeat, fails there: a node works on each cell by
    /// itself. A read asks all cells and fails if one of them does. A change of a job goes to one
    /// cell, as one atomic step; a pause goes to all, and may be repeated after an error. Each
    /// error names its cell.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::sync::Arc;
    ///
    /// use verk_core::{Client, Job, cells::Cells};
    /// use verk_testing::MemoryStorage;
    ///
    /// let cells = Cells::new(Arc::new(MemoryStorage::default()))
    ///     .with(Arc::new(MemoryStorage::default()))
    ///     .with(Arc::new(MemoryStorage::default()));
    /// let client = Client::new(cells.view());
    /// for queue in ["mailers", "default", "critical"] {
    ///     client.enqueue(Job::new("Welcome", queue.parse()?, r#"["ada"]"#.to_owned())?).await?;
    /// }
    /// assert_eq!(client.admin().stats().await?.enqueued(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn view(&self) -> Arc<dyn Storage> {
        match self.storages() {
            [storage] => Arc::clone(storage),
            _ => Arc::new(Fleet::new(self.clone())),
        }
    }

    /// The storage of each cell.
    pub(crate) fn storages(&self) -> &[Arc<dyn Storage>] {
        &self.storages
    }

    /// Makes sure that each storage is the cell for which this program takes it. One storage alone
    /// costs nothing.
    pub(crate) async fn claim(&self) -> Result<(), BuildError> {
        if self.count() == 1 {
            return Ok(());
        }
        for (cell, storage) in self.storages().iter().enumerate() {
            let wanted = Layout::new(cell, self.count()).to_string();
            let found = storage.claim_layout(&wanted).await?;
            if found != wanted {
                let address = storage.address();
                return Err(BuildError::Layout {
                    address,
                    wanted,
                    found,
                });
            }
        }
        self.ask_a_cell().await;
        Ok(())
    }
}

/// The storages in the order of the cells. Without any, [`build`](crate::VerkBuilder::build) fails.
impl FromIterator<Arc<dyn Storage>> for Cells {
    fn from_iter<I: IntoIterator<Item = Arc<dyn Storage>>>(storages: I) -> Self {
        Self {
            storages: storages.into_iter().collect(),
            spread: Arc::default(),
            moves: Arc::default(),
        }
    }
}

/// Storages of one type, in the order of the cells.
impl<S: Storage> FromIterator<S> for Cells {
    fn from_iter<I: IntoIterator<Item = S>>(storages: I) -> Self {
        let storages = storages.into_iter();
        storages
            .map(|storage| Arc::new(storage) as Arc<dyn Storage>)
            .collect()
    }
}
