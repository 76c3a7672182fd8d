//! What the cells of a cluster share in one runtime: [`Primaries`].

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use verk_core::time::{Clock, SystemClock};

use crate::{
    connect::{
        directory::Address,
        enqueue::Enqueues,
        fleet::Fleet,
        pool::{Connection, Pool},
    },
    error::Failure,
};

/// The primaries that have slots of cells.
pub(crate) struct Primaries {
    fleet: Arc<Fleet>,
    runtime: Handle,
    /// How many connections each gets.
    size: u32,
    open: Mutex<HashMap<Address, Arc<AtPrimary>>>,
}

/// What all cells at one primary share.
#[derive(Debug)]
pub(crate) struct AtPrimary {
    fleet: Arc<Fleet>,
    address: Address,
    pool: Pool,
    pub(crate) enqueues: Enqueues,
}

impl AtPrimary {
    /// A connection for enqueues; `None` if the primary has no cell any more.
    pub(crate) async fn connection(&self) -> Option<Result<Connection, Failure>> {
        let mut known = self.fleet.known();
        let deserted = async {
            let deserted = known.wait_for(|known| !known.has_cells(&self.address));
            drop(deserted.await);
        };
        tokio::select! {
            biased;
            connection = self.enqueues.connection(&self.pool) => Some(connection),
            () = deserted => None,
        }
    }
}

impl Primaries {
    pub(crate) fn new(fleet: Arc<Fleet>, runtime: Handle, size: u32) -> Self {
        Self {
            fleet,
            runtime,
            size,
            open: Mutex::default(),
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
            let at = self.at(&owner);
            let another = async {
                let another = known.wait_for(|known| known.owner(cell) != Some(&owner));
                drop(another.await);
            };
            tokio::select! {
                biased;
                connection = at.pool.get() => return connection,
                () = another => {}
            }
        }
    }

    fn owner(&self, cell: usize) -> Option<Address> {
        self.fleet.look().owner(cell).cloned()
    }

    /// What the cells at the primary of this cell share; `None` if the primary is not known, or
    /// nobody has used it.
    pub(crate) fn at_owner(&self, cell: usize) -> Option<Arc<AtPrimary>> {
        let open = self.open.lock();
        open.get(self.fleet.look().owner(cell)?).cloned()
    }

    /// What the cells at a primary share. That of servers that have no slot any more ends.
    fn at(&self, address: &Address) -> Arc<AtPrimary> {
        let mut unused = Vec::new();
        let mut open = self.open.lock();
        for other in open.keys() {
            if other != address && !self.fleet.look().has_cells(other) {
                unused.push(other.clone());
            }
        }
        let unused: Vec<_> = unused.iter().map(|other| open.remove(other)).collect();
        let at = open.entry(address.clone()).or_insert_with(|| {
            let connector = self.fleet.primary(address.clone());
            Arc::new(AtPrimary {
                fleet: Arc::clone(&self.fleet),
                address: address.clone(),
                pool: Pool::new(connector, self.size),
                enqueues: Enqueues::new(self.runtime.clone()),
            })
        });
        let at = Arc::clone(at);
        drop(open);
        // Their connections close here, outside of the lock.
        drop(unused);
        at
    }

    /// Ensures that no connection is one that was given up before the call: none is used again.
    pub(crate) fn drop_all(&self) {
        let open = std::mem::take(&mut *self.open.lock());
        drop(open);
    }

    /// None came in time.
    fn no_connection(&self, cell: usize) -> Failure {
        match self.owner(cell) {
            Some(owner) => self.at(&owner).pool.no_connection(),
            None => self.fleet.no_primary(cell),
        }
    }
}

/// The pause after a question without an answer.
const ASK_AGAIN: Duration = Duration::from_millis(50);

impl fmt::Debug for Primaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primaries")
            .field("open", &self.open.lock().len())
            .finish_non_exhaustive()
    }
}
