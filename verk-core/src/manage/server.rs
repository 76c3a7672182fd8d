//! The server that the jobs are on.

use futures_util::future::join_all;

use super::Admin;
use crate::{error::StorageError, storage::ServerFacts};

/// What one [cell](crate::cells::Cells) says about itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CellStatus {
    /// The number of the cell.
    pub cell: usize,
    /// Where its jobs are: see [`Admin::address`].
    pub address: String,
    /// What its server says, or why it did not answer.
    pub facts: Result<ServerFacts, StorageError>,
}

/// # The server
impl Admin {
    /// Reads what the server says about itself: version, memory, connections, replicas and disk.
    ///
    /// A fact that the server does not tell is `None`. So is every fact of a server that refuses to
    /// tell them (in Redis, the right `+info`), and of a storage in memory.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// let admin = verk.admin();
    /// let facts = admin.server().await?;
    /// println!("{}: {:?} {:?}", admin.address(), facts.kind, facts.version);
    /// assert_eq!(facts.version, None, "this one is in memory");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage does not answer.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn server(&self) -> Result<ServerFacts, StorageError> {
        self.storage().server_facts().await
    }

    /// Reads what the server of each cell says about itself, in the order of the cells. One that
    /// does not answer has its error. A fleet on one storage has one cell.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use std::sync::Arc;
    /// # use verk_core::{Verk, cells::Cells};
    /// # use verk_testing::MemoryStorage;
    /// # let storage = || Arc::new(MemoryStorage::default());
    /// # let cells = Cells::new(storage()).with(storage());
    /// let verk = Verk::builder().cells(cells).build().await?;
    /// let cells = verk.admin().cells().await;
    /// assert_eq!(cells.len(), 2);
    /// assert!(cells.iter().all(|cell| cell.facts.is_ok()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn cells(&self) -> Vec<CellStatus> {
        let cells = self.client.essentials().cells.storages().iter();
        let asked = cells.enumerate().map(async |(cell, storage)| CellStatus {
            cell,
            address: storage.address(),
            facts: storage.server_facts().await,
        });
        join_all(asked).await
    }

    /// Returns where the jobs are: such as host, port and database, never a password or a user.
    #[must_use]
    pub fn address(&self) -> String {
        self.storage().address()
    }
}
