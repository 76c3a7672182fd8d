//! The server that a backend works on.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::StorageError;

/// The server that a backend works on.
///
/// A part of [`Storage`](super::Storage), whose page has the rules for errors and dropped futures.
#[async_trait]
pub trait Server: fmt::Debug + Send + Sync + 'static {
    /// Reads the time of day of the backend. A success also proves that it answers.
    async fn server_time(&self) -> Result<SystemTime, StorageError>;

    /// Reads facts about the backend, if it has any. Changes nothing.
    ///
    /// This is no snapshot. A backend without facts returns the default.
    async fn server_facts(&self) -> Result<ServerFacts, StorageError> {
        Ok(ServerFacts::default())
    }

    /// Returns how many connections to the backend ended unexpectedly, or gave no reply, since this
    /// was made. After each it connected again, if there was something to do. It sends nothing.
    /// Stays 0 for a backend without connections.
    fn lost_connections(&self) -> u64 {
        0
    }

    /// Returns where the jobs are, for the log: such as host, port and database, never a password
    /// or a user. Defaults to the name of the type.
    fn address(&self) -> String {
        std::any::type_name::<Self>().to_owned()
    }
}

/// The sets of the storage in which jobs wait for their time. All of verk's nodes and clients on
/// one storage need the same setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKeys {
    /// In `schedule` and `retry`, which Sidekiq and Elixir's Verk use as well. The first program
    /// that polls moves a due job, by its own rules, and Sidekiq Web shows all jobs.
    #[default]
    Shared,
    /// In `verk:schedule` and `verk:retry`: no other program moves or sees these jobs. verk does
    /// not move jobs that others store in `schedule` and `retry`.
    Own,
}

/// The answer to [`Server::server_facts`](crate::storage::Server::server_facts). A fact that the
/// server does not tell, or tells in a form that nobody knows, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerFacts {
    /// In which sets jobs wait for their time.
    pub schedule_keys: ScheduleKeys,
    /// How many jobs wait in the sets of the other [`ScheduleKeys`].
    pub elsewhere: usize,
    /// The policy by which the server may drop jobs when its memory is full; `None` if it drops
    /// none, or does not say.
    pub eviction_policy: Option<String>,
    /// Whether the server writes every change to its disk.
    pub append_only: Option<bool>,
    /// Whether its last try to write to its disk failed.
    pub disk_fails: bool,
    /// Which program the server is.
    pub kind: Option<ServerKind>,
    /// The version of that program, at most 64 characters.
    pub version: Option<String>,
    /// For how long the server has run.
    pub uptime: Option<Duration>,
    /// Whether the server is a primary or a replica.
    pub role: Option<ServerRole>,
    /// How many replicas follow it.
    pub replicas: Option<u64>,
    /// How many connections the server has, those of other programs too.
    pub clients: Option<u64>,
    /// How many commands a second the server ran lately.
    pub operations_per_second: Option<u64>,
    /// How much memory the server uses for its data, in bytes.
    pub memory_used: Option<u64>,
    /// The most that it ever used, in bytes.
    pub memory_peak: Option<u64>,
    /// How much it may use, in bytes; `None` if it has no limit, or does not say.
    pub memory_limit: Option<u64>,
    /// When the server last wrote all its data to the disk: a snapshot.
    pub last_snapshot: Option<SystemTime>,
    /// How many changes it made since then. Without [`append_only`](Self::append_only), a crash of
    /// the server loses these.
    pub changes_since_snapshot: Option<u64>,
    /// Whether it writes such a snapshot now.
    pub snapshot_runs: Option<bool>,
    /// Whether it rewrites the file to which it appends its changes now.
    pub rewrite_runs: Option<bool>,
}

/// A program that keeps the jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerKind {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis => "Redis",
            Self::Valkey => "Valkey",
        })
    }
}

/// Whether a server takes changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerRole {
    /// It takes changes.
    Primary,
    /// It follows a primary, and takes no changes.
    Replica,
}
