//! The conformance suite: tests of what every [`Storage`] must do.
//!
//! Each case is a plain async function of one fresh [`Harness`];
//! [`storage_conformance!`](crate::storage_conformance) turns each into a `#[tokio::test]` of its
//! own, so that it can be run by name and fails alone.
//!
//! # For the author of a backend
//!
//! Implement [`Harness`] over your storage, with its tools for what a storage itself cannot do
//! (break a key, lose a reply), and call the macro in a file of your `tests` directory. Your crate
//! needs `tokio` with the features `macros` and `rt-multi-thread` for it.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use async_trait::async_trait;
//! use bytes::Bytes;
//! use verk_core::{names::NodeId, storage::{Inprogress, JobSet, LockId, Storage}};
//! use verk_testing::{Key, MemoryStorage, Operation, conformance::{Dump, Harness, ScoredJob}};
//!
//! /// A new database of its own for each test. Here it is a storage in memory, which can do all of this itself.
//! struct MyHarness {
//!     database: MemoryStorage,
//! }
//!
//! impl MyHarness {
//!     async fn start() -> Self {
//!         Self { database: MemoryStorage::default() }
//!     }
//! }
//!
//! #[async_trait]
//! impl Harness for MyHarness {
//!     fn storage(&self) -> Arc<dyn Storage> {
//!         Arc::new(self.database.clone())
//!     }
//!     async fn dump(&self) -> Dump {
//!         self.database.dump().await // every key with its content, straight from the database
//!     }
//!     async fn expire_heartbeat(&self, node: &NodeId) {
//!         self.database.expire_heartbeat(node).await // delete its key
//!     }
//!     async fn heartbeat_ttl(&self, node: &NodeId) -> Option<Duration> {
//!         self.database.heartbeat_ttl(node).await
//!     }
//!     async fn expire_name(&self, node: &NodeId) {
//!         self.database.expire_name(node).await
//!     }
//!     async fn expire_lock(&self, lock: LockId) {
//!         self.database.expire_lock(lock).await // delete its key
//!     }
//!     async fn expire_process(&self, identity: &str) {
//!         self.database.expire_process(identity).await // delete its key
//!     }
//!     async fn add_member(&self, set: JobSet, member: ScoredJob) {
//!         self.database.add_member(set, member).await
//!     }
//!     async fn add_inprogress(&self, held: &Inprogress, job: Bytes) {
//!         self.database.add_inprogress(held, job).await
//!     }
//!     async fn dequeue_is_waiting(&self) {
//!         self.database.dequeue_is_waiting().await // ask the server for blocked clients
//!     }
//!     async fn break_key(&self, key: &Key) {
//!         self.database.break_key(key).await // rename it, put a value of another type there
//!     }
//!     async fn mend_key(&self, key: &Key) {
//!         self.database.mend_key(key).await // delete that value, rename it back
//!     }
//!     async fn fill(&self) {
//!         self.database.fill().await // set the memory limit below what is used
//!     }
//!     async fn make_room(&self) {
//!         self.database.make_room().await
//!     }
//!     async fn lose_reply(&self, operation: Operation) {
//!         self.database.lose_reply(operation).await // tell the proxy in front of the server
//!     }
//!     async fn disconnect(&self) {
//!         self.database.disconnect().await
//!     }
//!     async fn reconnect(&self) {
//!         self.database.reconnect().await
//!     }
//! }
//!
//! verk_testing::storage_conformance!(MyHarness::start().await);
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // A case is a function, and can be called as one:
//! use verk_testing::conformance::queue;
//! queue::jobs_are_fetched_in_the_order_of_enqueue(&MyHarness::start().await).await;
//! # }
//! ```

mod fixture;
mod macros;

pub mod audit;
pub mod cron;
pub mod dead_set;
pub mod effects;
pub mod exchange;
pub mod faults;
pub mod inprogress;
pub mod layout;
pub mod lease;
pub mod lists;
pub mod manage;
pub mod moved;
pub mod node;
pub mod once;
pub mod overlap;
pub mod pauses;
pub mod poison;
pub mod process;
pub mod queue;
pub mod replace;
pub mod restore;
pub mod retry_set;
pub mod scan;
pub mod schedule;
pub mod stats;
pub mod unique;

use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use verk_core::{
    names::NodeId,
    storage::{Inprogress, JobSet, LockId, Storage},
};

use crate::{Key, Operation, within};

/// How long one case may take in real time. This is no measure of speed: a case that takes so long
/// hangs.
const CASE_DEADLINE: Duration = Duration::from_secs(120);

/// A member of a sorted set with its score.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredJob {
    /// Seconds since 1970, or any number.
    pub score: f64,
    /// The payload.
    pub job: Bytes,
}

/// One storage under test, with methods that a test needs and a storage lacks.
///
/// Every case gets a harness of its own, which starts empty. Methods that set something up panic if
/// they cannot: a case that could not be run is never skipped.
#[async_trait]
pub trait Harness: Send + Sync {
    /// Returns the storage under test, with the same content in each call.
    fn storage(&self) -> Arc<dyn Storage>;

    /// Reads the whole content of the backend, without the storage under test.
    async fn dump(&self) -> Dump;

    /// Ends the heartbeat of `node`, as if its time to live had passed.
    async fn expire_heartbeat(&self, node: &NodeId);

    /// Returns how long the heartbeat of `node` lasts if it is not renewed; `None` if it is gone.
    async fn heartbeat_ttl(&self, node: &NodeId) -> Option<Duration>;

    /// Ends the claim on the name of `node` (for any holder), as if its time to live had passed.
    async fn expire_name(&self, node: &NodeId);

    /// Ends a lock that has a time, as if that had passed.
    async fn expire_lock(&self, lock: LockId);

    /// Ends the report of the process called `identity`, as if its time to live had passed.
    async fn expire_process(&self, identity: &str);

    /// Puts a member with any score into `set`, as another program might.
    async fn add_member(&self, set: JobSet, member: ScoredJob);

    /// Puts a job into an `inprogress` list, as another program might, for a node that may not be
    /// registered.
    async fn add_inprogress(&self, held: &Inprogress, job: Bytes);

    /// Completes once a [`dequeue`](verk_core::storage::QueueConnection::dequeue) waits for a job
    /// in the backend.
    ///
    /// A backend that cannot know it may return at once: the cases hold then too, but test less.
    async fn dequeue_is_waiting(&self);

    /// Stores a value of another type under `key`, and sets the old one aside. The key may exist or
    /// not.
    async fn break_key(&self, key: &Key);

    /// Undoes [`break_key`](Self::break_key): the old value is back.
    async fn mend_key(&self, key: &Key);

    /// Makes the backend full: it refuses to store anything more, but its jobs can be moved.
    async fn fill(&self);

    /// Undoes [`fill`](Self::fill).
    async fn make_room(&self);

    /// Loses the reply to the next `operation`: the backend does it, and the connection ends before
    /// the answer arrives.
    ///
    /// A `dequeue` that waits now counts as well. The cases call it after each operation has been
    /// done once on this harness, so that scripts and connections for a first use exist.
    async fn lose_reply(&self, operation: Operation);

    /// Makes the backend unreachable: open connections end, new ones fail. Its content stays.
    async fn disconnect(&self);

    /// Undoes [`disconnect`](Self::disconnect).
    async fn reconnect(&self);
}

/// The whole content of a backend, to compare: by key, the entries in their order.
///
/// The form of keys and entries is up to the backend, with three rules. A key without entries is
/// left out. It has nothing that changes by itself, such as a time to live. The names of the known
/// queues are one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump(BTreeMap<String, Vec<Bytes>>);

impl Dump {
    /// Adds the entries of `key`; those of a set in a fixed order, such as sorted.
    pub fn add(&mut self, key: impl Into<String>, entries: impl IntoIterator<Item = Bytes>) {
        let entries: Vec<Bytes> = entries.into_iter().collect();
        if !entries.is_empty() {
            self.0.insert(key.into(), entries);
        }
    }

    /// The entries by key.
    #[must_use]
    pub fn keys(&self) -> &BTreeMap<String, Vec<Bytes>> {
        &self.0
    }
}

/// One case of the suite: see [`conformance_cases!`](crate::conformance_cases).
pub struct Case<H> {
    name: &'static str,
    run: Run<H>,
}

type Run<H> = for<'a> fn(&'a H) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

impl<H> Case<H> {
    /// For the macro.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(name: &'static str, run: Run<H>) -> Self {
        Self { name, run }
    }

    /// Its module and its function: `queue::jobs_are_fetched_in_the_order_of_enqueue`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it on a fresh harness.
    ///
    /// # Panics
    ///
    /// When the storage does not do what it must, and when the case hangs.
    #[track_caller]
    pub fn run<'a>(&self, harness: &'a H) -> impl Future<Output = ()> + use<'a, H> {
        run_case((self.run)(harness))
    }
}

impl<H> fmt::Debug for Case<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// Runs one case with a deadline. For the macro.
#[doc(hidden)]
#[track_caller]
pub fn run_case(case: impl Future<Output = ()>) -> impl Future<Output = ()> {
    within(CASE_DEADLINE, case)
}
