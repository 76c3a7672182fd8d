//! What the cells know of a queue that moves: [`Known`].

use crate::{
    cells::{Cells, moves::Place},
    error::StorageError,
    names::QueueName,
    storage::MovedQueue,
};

/// What the cells know of the queue.
#[derive(Debug)]
pub(super) struct Known {
    /// The revision of each cell; 0 if it knows nothing.
    revisions: Vec<u64>,
    pub(super) newest: u64,
    /// What the newest says.
    pub(super) place: Option<Place>,
}

impl Known {
    pub(super) async fn read(cells: &Cells, queue: &QueueName) -> Result<Self, StorageError> {
        let mut all: Vec<Option<MovedQueue>> = Vec::with_capacity(cells.count());
        for cell in cells.storages() {
            let mut moved = cell.moved_queues().await?.into_iter();
            all.push(moved.find(|moved| moved.queue == *queue));
        }
        let revisions: Vec<u64> = (all.iter())
            .map(|moved| moved.as_ref().map_or(0, |moved| moved.revision))
            .collect();
        let newest = all.iter().flatten().max_by_key(|moved| moved.revision);
        Ok(Self {
            newest: newest.map_or(0, |moved| moved.revision),
            place: newest.and_then(Place::of),
            revisions,
        })
    }

    /// Says to these cells, one after another, where the queue lies. Fails if another program has
    /// said something else.
    pub(super) async fn tell(
        &mut self,
        cells: &Cells,
        queue: &QueueName,
        place: &Place,
        numbers: &[usize],
        revision: u64,
    ) -> Result<(), StorageError> {
        for &cell in numbers {
            let moved = place.kept_by(cell, queue, revision);
            let seen = self.revisions[cell];
            let storage = &cells.storages()[cell];
            if seen < revision && !storage.record_move(&moved, seen).await? {
                let why = "another program moves this queue, too";
                return Err(StorageError::not_applied(
                    "move a queue to another cell",
                    why,
                ));
            }
            self.revisions[cell] = revision;
        }
        Ok(())
    }
}
