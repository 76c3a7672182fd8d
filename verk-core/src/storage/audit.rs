//! The list of what operators did.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{error::StorageError, storage::Page};

/// The list of what operators did, as the programs reported it that they used.
///
/// A part of [`Storage`](super::Storage), whose page has the rules for errors and dropped futures.
#[async_trait]
pub trait AuditStore: fmt::Debug + Send + Sync + 'static {
    /// Adds an entry to the list, and removes the oldest above [`MAX_AUDIT_ENTRIES`], in one atomic
    /// step. A full storage takes it as well, because operators act on a full storage.
    ///
    /// Called twice, it stores the entry twice.
    async fn record_action(&self, entry: &Bytes) -> Result<(), StorageError>;

    /// Reads a page of the list, the newest entry first. Changes nothing.
    async fn actions(&self, page: Page) -> Result<Vec<Bytes>, StorageError>;
}

/// The most entries that the list has.
pub const MAX_AUDIT_ENTRIES: usize = 10_000;
