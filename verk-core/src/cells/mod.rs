//! The storages of a fleet: [`Cells`]. Most fleets have one.
//!
//! A *cell* is one complete storage: it has queues, sets, nodes, locks and statistics of its own. A
//! queue lies in one cell, which follows from its name ([`Cells::of`]). No atomic step ever crosses
//! a cell.

mod layout;
mod placement;

pub use self::layout::Layout;

use std::sync::Arc;

use crate::{cells::placement::place, error::BuildError, names::QueueName, storage::Storage};

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
pub struct Cells(Arc<[Arc<dyn Storage>]>);

impl Cells {
    /// A fleet on one storage, cell 0.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self(Arc::new([storage]))
    }

    /// Adds the next cell.
    #[must_use]
    pub fn with(self, storage: Arc<dyn Storage>) -> Self {
        self.0.iter().cloned().chain([storage]).collect()
    }

    /// How many cells there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The number of the cell in which a queue lies.
    #[must_use]
    pub fn of(&self, queue: &QueueName) -> usize {
        place(queue.as_str(), self.count())
    }

    /// The number of the cell in which something of this name lies that belongs to no queue.
    pub(crate) fn of_name(&self, name: &str) -> usize {
        place(name, self.count())
    }

    /// All cells as one storage, for clients and operators.
    #[must_use]
    pub fn view(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.0[0])
    }

    /// The storage of each cell.
    pub(crate) fn storages(&self) -> &[Arc<dyn Storage>] {
        &self.0
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
        Ok(())
    }
}

impl FromIterator<Arc<dyn Storage>> for Cells {
    fn from_iter<I: IntoIterator<Item = Arc<dyn Storage>>>(storages: I) -> Self {
        Self(storages.into_iter().collect())
    }
}
