//! The timetable: an entry changes only if it is as it was seen, and a tick takes both of its steps
//! or none.

use std::collections::{BTreeMap, VecDeque};

use verk_core::{
    Jid,
    storage::{
        CronChange, CronPush, CronSeen, CronTick, CronUpsert, HolderPlace, JobSet,
        MAX_CRON_RECORDS, MAX_SUPERSEDED, StoredCron,
    },
};

use super::Ledger;
use crate::model::{
    request::{Answer, Outcome},
    timetable::CronRequest,
};

/// The entries by name.
#[derive(Debug, Default)]
pub(super) struct Timetable(BTreeMap<String, Entry>);

#[derive(Debug, Default)]
struct Entry {
    stored: StoredCron,
    /// The hashes that it had before, the newest first.
    superseded: VecDeque<String>,
}

impl Ledger {
    pub(in crate::model) fn cron_entry(&self, name: &str) -> Option<&StoredCron> {
        self.timetable.0.get(name).map(|entry| &entry.stored)
    }

    pub(super) fn cron_entries(&self) -> impl Iterator<Item = &StoredCron> {
        self.timetable.0.values().map(|entry| &entry.stored)
    }

    /// Applies a change. Returns the answer that it must have.
    pub(super) fn follow_cron(&mut self, request: &CronRequest) -> Answer {
        match request {
            CronRequest::Upsert(name, upsert) => {
                Answer::of_change(self.timetable.upsert(name, upsert))
            }
            CronRequest::Tick(name, tick) => {
                if self.timetable.seen(name, &tick.seen).is_none() {
                    return Answer::of_change(CronChange::Differs);
                }
                let skipped = self.push_all(tick);
                self.timetable.tick(name, tick, skipped.is_some());
                match skipped {
                    Some((jid, place)) => Answer::Each(vec![Outcome::Duplicate { jid, place }]),
                    None => Answer::Done,
                }
            }
            CronRequest::Pause(name, note) => {
                let running = self.timetable.0.get_mut(name);
                let running = running.filter(|entry| entry.stored.pause.is_none());
                Answer::Flag(running.is_some_and(|entry| {
                    entry.stored.pause = Some(note.clone());
                    entry.stored.revision += 1;
                    entry.stored.next = None;
                    true
                }))
            }
            CronRequest::Resume(name, seen, next) => {
                let entry = self.timetable.seen(name, seen);
                let Some(entry) = entry.filter(|entry| entry.stored.pause.is_some()) else {
                    return Answer::of_change(CronChange::Differs);
                };
                entry.stored.pause = None;
                entry.stored.revision += 1;
                entry.stored.next = *next;
                Answer::Done
            }
            CronRequest::Mark(name, orphaned) => {
                let entry = self.timetable.0.get_mut(name);
                Answer::Flag(entry.is_some_and(|entry| {
                    entry.stored.orphaned = *orphaned;
                    true
                }))
            }
            CronRequest::Remove(name) => Answer::Flag(self.timetable.0.remove(name).is_some()),
        }
    }

    /// Returns who has the lock of the job that is skipped.
    fn push_all(&mut self, tick: &CronTick) -> Option<(Jid, HolderPlace)> {
        let locked = tick.locked.as_ref().map(|locked| &locked.job);
        let skipped = locked.and_then(|job| match self.enqueue_locked(job) {
            Outcome::Duplicate { jid, place } => Some((jid, place)),
            Outcome::CannotWait => self.holder(&job.lock),
            _ => None,
        });
        for push in &tick.pushes {
            match push {
                CronPush::Queue { queue, job } => {
                    self.names.insert(queue.clone());
                    self.queue(queue).push_back(job.clone());
                }
                CronPush::Later(due) => {
                    self.insert(JobSet::Schedule, due);
                }
            }
        }
        skipped
    }
}

impl Timetable {
    /// The entry, if it is as it was seen.
    fn seen(&mut self, name: &str, seen: &CronSeen) -> Option<&mut Entry> {
        let entry = self.0.get_mut(name);
        entry.filter(|entry| entry.stored.seen() == *seen)
    }

    fn upsert(&mut self, name: &str, upsert: &CronUpsert) -> CronChange {
        let before = self.0.get(name).map(|entry| entry.stored.seen());
        if before != upsert.seen {
            return CronChange::Differs;
        }
        let entry = self.0.entry(name.to_owned()).or_default();
        let Entry { stored, superseded } = entry;
        if stored.hash != upsert.hash {
            if superseded.contains(&upsert.hash) && !upsert.even_if_superseded {
                return CronChange::Superseded;
            }
            if before.is_some() {
                superseded.push_front(stored.hash.clone());
            }
        }
        superseded.retain(|hash| *hash != upsert.hash);
        superseded.truncate(MAX_SUPERSEDED);
        name.clone_into(&mut stored.name);
        stored.hash.clone_from(&upsert.hash);
        stored.definition = upsert.definition.clone();
        stored.revision += 1;
        stored.next = upsert.next.filter(|_| stored.pause.is_none());
        CronChange::Done
    }

    fn tick(&mut self, name: &str, tick: &CronTick, is_skipped: bool) {
        let Some(Entry { stored, .. }) = self.0.get_mut(name) else {
            return;
        };
        let locked = tick.locked.as_ref();
        let jobs = tick.pushes.len() + usize::from(locked.is_some() && !is_skipped);
        stored.next = tick.next;
        stored.runs += jobs as u64;
        stored.missed += tick.missed;
        stored.skipped += u64::from(is_skipped);
        let record = match locked {
            Some(locked) if is_skipped => &locked.skipped,
            _ => &tick.record,
        };
        stored.last.insert(0, record.clone());
        stored.last.truncate(MAX_CRON_RECORDS);
    }
}
