//! The parts that each tokio runtime that uses a storage has for itself: [`Runtimes`].
//!
//! A connection belongs to the runtime that opened it. So every runtime gets a pool of its own, at
//! its first call. The pool is dropped with the runtime, or with the storage.

use std::{
    convert::Infallible,
    sync::{Arc, Weak},
};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
};

use crate::{
    connect::{
        asking::Asking,
        enqueue::Enqueues,
        pool::{Connector, Pool},
    },
    error::{Error, Failure},
    keys::Keys,
};

/// What one runtime has.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) pool: Pool,
    pub(crate) asking: Asking,
    pub(crate) enqueues: Enqueues,
    pub(crate) keys: Arc<Keys>,
    /// Ends the task that waits for the end of the runtime.
    _open: oneshot::Sender<Infallible>,
}

/// The runtimes that use a storage.
#[derive(Debug)]
pub(crate) struct Runtimes {
    connector: Connector,
    pool_size: u32,
    keys: Arc<Keys>,
    /// Few: most programs have one.
    open: RwLock<Vec<(runtime::Id, Arc<Local>)>>,
}

impl Runtimes {
    pub(crate) fn new(connector: Connector, pool_size: u32, keys: Arc<Keys>) -> Self {
        Self {
            connector,
            pool_size,
            keys,
            open: RwLock::default(),
        }
    }

    /// How many connections each pool keeps.
    pub(crate) fn pool_size(&self) -> u32 {
        self.pool_size
    }

    /// What the runtime of the caller has.
    pub(crate) fn here(self: &Arc<Self>) -> Result<Arc<Local>, Failure> {
        let Ok(runtime) = Handle::try_current() else {
            return Err(Failure::not_sent(Error::NoRuntime));
        };
        let known = find(&self.read(), runtime.id());
        Ok(known.unwrap_or_else(|| self.open(&runtime)))
    }

    fn open(self: &Arc<Self>, runtime: &Handle) -> Arc<Local> {
        let id = runtime.id();
        let (open, closed) = oneshot::channel();
        let local = {
            let mut all = self.write();
            if let Some(local) = find(&all, id) {
                return local;
            }
            let local = Arc::new(Local {
                pool: Pool::of(self.connector.clone(), self.pool_size, runtime),
                asking: Asking::new(self.connector.clone()),
                enqueues: Enqueues::new(runtime.clone()),
                keys: Arc::clone(&self.keys),
                _open: open,
            });
            all.push((id, Arc::clone(&local)));
            local
        };
        // A runtime drops its tasks when it ends, and a new task at once after that.
        let forget = Forget {
            runtimes: Arc::downgrade(self),
            id,
        };
        runtime.spawn(async move {
            let _forget = forget;
            // It can only end with an error: the storage was dropped.
            let _ = closed.await;
        });
        local
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<(runtime::Id, Arc<Local>)>> {
        self.open.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<(runtime::Id, Arc<Local>)>> {
        self.open.write()
    }
}

fn find(open: &[(runtime::Id, Arc<Local>)], id: runtime::Id) -> Option<Arc<Local>> {
    let (_, local) = open.iter().find(|(of, _)| *of == id)?;
    Some(Arc::clone(local))
}

/// Drops the parts of a runtime when the runtime drops this.
struct Forget {
    runtimes: Weak<Runtimes>,
    id: runtime::Id,
}

impl Drop for Forget {
    fn drop(&mut self) {
        let Some(runtimes) = self.runtimes.upgrade() else {
            return;
        };
        let mut all = runtimes.write();
        let place = all.iter().position(|(of, _)| *of == self.id);
        let gone = place.map(|place| all.swap_remove(place));
        drop(all);
        // Its connections close here, outside of the lock.
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use bb8_redis::redis;
    use verk_testing::RedisServer;

    use super::*;
    use crate::{RedisConfig, RedisStorage};

    fn runtime() -> runtime::Runtime {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap()
    }

    #[test]
    fn each_runtime_has_a_pool_until_it_ends() {
        let server = RedisServer::start();
        let first = runtime();
        let storage = first.block_on(RedisStorage::connect(RedisConfig::new(server.url())));
        let storage = storage.unwrap();
        let open = || storage.link.runtimes.read().len();
        let ping = || async { storage.link.ask(&redis::cmd("PING")).await.unwrap() };
        assert_eq!(open(), 0, "opened on first use");
        first.block_on(async {
            ping().await;
            ping().await;
        });
        assert_eq!(open(), 1);
        let second = runtime();
        second.block_on(ping());
        assert_eq!(open(), 2);
        drop(first);
        assert_eq!(open(), 1);
        second.block_on(ping());
        drop(second);
        assert_eq!(open(), 0);
    }

    #[test]
    fn a_storage_leaves_nothing_in_a_runtime() {
        let server = RedisServer::start();
        let runtime = runtime();
        runtime.block_on(async {
            let storage = RedisStorage::connect(RedisConfig::new(server.url())).await;
            let storage = storage.unwrap();
            storage.link.ask(&redis::cmd("PING")).await.unwrap();
            let tasks = || runtime.metrics().num_alive_tasks();
            assert!(tasks() > 0);
            drop(storage);
            let ended = async {
                while tasks() > 0 {
                    tokio::task::yield_now().await;
                }
            };
            verk_testing::within(std::time::Duration::from_secs(30), ended).await;
        });
    }
}
