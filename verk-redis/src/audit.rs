//! The list of what operators did.

use async_trait::async_trait;
use bytes::Bytes;
use verk_core::{
    StorageError,
    storage::{AuditStore, MAX_AUDIT_ENTRIES, Page},
};

use crate::{
    connect::scripts::{self, arg},
    storage::RedisStorage,
};

#[async_trait]
impl AuditStore for RedisStorage {
    async fn record_action(&self, entry: &Bytes) -> Result<(), StorageError> {
        let keys = [self.link.keys.audit()];
        let args = [(&entry[..]).into(), arg(MAX_AUDIT_ENTRIES)];
        let recorded = self.link.run(&scripts::RECORD_ACTION, &keys, &args).await;
        recorded
            .map(|_| ())
            .map_err(|failure| failure.during("record what an operator did"))
    }

    async fn actions(&self, page: Page) -> Result<Vec<Bytes>, StorageError> {
        let key = self.link.keys.audit();
        self.read_page("read what operators did", key, page).await
    }
}
