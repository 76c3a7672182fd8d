//! Which client `MyJob::enqueue(..)` uses.
//!
//! In this order:
//!
//! 1. in a running job, the client of its own Verk;
//! 2. the client that a test installed for this tokio runtime or this thread;
//! 3. of the clients that were made in this tokio runtime: the default of the process or, without
//!    one, that of the newest Verk;
//! 4. the default of the process or, without one, the client of the newest Verk.
//!
//! The last two never name a Verk that was shut down or dropped.

use std::{
    collections::{HashMap, hash_map},
    future::Future,
    panic::Location,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, ThreadId},
};

use parking_lot::RwLock;
use tokio::runtime;

use crate::{client::Client, error::EnqueueError};

static CLIENTS: RwLock<Clients> = RwLock::new(Clients {
    default: None,
    live: Vec::new(),
});
static INSTALLED: LazyLock<RwLock<HashMap<Place, InstalledClient>>> =
    LazyLock::new(RwLock::default);

/// Whether a client was installed in this process. In production, no client is installed.
static ANY: AtomicBool = AtomicBool::new(false);

/// The clients that belong to no job and no test.
struct Clients {
    /// The one that said [`set_default`](Client::set_default).
    default: Option<Client>,
    /// Those of the live Verks, the newest last.
    live: Vec<Client>,
}

impl Clients {
    /// The client for the runtime that `here` finds.
    fn choose(&self, here: impl FnOnce() -> Option<runtime::Id>) -> Option<&Client> {
        match (&self.default, &*self.live) {
            (None, [] | [_]) => return self.live.last(),
            (Some(_), []) => return self.default.as_ref(),
            _ => {}
        }
        let here = here();
        let is_here = |client: &&Client| here.is_some() && client.life().runtime == here;
        let default = self.default.as_ref();
        default
            .filter(is_here)
            .or_else(|| self.live.iter().rev().find(is_here))
            .or(default)
            .or_else(|| self.live.last())
    }
}

/// Where a client was made, and whether its Verk lives. Its clones share it, and so do clients that
/// are made from it.
#[derive(Debug)]
pub(crate) struct Life {
    runtime: Option<runtime::Id>,
    ended: AtomicBool,
}

impl Life {
    /// Of a client that is made here.
    pub(crate) fn begin() -> Arc<Self> {
        Arc::new(Self {
            runtime: runtime_here(),
            ended: AtomicBool::new(false),
        })
    }
}

fn runtime_here() -> Option<runtime::Id> {
    let runtime = runtime::Handle::try_current().ok()?;
    Some(runtime.id())
}

/// Where a client is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Runtime(runtime::Id),
    Thread(ThreadId),
}

impl Place {
    /// The current tokio runtime, or this thread outside of a runtime.
    fn here() -> Self {
        match runtime_here() {
            Some(runtime) => Self::Runtime(runtime),
            None => Self::Thread(thread::current().id()),
        }
    }
}

#[derive(Debug)]
struct InstalledClient {
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
    /// Returns the current client. It is the first of these that exists:
    ///
    /// 1. in a running job, the client of its Verk;
    /// 2. the client that a test installed;
    /// 3. of the clients that were made in this tokio runtime, the default or that of the newest
    ///    Verk;
    /// 4. of all clients, the default or that of the newest Verk.
    ///
    /// # Errors
    ///
    /// [`EnqueueError::NoClient`] when there is none: no Verk was built in this process, or every
    /// Verk was shut down or dropped.
    pub fn current() -> Result<Self, EnqueueError> {
        OF_JOB
            .try_with(Clone::clone)
            .ok()
            .or_else(installed)
            .or_else(|| CLIENTS.read().choose(runtime_here).cloned())
            .ok_or(EnqueueError::NoClient)
    }

    /// Makes this client the default of the process, and replaces the old default. A tokio runtime
    /// in which other clients were made, but not this one, still uses the newest of its own.
    ///
    /// Does nothing when this is the client of a Verk that was shut down or dropped. A default ends
    /// with its Verk.
    pub fn set_default(&self) {
        let mut known = CLIENTS.write();
        if self.life().ended.load(Ordering::Relaxed) {
            return;
        }
        let before = known.default.replace(self.clone());
        drop(known);
        // What it holds may call back.
        drop(before);
    }

    /// Lets [`current`](Self::current) find this client of a Verk, until it is
    /// [retired](Self::retire).
    pub(crate) fn announce(&self) {
        CLIENTS.write().live.push(self.clone());
    }

    /// The Verk of this client was shut down or dropped.
    pub(crate) fn retire(&self) {
        self.life().ended.store(true, Ordering::Relaxed);
        let is_retired = |client: &mut Client| Arc::ptr_eq(client.life(), self.life());
        let mut known = CLIENTS.write();
        let default = known.default.take_if(is_retired);
        let live: Vec<Client> = known.live.extract_if(.., is_retired).collect();
        drop(known);
        // What they hold may call back.
        drop((default, live));
    }

    /// Installs this client for the current tokio runtime, or for this thread outside of a runtime,
    /// until the guard is dropped.
    ///
    /// For tests: `verk-testing` calls it. It covers everything that the runtime spawns, blocking
    /// threads included. If this client is already installed there, nothing changes.
    ///
    /// # Errors
    ///
    /// [`AlreadyInstalled`] when another one is installed there.
    #[track_caller]
    pub fn install(&self) -> Result<Installed, AlreadyInstalled> {
        let (place, location) = (Place::here(), Location::caller());
        ANY.store(true, Ordering::Relaxed);
        match INSTALLED.write().entry(place) {
            hash_map::Entry::Occupied(entry) if entry.get().client.is(self) => {
                Ok(Installed { place: None })
            }
            hash_map::Entry::Occupied(entry) => Err(AlreadyInstalled {
                runtime: matches!(place, Place::Runtime(_)),
                first: entry.get().location,
                second: location,
            }),
            hash_map::Entry::Vacant(entry) => {
                entry.insert(InstalledClient {
                    client: self.clone(),
                    location,
                });
                Ok(Installed { place: Some(place) })
            }
        }
    }

    /// Runs `future` with this client as the current one.
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
            let _entry = INSTALLED.write().remove(&place);
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
    let clients = INSTALLED.read();
    let of = |place| clients.get(&place).map(|entry| entry.client.clone());
    of(Place::here()).or_else(|| of(Place::Thread(thread::current().id())))
}
