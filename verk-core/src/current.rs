//! Which client `MyJob::enqueue(..)` uses.
//!
//! In this order: in a running job, the client of its own Verk; the client that a test installed for this tokio
//! runtime or this thread; the process's default.

use std::{
    collections::{HashMap, hash_map},
    future::Future,
    panic::Location,
    sync::{
        LazyLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, ThreadId},
};

use tokio::runtime;

use crate::{client::Client, error::EnqueueError};

static DEFAULT: RwLock<Option<Client>> = RwLock::new(None);
static INSTALLED: LazyLock<RwLock<HashMap<Place, Entry>>> = LazyLock::new(RwLock::default);

/// Whether a client was ever installed in this process: in production none is.
static ANY: AtomicBool = AtomicBool::new(false);

/// Where a client is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Runtime(runtime::Id),
    Thread(ThreadId),
}

impl Place {
    /// The tokio runtime at hand, or this thread outside of one.
    fn here() -> Self {
        match runtime::Handle::try_current() {
            Ok(handle) => Self::Runtime(handle.id()),
            Err(_) => Self::Thread(thread::current().id()),
        }
    }
}

#[derive(Debug)]
struct Entry {
    client: Client,
    location: &'static Location<'static>,
}

tokio::task_local! {
    static OF_JOB: Client;
}

/// Whether a job runs here, now.
pub(crate) fn in_job() -> bool {
    OF_JOB.try_with(|_| ()).is_ok()
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
            .or_else(installed)
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
    /// For tests: `verk-testing` calls it. What the runtime spawns is covered, blocking threads included. Where this client is
    /// installed already, nothing changes.
    ///
    /// # Errors
    ///
    /// [`AlreadyInstalled`] when another one is installed there.
    #[track_caller]
    pub fn install(&self) -> Result<Installed, AlreadyInstalled> {
        let (place, location) = (Place::here(), Location::caller());
        ANY.store(true, Ordering::Relaxed);
        match write(&INSTALLED).entry(place) {
            hash_map::Entry::Occupied(entry) if entry.get().client.is(self) => {
                Ok(Installed { place: None })
            }
            hash_map::Entry::Occupied(entry) => Err(AlreadyInstalled {
                runtime: matches!(place, Place::Runtime(_)),
                first: entry.get().location,
                second: location,
            }),
            hash_map::Entry::Vacant(entry) => {
                entry.insert(Entry {
                    client: self.clone(),
                    location,
                });
                Ok(Installed { place: Some(place) })
            }
        }
    }

    /// Runs `future` with this client at hand.
    pub(crate) fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        OF_JOB.scope(self, future)
    }
}

/// Uninstalls a client when it is dropped, on any thread. See [`Client::install`].
#[derive(Debug)]
#[must_use = "the client is uninstalled when this is dropped"]
pub struct Installed {
    /// `None` when it was installed there already.
    place: Option<Place>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            // Dropped once the lock is free.
            let _entry = write(&INSTALLED).remove(&place);
        }
    }
}

/// Another client is installed for this runtime or thread already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "another client is installed for this {} already: at {first}, now at {second}",
    if *runtime { "tokio runtime" } else { "thread" }
)]
pub struct AlreadyInstalled {
    runtime: bool,
    first: &'static Location<'static>,
    second: &'static Location<'static>,
}

fn installed() -> Option<Client> {
    if !ANY.load(Ordering::Relaxed) {
        return None;
    }
    let clients = read(&INSTALLED);
    let of = |place| clients.get(&place).map(|entry| entry.client.clone());
    of(Place::here()).or_else(|| of(Place::Thread(thread::current().id())))
}

// A panic while a lock is held leaves these maps whole: each change is one insert or remove.
fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
