//! The timetables of all cells, as one.

use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Fleet, Patience};
use crate::{
    error::{StorageError, StorageErrorKind},
    job::Job,
    storage::{
        CronChange, CronSeen, CronStore, CronTick, CronUpsert, MAX_BATCH_BYTES, MAX_BATCH_JOBS,
        Page, StoredCron, Ticked, cron_score, read_cron,
    },
};

/// An entry lies in the cell of the queue of its job, so that a run and its job are one step.
///
/// Its name is in one cell. While an entry moves, because its definition has another queue now, the
/// name is in two. Then the entry that lies in the cell of its queue counts, and of several the one
/// in the first cell. A change of an entry by its name is made in each cell that has it.
#[async_trait]
impl CronStore for Fleet {
    /// Merges the entries of the cells, which each has in this order. It reads those before the
    /// page as well.
    async fn cron_entries(&self, page: Page) -> Result<Vec<StoredCron>, StorageError> {
        let limit = page.limit.min(MAX_BATCH_JOBS);
        let until = page.offset.saturating_add(limit);
        let all = self.all(|cell| Box::pin(read_cron(cell, until)));
        let mut all: Vec<StoredCron> = all.await?.into_iter().flatten().collect();
        all.sort_by(|one, other| {
            let by_next = cron_score(one.next).total_cmp(&cron_score(other.next));
            by_next.then_with(|| one.name.cmp(&other.name))
        });
        let (mut bytes, mut read) = (0_usize, Vec::new());
        for entry in all.into_iter().skip(page.offset).take(limit) {
            bytes = bytes.saturating_add(size(&entry));
            if bytes > MAX_BATCH_BYTES && !read.is_empty() {
                break;
            }
            read.push(entry);
        }
        Ok(read)
    }

    async fn cron_named(&self, names: &[String]) -> Result<Vec<Option<StoredCron>>, StorageError> {
        let all = self.all(|cell| cell.cron_named(names)).await?;
        // With each entry, whether it lies in the cell of its queue.
        let mut named: Vec<Option<(bool, StoredCron)>> = vec![None; names.len()];
        for (cell, of_cell) in all.into_iter().enumerate() {
            for (known, entry) in named.iter_mut().zip(of_cell) {
                let Some(entry) = entry else { continue };
                let is_home = self.lies_in(&entry.definition) == Some(cell);
                if known.as_ref().is_none_or(|(known, _)| is_home && !known) {
                    *known = Some((is_home, entry));
                }
            }
        }
        let named = named.into_iter();
        Ok(named.map(|known| known.map(|(_, entry)| entry)).collect())
    }

    /// Stores the entry in the cell of its queue. If another cell has the name, the entry moves: it
    /// keeps its pause, but neither its counts nor its last runs. It is removed there last, so that
    /// a crash does not lose it. Then both run, until the name is stored with another definition,
    /// or removed.
    async fn upsert_cron(
        &self,
        name: &str,
        upsert: &CronUpsert,
    ) -> Result<CronChange, StorageError> {
        self.cells.ask_now_and_then().await;
        let mut patience = Patience::new(self);
        loop {
            let stored = self.upsert_where_it_lies(name, upsert).await;
            let is_moved = (stored.as_ref()).is_err_and(|it| it.kind() == StorageErrorKind::Moved);
            if !is_moved || !patience.look(self).await {
                return stored;
            }
        }
    }

    /// For an operator who runs an entry now: the step of the cell that has the entry.
    async fn tick_cron(&self, name: &str, tick: &CronTick) -> Result<Ticked, StorageError> {
        let holders = self.holders(name).await?;
        let is_as_seen = |(_, entry): &&(usize, StoredCron)| is_same(&entry.seen(), &tick.seen);
        match holders.iter().find(is_as_seen) {
            Some((cell, _)) => self.at(*cell, |cell| cell.tick_cron(name, tick)).await,
            None => Ok(Ticked::Differs),
        }
    }

    async fn pause_cron(&self, name: &str, note: &Bytes) -> Result<bool, StorageError> {
        let changed = self.change_all(|cell| cell.pause_cron(name, note)).await?;
        Ok(changed.contains(&true))
    }

    async fn resume_cron(
        &self,
        name: &str,
        seen: &CronSeen,
        next: Option<SystemTime>,
    ) -> Result<CronChange, StorageError> {
        let changed = self.change_all(|cell| cell.resume_cron(name, seen, next));
        let is_done = changed.await?.contains(&CronChange::Done);
        Ok(if is_done {
            CronChange::Done
        } else {
            CronChange::Differs
        })
    }

    async fn mark_cron(
        &self,
        name: &str,
        orphaned: Option<SystemTime>,
    ) -> Result<bool, StorageError> {
        let marked = self
            .change_all(|cell| cell.mark_cron(name, orphaned))
            .await?;
        Ok(marked.contains(&true))
    }

    async fn remove_cron(&self, name: &str) -> Result<bool, StorageError> {
        let removed = self.change_all(|cell| cell.remove_cron(name)).await?;
        Ok(removed.contains(&true))
    }
}

impl Fleet {
    async fn upsert_where_it_lies(
        &self,
        name: &str,
        upsert: &CronUpsert,
    ) -> Result<CronChange, StorageError> {
        let holders = self.holders(name).await?;
        let first = holders.first().map_or(0, |(cell, _)| *cell);
        let target = self.lies_in(&upsert.definition).unwrap_or(first);
        let there = holders.iter().find(|(cell, _)| *cell == target);
        let others: Vec<&(usize, StoredCron)> =
            (holders.iter().filter(|(cell, _)| *cell != target)).collect();
        if others.is_empty() {
            return self.at(target, |cell| cell.upsert_cron(name, upsert)).await;
        }

        let is_as_seen = |(_, entry): &&(usize, StoredCron)| {
            let seen = upsert.seen.as_ref();
            seen.is_some_and(|seen| is_same(&entry.seen(), seen))
        };
        if !holders.iter().any(|holder| is_as_seen(&holder)) {
            return Ok(CronChange::Differs);
        }
        let note = others.iter().find_map(|(_, entry)| entry.pause.clone());
        let moved = CronUpsert {
            seen: there.map(|(_, entry)| entry.seen()),
            next: upsert.next.filter(|_| note.is_none()),
            ..upsert.clone()
        };
        let change = self
            .at(target, |cell| cell.upsert_cron(name, &moved))
            .await?;
        if change == CronChange::Done {
            if let Some(note) = &note {
                self.at(target, |cell| cell.pause_cron(name, note))
                    .await
                    .map_err(StorageError::maybe_applied)?;
            }
            for (cell, _) in others {
                self.at(*cell, |cell| cell.remove_cron(name))
                    .await
                    .map_err(StorageError::maybe_applied)?;
            }
        }
        Ok(change)
    }

    /// The cell of the queue of a definition, if that can be read.
    fn lies_in(&self, definition: &[u8]) -> Option<usize> {
        /// The part of a definition that matters here.
        #[derive(Deserialize)]
        struct Definition<'a> {
            #[serde(borrow)]
            job: &'a RawValue,
        }
        let definition: Definition<'_> = serde_json::from_slice(definition).ok()?;
        let job = Bytes::copy_from_slice(definition.job.get().as_bytes());
        let job = Job::decode(job).ok()?;
        job.queue().map(|queue| self.cells.of(queue))
    }

    /// The cells that have an entry of this name, with the entry: first that which counts.
    async fn holders(&self, name: &str) -> Result<Vec<(usize, StoredCron)>, StorageError> {
        let names = [name.to_owned()];
        let all = self.all(|cell| cell.cron_named(&names)).await?;
        let found = all.into_iter().enumerate();
        let found = found.filter_map(|(cell, mut named)| Some((cell, named.pop()??)));
        let mut found: Vec<(usize, StoredCron)> = found.collect();
        found.sort_by_key(|(cell, entry)| self.lies_in(&entry.definition) != Some(*cell));
        Ok(found)
    }
}

fn is_same(one: &CronSeen, other: &CronSeen) -> bool {
    let (next, other_next) = (cron_score(one.next), cron_score(other.next));
    one.revision == other.revision && next.total_cmp(&other_next).is_eq()
}

fn size(entry: &StoredCron) -> usize {
    let records = entry.last.iter().map(Bytes::len).sum::<usize>();
    entry.definition.len() + records
}
