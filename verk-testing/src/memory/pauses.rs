//! Queues that are paused for all nodes.

use std::collections::{BTreeSet, btree_map::Entry};

use async_trait::async_trait;
use bytes::Bytes;
use verk_core::{
    QueueName, StorageError,
    storage::{PauseListener, PauseStore, StoredPause},
};

use super::{
    MemoryStorage,
    connection::MemoryPauseListener,
    faults::{Fault, Key},
    state::State,
};

const READ: &str = "read which queues are paused";

#[async_trait]
impl PauseStore for MemoryStorage {
    async fn pause(&self, queue: &QueueName, note: &Bytes) -> Result<bool, StorageError> {
        self.write("pause a queue", |state| state.pause(queue, note))
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, StorageError> {
        self.write("resume a queue", |state| state.resume(queue))
    }

    async fn paused_queues(&self) -> Result<Vec<QueueName>, StorageError> {
        let paused = self.read(READ, State::paused_queues)?;
        Ok(paused.into_iter().collect())
    }

    async fn pauses(&self) -> Result<Vec<StoredPause>, StorageError> {
        self.read(READ, State::pauses)
    }

    async fn open_pause_listener(&self) -> Result<Box<dyn PauseListener>, StorageError> {
        self.read("listen for pauses", |_| Ok(()))?;
        Ok(Box::new(MemoryPauseListener::new(self.clone())))
    }
}

impl State {
    /// Answers whether that changes anything.
    fn pause(&mut self, queue: &QueueName, note: &Bytes) -> Result<bool, Fault> {
        self.faults.check_key(Key::Paused)?;
        let entry = self.paused.entry(queue.clone());
        let is_new = matches!(entry, Entry::Vacant(_));
        entry.or_insert_with(|| note.clone());
        Ok(is_new)
    }

    /// Answers whether that changes anything.
    fn resume(&mut self, queue: &QueueName) -> Result<bool, Fault> {
        self.faults.check_key(Key::Paused)?;
        Ok(self.paused.remove(queue).is_some())
    }

    pub(super) fn is_paused(&self, queue: &QueueName) -> Result<bool, Fault> {
        self.faults.check_key(Key::Paused)?;
        Ok(self.paused.contains_key(queue))
    }

    pub(super) fn paused_queues(&self) -> Result<BTreeSet<QueueName>, Fault> {
        self.faults.check_key(Key::Paused)?;
        Ok(self.paused.keys().cloned().collect())
    }

    fn pauses(&self) -> Result<Vec<StoredPause>, Fault> {
        self.faults.check_key(Key::Paused)?;
        let pauses = self.paused.iter().map(|(queue, note)| StoredPause {
            queue: queue.clone(),
            note: (!note.is_empty()).then(|| note.clone()),
        });
        Ok(pauses.collect())
    }
}
