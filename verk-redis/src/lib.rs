//! Redis and Valkey (6.2 or newer) as the [`Storage`](verk_core::storage::Storage) of verk.
//!
//! [`RedisStorage::connect`] checks that the server answers and can be used. Its result is cheap to
//! clone. The keys and the payloads are those of Ruby's Sidekiq and Elixir's Verk, so that all
//! three can share one database.
//!
//! ```no_run
//! use verk_core::storage::{Source, WaitingStore};
//! use verk_redis::{RedisConfig, RedisStorage};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = RedisStorage::connect(RedisConfig::new("redis://127.0.0.1:6379")).await?;
//! let waiting = storage.len(&Source::Queue("default".parse()?)).await?;
//! println!("{waiting} jobs wait");
//! # Ok(())
//! # }
//! ```
//!
//! # What runs on the server
//!
//! Every change of state is one command or one Lua script, so it happens as a whole or not at all.
//! No script decodes a payload. The scripts still run in a Redis that is full and refuses new jobs
//! (`maxmemory` with `noeviction`), so that its jobs can be run. In addition to the commands on its
//! keys, a user with restricted rights needs `EVALSHA` and `SCRIPT LOAD`. It should have `MULTI`,
//! `EXEC`, `INFO` and of `CLIENT` the subcommands `ID`, `SETNAME`, `LIST`, `KILL` and `UNBLOCK`.
//! Without these a node stops and recovers more slowly, and does not warn of a server that may
//! evict keys. Without `SUBSCRIBE` and `PUBLISH` on the channel `verk:pauses` it learns late that a
//! queue was paused or resumed for all nodes.
//!
//! # Connections
//!
//! A node has at most 22 connections by default, for any number of queues. A small pool of shared
//! connections ([`pool_size`](RedisConfig::pool_size)) carries all commands that do not wait. An
//! idle queue waits for its next job on a connection of its own, if it is one of those that had a
//! job last ([`blocking_connections`](RedisConfig::blocking_connections)). All the others share one
//! poll every 250 ms. One connection is for the heartbeat, and one for announcements of pauses. A
//! broken connection is replaced at its next use. The [cells](RedisConfig::cells) of a cluster
//! share a small pool for each primary.
//!
//! verk notices connections that vanish silently: by TCP keepalive after some 40 seconds without
//! traffic, and by the [response time-out](RedisConfig::response_timeout) if a reply does not come.
//! After that, it checks each connection of the pool before its next use, with a `PING`.
//!
//! # Runtimes
//!
//! Several tokio runtimes can use a storage, also after the one that connected it has ended. Each
//! runtime gets a pool of its own, of [`pool_size`](RedisConfig::pool_size) connections, at its
//! first call. The pool is closed when the runtime ends. A call outside of a runtime is an error,
//! and sends nothing.

mod audit;
mod batch;
mod builder;
mod cells;
mod config;
mod connect;
mod cron;
mod due;
mod effect_args;
mod effects;
mod error;
mod executions;
mod fetch;
mod glob;
mod heartbeat;
mod held;
mod keys;
mod lists;
mod nodes;
mod pauses;
mod places;
mod prefix;
mod processes;
mod stats;
mod storage;

pub use builder::RedisBuilderExt;
pub use config::RedisConfig;
pub use error::Error;
pub use storage::RedisStorage;
