//! Pauses, which each cell has.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{select_all, try_join_all};

use super::Fleet;
use crate::{
    error::StorageError,
    names::QueueName,
    storage::{PauseListener, PauseStore, StoredPause},
};

/// A queue is paused in all cells, because a node may run jobs of it from any. It counts as paused
/// if one cell says so, so that an operator sees a pause that is not complete.
#[async_trait]
impl PauseStore for Fleet {
    async fn pause(&self, queue: &QueueName, note: &Bytes) -> Result<bool, StorageError> {
        let changed = self.change_all(|cell| cell.pause(queue, note)).await?;
        Ok(changed.contains(&true))
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, StorageError> {
        let changed = self.change_all(|cell| cell.resume(queue)).await?;
        Ok(changed.contains(&true))
    }

    async fn paused_queues(&self) -> Result<Vec<QueueName>, StorageError> {
        let all = self.all(|cell| cell.paused_queues()).await?;
        let names: BTreeSet<QueueName> = all.into_iter().flatten().collect();
        Ok(names.into_iter().collect())
    }

    /// Of several notes for one queue, that of the cell in which the queue lies.
    async fn pauses(&self) -> Result<Vec<StoredPause>, StorageError> {
        let all = self.all(|cell| cell.pauses()).await?;
        let mut pauses: BTreeMap<QueueName, StoredPause> = BTreeMap::new();
        for (cell, of_cell) in all.into_iter().enumerate() {
            for pause in of_cell {
                let is_home = self.cells.of(&pause.queue) == cell && pause.note.is_some();
                let known = pauses.get(&pause.queue);
                if is_home || known.is_none_or(|known| known.note.is_none()) {
                    pauses.insert(pause.queue.clone(), pause);
                }
            }
        }
        Ok(pauses.into_values().collect())
    }

    async fn open_pause_listener(&self) -> Result<Box<dyn PauseListener>, StorageError> {
        let listeners = self.all(|cell| cell.open_pause_listener()).await?;
        Ok(Box::new(Listeners(listeners)))
    }
}

/// Listens to all cells.
#[derive(Debug)]
struct Listeners(Vec<Box<dyn PauseListener>>);

#[async_trait]
impl PauseListener for Listeners {
    async fn paused(&mut self) -> Result<BTreeSet<QueueName>, StorageError> {
        let reads = self.0.iter_mut().map(|listener| listener.paused());
        Ok(try_join_all(reads).await?.into_iter().flatten().collect())
    }

    async fn changed(&mut self) -> Result<(), StorageError> {
        let waits = self.0.iter_mut().map(|listener| listener.changed());
        select_all(waits).await.0
    }
}
