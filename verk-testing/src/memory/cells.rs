//! What a storage keeps as one of several cells.

use async_trait::async_trait;
use verk_core::{
    QueueName, StorageError,
    storage::{CellStore, Gate, MovedQueue},
};

use super::{MemoryStorage, faults::Fault, state::State};

impl State {
    /// Whether the queue lies here, as far as this cell knows. `also` is another gate that will do.
    pub(super) fn check_moved(
        &self,
        queue: Option<&QueueName>,
        also: Option<Gate>,
    ) -> Result<(), Fault> {
        let moved = queue.and_then(|queue| self.moved.get(queue));
        match moved.map(|moved| moved.gate) {
            Some(gate) if gate != Gate::Open && Some(gate) != also => Err(Fault::QueueMoved),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl CellStore for MemoryStorage {
    async fn claim_layout(&self, layout: &str) -> Result<String, StorageError> {
        self.write("keep which cell this is", |state| {
            let kept = state.layout.get_or_insert_with(|| layout.to_owned());
            Ok(kept.clone())
        })
    }

    async fn moved_queues(&self) -> Result<Vec<MovedQueue>, StorageError> {
        self.read("read which queues moved", |state| {
            Ok(state.moved.values().cloned().collect())
        })
    }

    async fn record_move(&self, moved: &MovedQueue, seen: u64) -> Result<bool, StorageError> {
        self.write("record where a queue lies", |state| {
            let known = state.moved.get(&moved.queue);
            if known.map_or(0, |known| known.revision) != seen {
                return Ok(false);
            }
            state.moved.insert(moved.queue.clone(), moved.clone());
            Ok(true)
        })
    }
}
