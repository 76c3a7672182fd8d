//! Moves the periodic jobs that a program or an operator stored.
//!
//! Both storages would run an entry that both have. So the source pauses it first, with the note of
//! the migration, which has the time of its next run: a run that is due meanwhile is made up for.
//! An entry that was paused before keeps its own note, and so its pause moves with it.

use super::{
    LeftReason, Migrated, MigratedPlace, Run,
    mark::{self, Mark},
};
use crate::{
    error::StorageError,
    storage::{CronChange, CronUpsert, Storage, StoredCron, read_cron, read_cron_named},
    timetable::{
        definition::{Damaged, Definition, Origin},
        last_due, next_after_last,
    },
};

/// How often an entry of the target is stored that others change at the same time.
const TRIES: usize = 10;

/// What happened to an entry.
enum Moved {
    New,
    Already,
    Left(LeftReason),
    /// A worker declares it, or it is gone.
    NotOurs,
}

impl Run<'_> {
    /// Counts the entries that would move.
    pub(super) async fn count_entries(&mut self) -> Result<(), StorageError> {
        let mut place = MigratedPlace::new(Migrated::PeriodicJobs);
        let all = entries(self.source()).await?;
        place.found = all.iter().filter(|entry| is_ours(entry)).count() as u64;
        place.before = entries(self.target()).await?.len() as u64;
        (place.left, place.after) = (place.found, place.before);
        self.report.places.push(place);
        Ok(())
    }

    /// Moves the entries.
    pub(super) async fn move_entries(&mut self) -> Result<(), StorageError> {
        let mut place = MigratedPlace::new(Migrated::PeriodicJobs);
        place.before = entries(self.target()).await?.len() as u64;
        let at = self.report.places.len();
        self.report.places.push(place);
        let names = entries(self.source()).await?.into_iter();
        let names = names.filter(|entry| self.takes(entry));
        let names: Vec<String> = names.map(|entry| entry.name).collect();
        for name in &names {
            if self.is_ended() {
                break;
            }
            let moved = self.move_entry(name).await?;
            let place = &mut self.report.places[at];
            place.found += u64::from(!matches!(moved, Moved::NotOurs));
            match moved {
                Moved::New => place.moved += 1,
                Moved::Already => place.already += 1,
                Moved::Left(reason) => self.leave(Migrated::PeriodicJobs, name, reason),
                Moved::NotOurs => continue,
            }
            self.tell(at, names.len() as u64);
        }
        let left = entries(self.source()).await?;
        let after = entries(self.target()).await?.len() as u64;
        let is_left = |entry: &&StoredCron| match self.only {
            None => is_ours(entry),
            Some(_) => self.takes(entry),
        };
        let left = left.iter().filter(is_left).count() as u64;
        let place = &mut self.report.places[at];
        (place.left, place.after) = (left, after);
        Ok(())
    }

    /// Whether the entry may have something to move.
    fn takes(&self, entry: &StoredCron) -> bool {
        let queue = || Definition::decode(&entry.definition).ok()?.queue();
        self.only.is_none() || self.only == queue()
    }

    async fn move_entry(&self, name: &str) -> Result<Moved, StorageError> {
        let (source, target) = (self.source(), self.target());
        let Some(entry) = read_cron_named(source, name).await? else {
            return Ok(Moved::NotOurs);
        };
        let Ok(definition) = Definition::decode(&entry.definition) else {
            return Ok(Moved::Left(LeftReason::Damaged));
        };
        if definition.origin == Origin::Static && self.only.is_none() {
            return self.move_pause(&entry).await;
        }
        let there = read_cron_named(target, name).await?;
        if (there.as_ref()).is_some_and(|there| there.hash != entry.hash) {
            return Ok(Moved::Left(LeftReason::OtherEntry));
        }
        if definition.schedule().is_err() || definition.job().is_err() {
            return Ok(Moved::Left(LeftReason::Damaged));
        }

        if entry.pause.is_none() {
            source.pause_cron(name, &self.note(entry.next)).await?;
        }
        // It cannot be enqueued here any more, and says when it was for the last time.
        let Some(entry) = read_cron_named(source, name).await? else {
            return Ok(Moved::NotOurs);
        };
        let pause = entry.pause.clone();
        let pause = pause.filter(|note| Mark::of(Some(note)).is_none());
        let Ok(stored) = self.store_entry(&entry, pause.is_some()).await? else {
            return Ok(Moved::Left(LeftReason::Damaged));
        };
        match stored {
            Some(CronChange::Done) | None => {}
            Some(CronChange::Differs | CronChange::Superseded) => {
                return Ok(Moved::Left(LeftReason::Contended));
            }
        }
        if let Some(note) = &pause {
            target.pause_cron(name, note).await?;
        }
        source.remove_cron(name).await?;
        Ok(match stored {
            Some(_) => Moved::New,
            None => Moved::Already,
        })
    }

    /// Stores an entry in the target; `None` if it is there.
    async fn store_entry(
        &self,
        entry: &StoredCron,
        is_paused: bool,
    ) -> Result<Result<Option<CronChange>, Damaged>, StorageError> {
        let noted = mark::next_run(entry.pause.as_ref());
        // A run may have been taken between the read and the pause.
        let noted = noted.filter(|next| last_due(entry).is_none_or(|last| last < *next));
        let next = match noted {
            Some(next) => Ok(Some(next)),
            None => next_after_last(entry, self.migration.target.now()),
        };
        let next = match next {
            Ok(next) => next.filter(|_| !is_paused),
            Err(why) => return Ok(Err(why)),
        };
        for _ in 0..TRIES {
            if let Some(there) = read_cron_named(self.target(), &entry.name).await? {
                let is_same = there.hash == entry.hash;
                return Ok(Ok(if is_same {
                    None
                } else {
                    Some(CronChange::Differs)
                }));
            }
            let upsert = CronUpsert {
                seen: None,
                queue: Definition::decode(&entry.definition)
                    .ok()
                    .and_then(|definition| definition.queue()),
                definition: entry.definition.clone(),
                hash: entry.hash.clone(),
                next,
                even_if_superseded: true,
            };
            let change = self.target().upsert_cron(&entry.name, &upsert).await?;
            if change != CronChange::Differs {
                return Ok(Ok(Some(change)));
            }
        }
        Ok(Ok(Some(CronChange::Differs)))
    }

    /// A worker declares the entry, in the target too: only its pause moves.
    async fn move_pause(&self, entry: &StoredCron) -> Result<Moved, StorageError> {
        let Some(note) = &entry.pause else {
            return Ok(Moved::NotOurs);
        };
        Ok(match read_cron_named(self.target(), &entry.name).await? {
            None => Moved::Left(LeftReason::PausedStatic),
            Some(there) if there.pause.is_some() => Moved::Already,
            Some(_) => {
                self.target().pause_cron(&entry.name, note).await?;
                Moved::New
            }
        })
    }
}

/// Whether the entry moves: one that a worker declares does not.
fn is_ours(entry: &StoredCron) -> bool {
    let definition = Definition::decode(&entry.definition);
    !definition.is_ok_and(|definition| definition.origin == Origin::Static)
}

async fn entries(storage: &dyn Storage) -> Result<Vec<StoredCron>, StorageError> {
    read_cron(storage, usize::MAX).await
}
