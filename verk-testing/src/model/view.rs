//! What a storage shows, to compare: [`View`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::UNIX_EPOCH,
};

use bytes::Bytes;
use verk_core::{
    QueueName,
    names::NodeId,
    storage::{Inprogress, JobSet, StoredCron, StoredLock},
};

/// The content of each place, in its order. An empty place is left out.
#[derive(Debug, Default, PartialEq)]
pub(super) struct View(BTreeMap<String, Vec<Bytes>>);

impl View {
    /// The next job to be fetched first.
    pub(super) fn add_queue(&mut self, queue: &QueueName, jobs: impl Iterator<Item = Bytes>) {
        self.add(format!("queue {queue}"), jobs);
    }

    /// The oldest first.
    pub(super) fn add_held(&mut self, list: &Inprogress, jobs: impl Iterator<Item = Bytes>) {
        self.add(format!("inprogress {} {}", list.queue, list.node), jobs);
    }

    pub(super) fn add_prefetched(&mut self, list: &Inprogress, count: usize) {
        let count = (count > 0).then(|| text(count));
        let place = format!("prefetched {} {}", list.queue, list.node);
        self.add(place, count.into_iter());
    }

    /// The lowest score first.
    pub(super) fn add_set(&mut self, set: JobSet, members: Vec<(Bytes, f64)>) {
        let (jobs, scores): (Vec<_>, Vec<_>) = members.into_iter().unzip();
        self.add(format!("{set:?}"), jobs.into_iter());
        self.add(format!("{set:?} scores"), scores.into_iter().map(text));
    }

    /// The names of the queues.
    pub(super) fn add_names(&mut self, queues: &BTreeSet<QueueName>) {
        self.add("queues".to_owned(), queues.iter().map(text));
    }

    /// The paused queues, with the notes of their pauses.
    pub(super) fn add_paused(&mut self, pauses: impl Iterator<Item = (QueueName, Bytes)>) {
        for (queue, note) in pauses {
            self.add(format!("pause of {queue}"), [note].into_iter());
        }
    }

    pub(super) fn add_node(&mut self, node: &NodeId, alive: bool, queues: &BTreeSet<QueueName>) {
        let state = text(if alive { "alive" } else { "dead" });
        self.add(
            format!("node {node}"),
            [state].into_iter().chain(queues.iter().map(text)),
        );
    }

    /// Nothing for an empty version.
    pub(super) fn add_node_info(&mut self, node: &NodeId, version: &str) {
        let version = (!version.is_empty()).then(|| text(version));
        self.add(format!("info of {node}"), version.into_iter());
    }

    /// Not its times, which are those of the storage.
    pub(super) fn add_lock(&mut self, lock: StoredLock) {
        let lock = StoredLock {
            since: UNIX_EPOCH,
            until: lock.until.map(|_| UNIX_EPOCH),
            ..lock
        };
        let id = lock.id;
        self.add(
            format!("lock {id}"),
            [text(format!("{lock:?}"))].into_iter(),
        );
    }

    pub(super) fn add_cron(&mut self, entry: &StoredCron) {
        let shown = [text(format!("{entry:?}"))].into_iter();
        self.add(format!("periodic {}", entry.name), shown);
    }

    fn add(&mut self, place: String, entries: impl Iterator<Item = Bytes>) {
        let entries: Vec<Bytes> = entries.collect();
        if !entries.is_empty() {
            self.0.insert(place, entries);
        }
    }

    /// The first place where another view is not what this one says it must be.
    pub(super) fn difference(&self, found: &Self) -> Option<String> {
        let places: BTreeSet<_> = self.0.keys().chain(found.0.keys()).collect();
        places.into_iter().find_map(|place| {
            let (expected, found) = (self.0.get(place), found.0.get(place));
            (expected != found).then(|| {
                let [expected, found] = [expected, found].map(|entries| shown(entries));
                format!("{place}\nexpected: {expected}\n   found: {found}")
            })
        })
    }
}

fn text(value: impl ToString) -> Bytes {
    Bytes::from(value.to_string())
}

/// The entries, the long ones cut.
fn shown(entries: Option<&Vec<Bytes>>) -> String {
    const LONGEST: usize = 600;
    let entries = entries.into_iter().flatten().map(|entry| {
        let end = entry.len().min(LONGEST);
        format!("{:?}", entry.slice(..end))
    });
    format!("[{}]", entries.collect::<Vec<_>>().join(", "))
}
