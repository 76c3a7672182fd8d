//! The server that a backend works on.

use serde::{Deserialize, Serialize};

/// In which sets of the storage jobs wait for their time. All of verk's nodes and clients on one storage need the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKeys {
    /// In `schedule` and `retry`, which Sidekiq and Elixir's Verk have as well: whoever is first moves a due job, by its own rules,
    /// and Sidekiq Web shows all jobs.
    #[default]
    Shared,
    /// In `verk:schedule` and `verk:retry`: no other program moves these jobs, nor sees them. What others store in `schedule` and `retry`
    /// is theirs to move.
    Own,
}

/// The answer to [`Storage::server_facts`](crate::Storage::server_facts).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// In which sets jobs wait for their time.
    pub schedule_keys: ScheduleKeys,
    /// How many jobs wait in the sets of the other [`ScheduleKeys`].
    pub elsewhere: usize,
    /// By which policy the server may drop jobs when its memory is full; `None` when it drops none, or does not tell.
    pub eviction_policy: Option<String>,
    /// Whether the server writes every change to its disk; `None` when it does not tell.
    pub append_only: Option<bool>,
    /// Whether its last try to write to its disk failed.
    pub disk_fails: bool,
}
