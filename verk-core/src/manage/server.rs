//! The server that the jobs are on.

use super::Admin;
use crate::{error::StorageError, storage::ServerFacts};

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

    /// Returns where the jobs are: such as host, port and database, never a password or a user.
    #[must_use]
    pub fn address(&self) -> String {
        self.storage().address()
    }
}
