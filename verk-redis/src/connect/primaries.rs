//! The shared connections of the cells of a cluster, in one runtime: [`Primaries`].

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use verk_core::time::{Clock, SystemClock};

use crate::{
    connect::{
        directory::Address,
        fleet::Fleet,
        pool::{Connection, Pool},
    },
    error::Failure,
};

/// A pool for each primary that has slots of cells.
pub(crate) struct Primaries {
    fleet: Arc<Fleet>,
    /// How many connections each gets.
    size: u32,
    pools: Mutex<HashMap<Address, Pool>>,
}

impl Primaries {
    pub(crate) fn new(fleet: Arc<Fleet>, size: u32) -> Self {
        Self {
            fleet,
            size,
            pools: Mutex::default(),
        }
    }

    /// A connection to the primary that has the slot of a cell.
    pub(crate) async fn get(&self, cell: usize) -> Result<Connection, Failure> {
        let clock: &dyn Clock = &SystemClock;
        let patience = self.fleet.patience();
        match clock.timeout(patience, self.find(cell)).await {
            Some(connection) => connection,
            None => Err(self.no_connection(cell)),
        }
    }

    async fn find(&self, cell: usize) -> Result<Connection, Failure> {
        let clock: &dyn Clock = &SystemClock;
        let mut known = self.fleet.known();
        loop {
            let Some(owner) = self.owner(cell) else {
                if self.fleet.ask().await.is_err() || self.owner(cell).is_none() {
                    clock.sleep(ASK_AGAIN).await;
                }
                continue;
            };
            let pool = self.pool(&owner);
            let another = async {
                let another = known.wait_for(|known| known.owner(cell) != Some(&owner));
                drop(another.await);
            };
            tokio::select! {
                biased;
                connection = pool.get() => return connection,
                () = another => {}
            }
        }
    }

    fn owner(&self, cell: usize) -> Option<Address> {
        self.fleet.known().borrow().owner(cell).cloned()
    }

    /// The pool of a primary. Those of servers that have no slot any more end.
    fn pool(&self, address: &Address) -> Pool {
        let known = self.fleet.known();
        let mut unused = Vec::new();
        let mut pools = self.pools.lock();
        for other in pools.keys() {
            if other != address && !known.borrow().has_cells(other) {
                unused.push(other.clone());
            }
        }
        let unused: Vec<_> = unused.iter().map(|other| pools.remove(other)).collect();
        let pool = pools.entry(address.clone()).or_insert_with(|| {
            let connector = self.fleet.primary(address.clone());
            Pool::new(connector, self.size)
        });
        let pool = pool.clone();
        drop(pools);
        // Their connections close here, outside of the lock.
        drop(unused);
        pool
    }

    /// Ensures that no connection is one that was given up before the call: none is used again.
    pub(crate) fn drop_all(&self) {
        let pools = std::mem::take(&mut *self.pools.lock());
        drop(pools);
    }

    /// None came in time.
    fn no_connection(&self, cell: usize) -> Failure {
        match self.owner(cell) {
            Some(owner) => self.pool(&owner).no_connection(),
            None => self.fleet.no_primary(cell),
        }
    }
}

/// The pause after a question without an answer.
const ASK_AGAIN: Duration = Duration::from_millis(50);

impl fmt::Debug for Primaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primaries")
            .field("pools", &self.pools.lock().len())
            .finish_non_exhaustive()
    }
}
