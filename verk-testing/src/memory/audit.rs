//! The list of what operators did.

use async_trait::async_trait;
use bytes::Bytes;
use verk_core::{
    StorageError,
    storage::{AuditStore, MAX_AUDIT_ENTRIES, Page},
};

use super::{MemoryStorage, state::slice};

#[async_trait]
impl AuditStore for MemoryStorage {
    async fn record_action(&self, entry: &Bytes) -> Result<(), StorageError> {
        self.write("record what an operator did", |state| {
            state.actions.push_front(entry.clone());
            state.actions.truncate(MAX_AUDIT_ENTRIES);
            Ok(())
        })
    }

    async fn actions(&self, page: Page) -> Result<Vec<Bytes>, StorageError> {
        self.read("read what operators did", |state| {
            Ok(slice(state.actions.iter().cloned(), page, Bytes::len))
        })
    }
}
