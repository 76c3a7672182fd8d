//! Which client `MyJob::enqueue(..)` uses.
//!
//! In this order: in a running job, the client of its own Verk; the client that a test installed for this tokio
//! runtime or this thread; the process's default.

use std::{
    cell::RefCell,
    collections::HashMap,
    future::Future,
    sync::{LazyLock, PoisonError, RwLock},
};

use tokio::runtime;

use crate::{client::Client, error::EnqueueError};

static DEFAULT: RwLock<Option<Client>> = RwLock::new(None);
static OF_RUNTIME: LazyLock<RwLock<HashMap<runtime::Id, Client>>> = LazyLock::new(RwLock::default);

thread_local! {
    static OF_THREAD: RefCell<Option<Client>> = const { RefCell::new(None) };
}

tokio::task_local! {
    static OF_JOB: Client;
}

impl Client {
    /// The client at hand.
    ///
    /// # Errors
    ///
    /// [`EnqueueError::NoClient`] when no Verk was built in this process.
    pub fn current() -> Result<Self, EnqueueError> {
        OF_JOB
            .try_with(Clone::clone)
            .ok()
            .or_else(of_runtime)
            .or_else(|| OF_THREAD.with_borrow(Clone::clone))
            .or_else(|| read(&DEFAULT).clone())
            .ok_or(EnqueueError::NoClient)
    }

    /// Makes this the process's default, instead of whichever was.
    pub fn set_default(&self) {
        *write(&DEFAULT) = Some(self.clone());
    }

    /// Makes this the process's default unless there is one.
    pub(crate) fn set_default_if_none(&self) {
        write(&DEFAULT).get_or_insert_with(|| self.clone());
    }

    /// Installs this client for the tokio runtime at hand, or for this thread outside of one, until the guard is dropped.
    ///
    /// For tests: `verk-testing` calls it. What the runtime spawns is covered, blocking threads included.
    ///
    /// # Errors
    ///
    /// [`AlreadyInstalled`] when one is installed there.
    pub fn install(&self) -> Result<Installed, AlreadyInstalled> {
        let place = match runtime::Handle::try_current() {
            Ok(handle) => {
                let id = handle.id();
                let mut clients = write(&OF_RUNTIME);
                if clients.contains_key(&id) {
                    return Err(AlreadyInstalled);
                }
                clients.insert(id, self.clone());
                Some(id)
            }
            Err(_) => OF_THREAD.with_borrow_mut(|client| match client {
                Some(_) => Err(AlreadyInstalled),
                None => {
                    *client = Some(self.clone());
                    Ok(None)
                }
            })?,
        };
        Ok(Installed { place })
    }

    /// Runs `future` with this client at hand.
    pub(crate) fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        OF_JOB.scope(self, future)
    }
}

/// Uninstalls a client when it is dropped. See [`Client::install`].
#[derive(Debug)]
#[must_use = "the client is uninstalled when this is dropped"]
pub struct Installed {
    /// The runtime; `None` for a thread.
    place: Option<runtime::Id>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        match self.place {
            Some(id) => {
                write(&OF_RUNTIME).remove(&id);
            }
            None => OF_THREAD.set(None),
        }
    }
}

/// Another client is installed for this runtime or thread already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another client is installed for this runtime already")]
pub struct AlreadyInstalled;

fn of_runtime() -> Option<Client> {
    let id = runtime::Handle::try_current().ok()?.id();
    read(&OF_RUNTIME).get(&id).cloned()
}

// A panic while a lock is held leaves these maps whole: each change is one insert or remove.
fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
