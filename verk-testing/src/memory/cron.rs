//! The entries of the timetable.

use std::{
    collections::{BTreeMap, VecDeque},
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use verk_core::{
    StorageError,
    storage::{
        CronChange, CronPush, CronSeen, CronStore, CronTick, CronUpsert, Gate, JobSet,
        MAX_BATCH_JOBS, MAX_CRON_RECORDS, MAX_SUPERSEDED, Page, StoredCron, Ticked, cron_next,
        cron_score,
    },
    time::{from_unix_seconds, unix_seconds},
};

use super::{
    MemoryStorage,
    faults::{Fault, Key, Operation},
    state::{State, slice},
};

const READ: &str = "read the timetable";

/// The timetable of a storage.
#[derive(Debug, Default)]
pub(super) struct Timetable {
    pub(super) entries: BTreeMap<String, Entry>,
}

impl Timetable {
    /// When the entries run next.
    pub(super) fn due(&self) -> impl Iterator<Item = SystemTime> + Clone {
        self.entries.values().filter_map(|entry| entry.stored.next)
    }
}

/// An entry, with the hashes of the definitions that it had before, the newest first.
#[derive(Debug, Default)]
pub(super) struct Entry {
    stored: StoredCron,
    superseded: VecDeque<String>,
}

impl Entry {
    fn is_as(&self, seen: &CronSeen) -> bool {
        let (score, other) = (cron_score(self.stored.next), cron_score(seen.next));
        self.stored.revision == seen.revision && score.total_cmp(&other).is_eq()
    }

    fn set_next(&mut self, next: Option<SystemTime>) {
        self.stored.next = cron_next(cron_score(next));
    }
}

#[async_trait]
impl CronStore for MemoryStorage {
    async fn cron_entries(&self, page: Page) -> Result<Vec<StoredCron>, StorageError> {
        self.read(READ, |state| state.cron_entries(page))
    }

    async fn cron_named(&self, names: &[String]) -> Result<Vec<Option<StoredCron>>, StorageError> {
        self.read(READ, |state| {
            state.check_timetable()?;
            let entry = |name| state.cron.entries.get(name).map(|it| it.stored.clone());
            Ok(names.iter().map(entry).collect())
        })
    }

    async fn upsert_cron(
        &self,
        name: &str,
        upsert: &CronUpsert,
    ) -> Result<CronChange, StorageError> {
        const OP: &str = "store an entry of the timetable";
        let (change, lost) = self.write(OP, |state| {
            let change = state.upsert_cron(name, upsert)?;
            Ok((change, state.faults.loses_reply(Operation::UpsertCron)))
        })?;
        answer(OP, change, lost)
    }

    async fn tick_cron(&self, name: &str, tick: &CronTick) -> Result<Ticked, StorageError> {
        const OP: &str = "take a run of the timetable";
        let (change, lost) = self.write(OP, |state| {
            let change = state.tick_cron(name, tick)?;
            Ok((change, state.faults.loses_reply(Operation::TickCron)))
        })?;
        answer(OP, change, lost)
    }

    async fn pause_cron(&self, name: &str, note: &Bytes) -> Result<bool, StorageError> {
        self.write("pause an entry of the timetable", |state| {
            state.check_timetable()?;
            let running = state.cron.entries.get_mut(name);
            let Some(entry) = running.filter(|entry| entry.stored.pause.is_none()) else {
                return Ok(false);
            };
            entry.stored.pause = Some(note.clone());
            entry.stored.revision += 1;
            entry.set_next(None);
            Ok(true)
        })
    }

    async fn resume_cron(
        &self,
        name: &str,
        seen: &CronSeen,
        next: Option<SystemTime>,
    ) -> Result<CronChange, StorageError> {
        self.write("resume an entry of the timetable", |state| {
            state.check_timetable()?;
            let entry = state.cron.entries.get_mut(name);
            let paused = entry.filter(|entry| entry.stored.pause.is_some() && entry.is_as(seen));
            let Some(entry) = paused else {
                return Ok(CronChange::Differs);
            };
            entry.stored.pause = None;
            entry.stored.revision += 1;
            entry.set_next(next);
            Ok(CronChange::Done)
        })
    }

    async fn mark_cron(
        &self,
        name: &str,
        orphaned: Option<SystemTime>,
    ) -> Result<bool, StorageError> {
        self.write("note who declares an entry of the timetable", |state| {
            state.check_timetable()?;
            let entry = state.cron.entries.get_mut(name);
            let marked = entry.map(|entry| {
                entry.stored.orphaned = orphaned.map(unix_seconds).map(from_unix_seconds);
            });
            Ok(marked.is_some())
        })
    }

    async fn remove_cron(&self, name: &str) -> Result<bool, StorageError> {
        self.write("remove an entry of the timetable", |state| {
            state.check_timetable()?;
            Ok(state.cron.entries.remove(name).is_some())
        })
    }
}

#[cfg(feature = "cron")]
impl MemoryStorage {
    /// How many jobs the runs of an entry have enqueued.
    pub(crate) fn cron_runs(&self, name: &str) -> Option<u64> {
        let state = self.shared.lock();
        state.cron.entries.get(name).map(|entry| entry.stored.runs)
    }
}

fn answer<T>(op: &'static str, change: T, lost: bool) -> Result<T, StorageError> {
    if lost {
        return Err(StorageError::unknown(op, Fault::ReplyLost));
    }
    Ok(change)
}

impl State {
    fn check_timetable(&self) -> Result<(), Fault> {
        self.faults.check_key(Key::Cron)?;
        self.faults.check_key(Key::CronDue)
    }

    /// When the first entry is due; in the past if that cannot be read.
    pub(super) fn next_cron(&self) -> Option<SystemTime> {
        if self.faults.check_key(Key::CronDue).is_err() {
            return Some(SystemTime::UNIX_EPOCH);
        }
        self.cron.due().min()
    }

    fn cron_entries(&self, page: Page) -> Result<Vec<StoredCron>, Fault> {
        self.check_timetable()?;
        let mut entries: Vec<&StoredCron> =
            (self.cron.entries.values().map(|it| &it.stored)).collect();
        // Those with the same time stay in the order of their names.
        entries.sort_by(|one, other| cron_score(one.next).total_cmp(&cron_score(other.next)));
        let limit = page.limit.min(MAX_BATCH_JOBS);
        let size = |entry: &&StoredCron| {
            let records = entry.last.iter().map(Bytes::len).sum::<usize>();
            entry.definition.len() + records
        };
        let read = slice(entries.into_iter(), Page { limit, ..page }, size);
        Ok(read.into_iter().cloned().collect())
    }

    fn upsert_cron(&mut self, name: &str, upsert: &CronUpsert) -> Result<CronChange, Fault> {
        self.check_moved(upsert.queue.as_ref(), Some(Gate::Arriving))?;
        self.check_timetable()?;
        let stored = self.cron.entries.get(name);
        let is_as_seen = match (stored, &upsert.seen) {
            (Some(entry), Some(seen)) => entry.is_as(seen),
            (None, None) => true,
            _ => false,
        };
        if !is_as_seen {
            return Ok(CronChange::Differs);
        }
        let is_superseded = stored.is_some_and(|entry| {
            entry.stored.hash != upsert.hash && entry.superseded.contains(&upsert.hash)
        });
        if is_superseded && !upsert.even_if_superseded {
            return Ok(CronChange::Superseded);
        }
        self.faults.check_room()?;
        let entry = self.cron.entries.entry(name.to_owned()).or_default();
        entry.superseded.retain(|other| *other != upsert.hash);
        let stored = &mut entry.stored;
        name.clone_into(&mut stored.name);
        let before = std::mem::replace(&mut stored.hash, upsert.hash.clone());
        if !before.is_empty() && before != upsert.hash {
            entry.superseded.push_front(before);
            entry.superseded.truncate(MAX_SUPERSEDED);
        }
        stored.definition = upsert.definition.clone();
        stored.revision += 1;
        let is_paused = stored.pause.is_some();
        entry.set_next(upsert.next.filter(|_| !is_paused));
        Ok(CronChange::Done)
    }

    fn tick_cron(&mut self, name: &str, tick: &CronTick) -> Result<Ticked, Fault> {
        self.check_timetable()?;
        let entry = self.cron.entries.get(name);
        if !entry.is_some_and(|entry| entry.is_as(&tick.seen)) {
            return Ok(Ticked::Differs);
        }
        for push in &tick.pushes {
            self.faults.check_key(match push {
                CronPush::Queue { queue, .. } => Key::Queue(queue.clone()),
                CronPush::Later(_) => Key::Set(JobSet::Schedule),
            })?;
        }
        if !tick.pushes.is_empty() {
            self.faults.check_room()?;
        }
        let skipped = match tick.locked.as_ref().map(|it| self.push_locked(&it.job)) {
            Some(pushed) => pushed?,
            None => None,
        };
        for push in &tick.pushes {
            match push {
                CronPush::Queue { queue, job } => self.enqueue(queue, std::slice::from_ref(job))?,
                CronPush::Later(due) => {
                    self.insert(JobSet::Schedule, due)?;
                }
            }
        }
        if let Some(entry) = self.cron.entries.get_mut(name) {
            entry.set_next(tick.next);
            let stored = &mut entry.stored;
            let locked = tick.locked.as_ref();
            let is_stored = locked.is_some() && skipped.is_none();
            stored.runs += tick.pushes.len() as u64 + u64::from(is_stored);
            stored.missed += tick.missed;
            stored.skipped += u64::from(skipped.is_some());
            let record = match (locked, &skipped) {
                (Some(locked), Some(_)) => &locked.skipped,
                _ => &tick.record,
            };
            stored.last.insert(0, record.clone());
            stored.last.truncate(MAX_CRON_RECORDS);
        }
        Ok(skipped.map_or(Ticked::Done, |(jid, place)| Ticked::Skipped { jid, place }))
    }
}
