//! Entries of a timetable: jobs that a storage enqueues again and again.

use std::{fmt, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::StorageError,
    job::HolderPlace,
    names::{Jid, QueueName},
    storage::{Due, LockedJob, MAX_BATCH_JOBS, Page},
    time::{from_unix_seconds, unix_seconds},
};

/// The entries of the timetable. Each has a name, a definition, and the time of its next run.
///
/// When a run is due, and what it enqueues, is decided by who calls. A storage compares what the
/// caller has read with what is stored, and takes both steps or neither: it sets the time of the
/// next run, and enqueues. So a run is enqueued once, whichever node sees first that it is due, and
/// whatever their clocks say. A definition is opaque bytes to it.
///
/// A storage has one timetable, which is not cut by queue: a tick and the queue that it enqueues to
/// are in the same storage, and so can change in one step.
///
/// A part of [`Storage`](super::Storage), whose page has the rules for errors and dropped futures.
#[async_trait]
pub trait CronStore: fmt::Debug + Send + Sync + 'static {
    /// Reads a page of the entries, at most [`MAX_BATCH_BYTES`](super::MAX_BATCH_BYTES): that with
    /// the earliest next run first, those without one last, and equal ones by name. Changes
    /// nothing.
    async fn cron_entries(&self, page: Page) -> Result<Vec<StoredCron>, StorageError>;

    /// Reads the entries with these names, in their order: `None` for one that does not exist.
    /// Changes nothing.
    async fn cron_named(&self, names: &[String]) -> Result<Vec<Option<StoredCron>>, StorageError>;

    /// Stores an entry under a name, or replaces its definition. It keeps the pause, the counts
    /// and the last runs of an entry that it replaces.
    ///
    /// Called twice, it answers [`CronChange::Differs`] the second time, because the
    /// [revision](StoredCron::revision) has changed: after
    /// [`Unknown`](crate::error::Applied::Unknown), read the entry and compare the hash.
    async fn upsert_cron(
        &self,
        name: &str,
        upsert: &CronUpsert,
    ) -> Result<CronChange, StorageError>;

    /// Sets the time of the next run of an entry, enqueues the jobs of the tick, and notes it, if
    /// the entry is still as it was [seen](CronTick::seen).
    ///
    /// Called twice, it answers [`Ticked::Differs`] the second time if the tick moves the time
    /// of the next run. After [`Unknown`](crate::error::Applied::Unknown), read the entry: either
    /// it is as it was seen, or the tick took effect, or another one did. A storage that is full
    /// refuses a tick that enqueues, whole.
    async fn tick_cron(&self, name: &str, tick: &CronTick) -> Result<Ticked, StorageError>;

    /// Pauses an entry: it has no next run. Returns whether there is one that was not paused.
    /// Another pause keeps the first note. A full storage pauses too.
    async fn pause_cron(&self, name: &str, note: &Bytes) -> Result<bool, StorageError>;

    /// Ends the pause of an entry, which runs at `next`, if it is still as it was seen. Without a
    /// pause, it changes nothing.
    async fn resume_cron(
        &self,
        name: &str,
        seen: &CronSeen,
        next: Option<SystemTime>,
    ) -> Result<CronChange, StorageError>;

    /// Notes since when no live node declares an entry, or that one does. Returns whether the entry
    /// exists.
    async fn mark_cron(
        &self,
        name: &str,
        orphaned: Option<SystemTime>,
    ) -> Result<bool, StorageError>;

    /// Removes an entry with all that is known of it. Returns whether there was one. A full storage
    /// removes too. Jobs that it has enqueued stay.
    async fn remove_cron(&self, name: &str) -> Result<bool, StorageError>;
}

/// An entry as a storage has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredCron {
    /// The name.
    pub name: String,
    /// The definition, as it was stored. Empty if the storage has lost it, or if another program
    /// has made the entry: then it can only be removed.
    pub definition: Bytes,
    /// The hash of the definition, by which two are compared.
    pub hash: String,
    /// Grows with each upsert, pause and resume.
    pub revision: u64,
    /// When it runs next, in microseconds. `None` if it is paused, or never runs again.
    pub next: Option<SystemTime>,
    /// The note of its pause, if it is paused.
    pub pause: Option<Bytes>,
    /// Since when no live node declares it, as far as that was noted.
    pub orphaned: Option<SystemTime>,
    /// How many jobs its ticks have enqueued.
    pub runs: u64,
    /// How many runs were missed: no node was there in time.
    pub missed: u64,
    /// How many runs were skipped, because another job had the lock of theirs.
    pub skipped: u64,
    /// The [records](CronTick::record) of the last ticks, the newest first, at most
    /// [`MAX_CRON_RECORDS`].
    pub last: Vec<Bytes>,
}

impl StoredCron {
    /// The part of it that a change compares.
    #[must_use]
    pub fn seen(&self) -> CronSeen {
        CronSeen {
            revision: self.revision,
            next: self.next,
        }
    }
}

/// The state in which a caller has seen an entry. A change takes effect if it is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CronSeen {
    /// Its [revision](StoredCron::revision).
    pub revision: u64,
    /// The time of its [next run](StoredCron::next).
    pub next: Option<SystemTime>,
}

/// A definition to store.
#[derive(Clone, Debug, PartialEq)]
pub struct CronUpsert {
    /// How the entry was seen; `None` if there was none.
    pub seen: Option<CronSeen>,
    /// The queue of its jobs, whose [`Gate`](super::Gate) counts; `None` if that cannot be read.
    pub queue: Option<QueueName>,
    /// The definition. Not empty.
    pub definition: Bytes,
    /// Its hash: letters and digits.
    pub hash: String,
    /// When the entry runs next. An entry that is paused stays so.
    pub next: Option<SystemTime>,
    /// Whether it also replaces a definition that has replaced this one before. Else a node that is
    /// still to be replaced would undo what the new ones have declared.
    pub even_if_superseded: bool,
}

/// A run of an entry that is due, or several.
#[derive(Clone, Debug, PartialEq)]
pub struct CronTick {
    /// How the entry was seen.
    pub seen: CronSeen,
    /// When it runs next; `None` if never. For a run that is asked for, the same as was seen.
    pub next: Option<SystemTime>,
    /// What is enqueued, at most [`MAX_BATCH_JOBS`](super::MAX_BATCH_JOBS).
    pub pushes: Vec<CronPush>,
    /// A job that is enqueued with a lock, as
    /// [`enqueue_locked`](super::EffectStore::enqueue_locked) does.
    pub locked: Option<LockedPush>,
    /// How many runs were missed.
    pub missed: u64,
    /// What to keep of the tick: one line of text.
    pub record: Bytes,
}

/// A job that a tick enqueues.
#[derive(Clone, Debug, PartialEq)]
pub enum CronPush {
    /// To the back of a queue, as [`enqueue`](super::JobStore::enqueue) does.
    Queue {
        /// The queue.
        queue: QueueName,
        /// The payload.
        job: Bytes,
    },
    /// To the schedule set, as [`schedule`](super::JobStore::schedule) does.
    Later(Due),
}

impl CronPush {
    /// The payload.
    #[must_use]
    pub fn job(&self) -> &Bytes {
        match self {
            Self::Queue { job, .. } | Self::Later(Due { job, .. }) => job,
        }
    }
}

/// A job that a tick enqueues, unless another job has its lock.
#[derive(Clone, Debug, PartialEq)]
pub struct LockedPush {
    /// The job and its lock.
    pub job: LockedJob,
    /// What to keep of the tick, instead of its [record](CronTick::record), if the job is skipped:
    /// one line of text.
    pub skipped: Bytes,
}

/// The answer to [`CronStore::tick_cron`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ticked {
    /// The tick took effect, and each job is stored. A job with a lock may wait for it.
    Done,
    /// The tick took effect, but the job with a lock was skipped, and counted as skipped.
    Skipped {
        /// The job that has the lock.
        jid: Jid,
        /// Its place.
        place: HolderPlace,
    },
    /// Nothing happened, because the entry is not as it was seen, or is gone.
    Differs,
}

/// What became of a change of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CronChange {
    /// It took effect.
    Done,
    /// Nothing happened, because the entry is not as it was seen, or is gone.
    Differs,
    /// Nothing happened, because the stored definition has replaced this one before.
    Superseded,
}

/// The most records that a storage keeps for each entry.
pub const MAX_CRON_RECORDS: usize = 10;

/// The most hashes of replaced definitions that a storage remembers for each entry.
pub const MAX_SUPERSEDED: usize = 20;

/// The time of a next run as a number, by which a backend orders and compares: seconds to the
/// microsecond, and infinity for none.
#[must_use]
pub fn cron_score(next: Option<SystemTime>) -> f64 {
    // Rounded as a reader gets it, so that what was read compares as equal.
    next.map_or(f64::INFINITY, |next| {
        unix_seconds(from_unix_seconds(unix_seconds(next)))
    })
}

/// The time of a next run of this [`cron_score`].
#[must_use]
pub fn cron_next(score: f64) -> Option<SystemTime> {
    (score != f64::INFINITY).then(|| from_unix_seconds(score))
}

/// Reads the first entries of a timetable, page by page, at most so many. Those that move in the
/// order meanwhile may come twice, or not at all.
pub(crate) async fn read_cron(
    storage: &(impl CronStore + ?Sized),
    most: usize,
) -> Result<Vec<StoredCron>, StorageError> {
    let mut entries = Vec::new();
    while entries.len() < most {
        let page = Page {
            offset: entries.len(),
            limit: (most - entries.len()).min(MAX_BATCH_JOBS),
        };
        let read = storage.cron_entries(page).await?;
        if read.is_empty() {
            break;
        }
        entries.extend(read);
    }
    Ok(entries)
}

/// Reads one entry of a timetable.
#[cfg(feature = "cron")]
pub(crate) async fn read_cron_named(
    storage: &(impl CronStore + ?Sized),
    name: &str,
) -> Result<Option<StoredCron>, StorageError> {
    let mut named = storage.cron_named(&[name.to_owned()]).await?;
    Ok(named.pop().flatten())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_time_compares_as_equal_after_it_was_stored() {
        for nanos in [0, 1, 499, 500, 999_999_999, 123_456_789, 1_500] {
            let at = UNIX_EPOCH + Duration::new(1_732_387_200, nanos);
            let score = cron_score(Some(at));
            assert!((cron_score(cron_next(score)) - score).abs() < f64::EPSILON);
        }
        assert_eq!(cron_next(cron_score(None)), None);
    }
}
