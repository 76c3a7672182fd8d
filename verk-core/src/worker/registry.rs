//! The workers of a program, by class.

use std::collections::BTreeMap;

use crate::{error::ConfigError, worker::WorkerEntry};

inventory::collect!(WorkerEntry);

/// Every worker that a node can run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    workers: BTreeMap<&'static str, WorkerEntry>,
}

impl Registry {
    /// The workers that `#[verk::worker]` registered in the crates that are linked, and `extra`
    /// ones. Reports every class that two workers claim.
    pub(crate) fn collect(extra: &[WorkerEntry], errors: &mut Vec<ConfigError>) -> Self {
        let mut registry = Self::default();
        let mut entries: Vec<WorkerEntry> = inventory::iter::<WorkerEntry>
            .into_iter()
            .copied()
            .chain(extra.iter().copied())
            .collect();
        // The order of inventory is not defined, and the message should be the same in each run.
        entries.sort_by_key(|entry| (entry.class(), entry.location()));
        for entry in entries {
            // A worker may be registered by the macro and by hand.
            let first = registry.workers.insert(entry.class(), entry);
            if let Some(first) = first.filter(|first| first.type_id() != entry.type_id()) {
                errors.push(ConfigError::DuplicateClass {
                    class: entry.class(),
                    first: first.location(),
                    second: entry.location(),
                });
            }
        }
        registry
    }

    pub(crate) fn of_class(&self, class: &str) -> Option<&WorkerEntry> {
        self.workers.get(class)
    }

    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// The classes, in order.
    pub(crate) fn classes(&self) -> impl Iterator<Item = &'static str> {
        self.workers.keys().copied()
    }

    pub(crate) fn workers(&self) -> impl Iterator<Item = &WorkerEntry> {
        self.workers.values()
    }
}

/// What to check first: the linker leaves out a crate that nothing refers to, and its workers with
/// it.
pub(crate) const OF_ANOTHER_CRATE: &str =
    "if its worker is in another crate: `use that_crate as _;`";
