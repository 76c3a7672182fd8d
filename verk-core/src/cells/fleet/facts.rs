//! Facts about the servers of several cells, as one. No I/O.

use crate::storage::{ServerFacts, ServerRole};

/// Each fact is that of the cell where it is worst. Cells may share a server, so nothing is summed
/// that a server counts for all of them.
///
/// A fact that all cells need to agree on, such as the version, is unknown if they differ.
pub(super) fn worst(one: ServerFacts, other: ServerFacts) -> ServerFacts {
    ServerFacts {
        schedule_keys: one.schedule_keys,
        elsewhere: one.elsewhere.saturating_add(other.elsewhere),
        eviction_policy: one.eviction_policy.or(other.eviction_policy),
        append_only: match (one.append_only, other.append_only) {
            (Some(one), Some(other)) => Some(one && other),
            (Some(false), None) | (None, Some(false)) => Some(false),
            _ => None,
        },
        disk_fails: one.disk_fails || other.disk_fails,
        kind: same(one.kind, other.kind),
        version: same(one.version, other.version),
        uptime: least(one.uptime, other.uptime),
        role: match (one.role, other.role) {
            (Some(ServerRole::Replica), _) | (_, Some(ServerRole::Replica)) => {
                Some(ServerRole::Replica)
            }
            (one, other) => same(one, other),
        },
        replicas: least(one.replicas, other.replicas),
        clients: one.clients.max(other.clients),
        operations_per_second: one.operations_per_second.max(other.operations_per_second),
        memory_used: one.memory_used.max(other.memory_used),
        memory_peak: one.memory_peak.max(other.memory_peak),
        memory_limit: least(one.memory_limit, other.memory_limit),
        last_snapshot: least(one.last_snapshot, other.last_snapshot),
        changes_since_snapshot: one.changes_since_snapshot.max(other.changes_since_snapshot),
        snapshot_runs: one.snapshot_runs.max(other.snapshot_runs),
        rewrite_runs: one.rewrite_runs.max(other.rewrite_runs),
    }
}

fn same<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.filter(|one| other.as_ref() == Some(one))
}

/// The least of those that are known.
fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_worst_of_each_is_shown() {
        let one = ServerFacts {
            append_only: Some(true),
            version: Some("7.0.15".to_owned()),
            uptime: Some(Duration::from_secs(9)),
            memory_used: Some(5),
            elsewhere: 1,
            ..ServerFacts::default()
        };
        let mut other = one.clone();
        assert_eq!(worst(one.clone(), other.clone()).append_only, Some(true));
        other.append_only = Some(false);
        other.version = Some("8.0.1".to_owned());
        other.uptime = Some(Duration::from_secs(4));
        other.memory_used = None;
        other.eviction_policy = Some("allkeys-lru".to_owned());
        other.role = Some(ServerRole::Replica);
        for worst in [worst(one.clone(), other.clone()), worst(other, one)] {
            assert_eq!((worst.append_only, worst.version), (Some(false), None));
            assert_eq!(worst.uptime, Some(Duration::from_secs(4)));
            assert_eq!((worst.memory_used, worst.elsewhere), (Some(5), 2));
            assert_eq!(worst.eviction_policy.as_deref(), Some("allkeys-lru"));
            assert_eq!(worst.role, Some(ServerRole::Replica));
        }
    }
}
