//! The server that has the jobs.

use serde::Serialize;
use verk_core::storage::{ScheduleKeys, ServerFacts, ServerRole};

use super::{seconds, time};

/// What the server says about itself. What it does not say is `null`.
#[derive(Debug, Serialize)]
pub struct ServerValue<'a> {
    kind: Option<String>,
    version: Option<&'a str>,
    /// `primary` or `replica`.
    role: Option<&'static str>,
    replicas: Option<u64>,
    /// For how long it has run, in seconds.
    uptime: Option<f64>,
    clients: Option<u64>,
    operations_per_second: Option<u64>,
    /// In bytes, as the next two.
    memory_used: Option<u64>,
    memory_peak: Option<u64>,
    memory_limit: Option<u64>,
    /// By which it may drop jobs when its memory is full; `null` if it drops none.
    eviction_policy: Option<&'a str>,
    append_only: Option<bool>,
    last_snapshot: Option<String>,
    changes_since_snapshot: Option<u64>,
    /// Whether its last try to write to its disk failed.
    disk_fails: bool,
    /// In which sets jobs wait for their time: `shared` with Sidekiq, or `own`.
    schedule_keys: &'static str,
    /// How many jobs wait in the other sets.
    elsewhere: usize,
}

impl<'a> ServerValue<'a> {
    /// The facts of a server.
    #[must_use]
    pub fn new(facts: &'a ServerFacts) -> Self {
        Self {
            kind: facts.kind.map(|kind| kind.to_string().to_lowercase()),
            version: facts.version.as_deref(),
            role: facts.role.and_then(|role| match role {
                ServerRole::Primary => Some("primary"),
                ServerRole::Replica => Some("replica"),
                _ => None,
            }),
            replicas: facts.replicas,
            uptime: facts.uptime.map(seconds),
            clients: facts.clients,
            operations_per_second: facts.operations_per_second,
            memory_used: facts.memory_used,
            memory_peak: facts.memory_peak,
            memory_limit: facts.memory_limit,
            eviction_policy: facts.eviction_policy.as_deref(),
            append_only: facts.append_only,
            last_snapshot: facts.last_snapshot.map(time),
            changes_since_snapshot: facts.changes_since_snapshot,
            disk_fails: facts.disk_fails,
            schedule_keys: match facts.schedule_keys {
                ScheduleKeys::Shared => "shared",
                ScheduleKeys::Own => "own",
            },
            elsewhere: facts.elsewhere,
        }
    }
}
