//! The workers of a program, by class.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    error::ConfigError,
    worker::{WorkerEntry, polls::PollTime},
};

inventory::collect!(WorkerEntry);

/// Every worker that a node can run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    workers: BTreeMap<&'static str, Registered>,
}

/// A worker of the node, and what was seen of its runs.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) entry: WorkerEntry,
    pub(crate) recent: Arc<PollTime>,
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
            let registered = Registered {
                entry,
                recent: Arc::default(),
            };
            let first = registry.workers.insert(entry.class(), registered);
            let first = first.map(|first| first.entry);
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
        self.registered(class).map(|registered| &registered.entry)
    }

    /// As [`Self::of_class`], with what was seen of its runs.
    pub(crate) fn registered(&self, class: &str) -> Option<&Registered> {
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
        self.workers.values().map(|registered| &registered.entry)
    }
}

/// What to check first: the linker leaves out a crate that nothing refers to, and its workers with
/// it.
pub(crate) const OF_ANOTHER_CRATE: &str =
    "if its worker is in another crate: `use that_crate as _;`";
