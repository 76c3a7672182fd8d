//! The server that a backend works on.

use std::{fmt, time::SystemTime};

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

/// The answer to [`Server::server_facts`](crate::storage::Server::server_facts).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// In which sets jobs wait for their time.
    pub schedule_keys: ScheduleKeys,
    /// How many jobs wait in the sets of the other [`ScheduleKeys`].
    pub elsewhere: usize,
    /// The policy by which the server may drop jobs when its memory is full; `None` if it drops
    /// none, or does not say.
    pub eviction_policy: Option<String>,
    /// Whether the server writes every change to its disk; `None` if it does not say.
    pub append_only: Option<bool>,
    /// Whether its last try to write to its disk failed.
    pub disk_fails: bool,
}
