//! Counts of events, for those who want them: [`Tallies`].

use std::{collections::BTreeMap, sync::OnceLock};

use parking_lot::Mutex;

use crate::{job::Job, names::QueueName, outcome::Ending};

/// What metrics count of jobs.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    /// How jobs ended on this node, by queue and class.
    pub(crate) ended: Tally<(QueueName, String, Ending)>,
    /// How many jobs this program stored, by queue.
    pub(crate) enqueued: Tally<QueueName>,
    /// How many jobs this program did not store because another job held their lock, by class.
    pub(crate) duplicates: Tally<String>,
}

impl Tallies {
    /// Counts how a job ended. One that could not be read has no class.
    pub(crate) fn ended(&self, queue: &QueueName, job: Option<&Job>, ending: Ending) {
        let class = || job.map_or_else(String::new, |job| job.class().to_owned());
        self.ended.add(|| (queue.clone(), class(), ending), 1);
    }
}

/// Counts by a key, from the moment that the counts are wanted. Before that, adding costs almost
/// nothing.
#[derive(Debug)]
pub(crate) struct Tally<K>(OnceLock<Mutex<BTreeMap<K, u64>>>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<K: Ord> Tally<K> {
    /// Adds `n` to the count of a key, which is made only if the counts are wanted.
    pub(crate) fn add(&self, key: impl FnOnce() -> K, n: u64) {
        if let Some(counts) = self.0.get() {
            let key = key();
            let mut counts = counts.lock();
            *counts.entry(key).or_default() += n;
        }
    }

    /// Counts from now on.
    #[cfg(feature = "metrics")]
    pub(crate) fn begin(&self) {
        self.0.get_or_init(Mutex::default);
    }

    /// What was counted so far.
    #[cfg(feature = "metrics")]
    pub(crate) fn read(&self) -> BTreeMap<K, u64>
    where
        K: Clone,
    {
        let counts = self.0.get().map(|counts| {
            let counts = counts.lock();
            counts.clone()
        });
        counts.unwrap_or_default()
    }
}
