//! Tools for tests: verk in a unit test, a storage in memory, a clock that a test moves, and the
//! conformance suite for backends.
//!
//! - [`TestVerk`] collects the jobs that the code under test enqueues, and runs them on command.
//! - [`crash`] stops a worker where it matters, to test that its jobs survive that.
//! - [`MemoryStorage`] stores jobs without a server, with the semantics of Redis; its [`Faults`]
//!   make it fail like a server.
//! - [`VirtualClock`] stands still until the test moves it.
//! - `RedisServer` is a real `redis-server` for one test, `RedisCluster` a cluster of them, and
//!   `CuttingProxy` a network in front of a server that breaks on command (on Unix).
//! - `fuzz` and `model` (with the feature `proptest`) try random inputs on a reader, and random
//!   operations on a backend.
//! - [`conformance`] has the tests that every [`Storage`](verk_core::storage::Storage) passes;
//!   [`storage_conformance!`] runs them.

mod clock;
pub mod conformance;
pub mod crash;
#[cfg(feature = "proptest")]
pub mod fuzz;
mod memory;
#[cfg(feature = "proptest")]
pub mod model;
#[cfg(unix)]
mod proxy;
#[cfg(unix)]
mod redis_cluster;
#[cfg(unix)]
mod redis_server;
#[cfg(unix)]
mod resp;
#[cfg(unix)]
mod temp_dir;
mod test_verk;
mod within;

pub use clock::VirtualClock;
pub use memory::{Fault, Faults, Key, MemoryStorage, Operation};
#[cfg(unix)]
pub use proxy::{CuttingProxy, RedisCommand};
#[cfg(unix)]
pub use redis_cluster::{Migration, RedisCluster, RedisClusterBuilder};
#[cfg(unix)]
pub use redis_server::{RedisServer, RedisServerBuilder};
#[cfg(unix)]
pub use resp::Reply;
pub use test_verk::{Drained, ScheduledFor, TestVerk, TestVerkBuilder};
pub use within::within;
