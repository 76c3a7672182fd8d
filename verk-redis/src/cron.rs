//! The entries of the timetable.

use std::time::SystemTime;

use async_trait::async_trait;
use bb8_redis::redis::Value;
use bytes::Bytes;
use verk_core::{
    StorageError,
    storage::{
        CronChange, CronSeen, CronStore, CronTick, CronUpsert, JobSet, MAX_BATCH_BYTES,
        MAX_BATCH_JOBS, MAX_CRON_RECORDS, MAX_SUPERSEDED, Page, StoredCron, Ticked, cron_next,
        cron_score,
    },
    time::{from_unix_seconds, unix_seconds},
};

use crate::{
    connect::{
        reply,
        scripts::{self, Arg, Script, arg, borrowed},
    },
    effect_args::{lock_numbers, push_free, push_locked, queue_word, read_holder},
    error::Failure,
    keys::{Key, KeyList},
    storage::{RedisStorage, bounds},
};

#[async_trait]
impl CronStore for RedisStorage {
    async fn cron_entries(&self, page: Page) -> Result<Vec<StoredCron>, StorageError> {
        let limit = page.limit.min(MAX_BATCH_JOBS);
        let [offset, limit] = bounds(Page { limit, ..page });
        let entries = self.read_cron(&[offset, limit, arg(MAX_BATCH_BYTES)]).await;
        entries.map_err(|failure| failure.during(READ))
    }

    async fn cron_named(&self, names: &[String]) -> Result<Vec<Option<StoredCron>>, StorageError> {
        let mut entries = Vec::with_capacity(names.len());
        while entries.len() < names.len() {
            let left = &names[entries.len()..];
            let left = &left[..left.len().min(MAX_BATCH_JOBS)];
            let mut args = vec![arg(0), arg(0), arg(MAX_BATCH_BYTES)];
            args.extend(left.iter().map(borrowed));
            let read = self.read_cron(&args).await;
            let read = read.map_err(|failure| failure.during(READ))?;
            if read.is_empty() {
                let failure = Failure::unexpected_reply("an entry for each name");
                return Err(failure.during(READ));
            }
            let exists = |entry: StoredCron| (!entry.definition.is_empty()).then_some(entry);
            entries.extend(read.into_iter().map(exists));
        }
        Ok(entries)
    }

    async fn upsert_cron(
        &self,
        name: &str,
        upsert: &CronUpsert,
    ) -> Result<CronChange, StorageError> {
        let mut args = vec![
            borrowed(name),
            borrowed(&upsert.definition),
            borrowed(&upsert.hash),
            score(upsert.next),
        ];
        args.extend(match &upsert.seen {
            Some(seen) => seen_words(seen),
            None => [borrowed(""), borrowed("")],
        });
        args.extend([
            arg(u8::from(upsert.even_if_superseded)),
            arg(MAX_SUPERSEDED),
            queue_word(upsert.queue.as_ref()),
        ]);
        self.change_cron(
            "store an entry of the timetable",
            &scripts::CRON_UPSERT,
            [&self.timetable()[..], &[self.link.keys.moved()]].concat(),
            &args,
        )
        .await
    }

    async fn tick_cron(&self, name: &str, tick: &CronTick) -> Result<Ticked, StorageError> {
        let all = &self.link.keys;
        let mut keys = KeyList::new(vec![
            all.cron(),
            all.cron_due(),
            all.set(JobSet::Schedule),
            all.queues(),
            all.set(JobSet::Retry),
            all.marks(),
            all.locks(),
            all.suspects(),
            all.moved(),
        ]);
        let [revision, seen] = seen_words(&tick.seen);
        let skipped = tick.locked.as_ref().map(|locked| &locked.skipped);
        let mut args = vec![
            borrowed(name),
            revision,
            seen,
            score(tick.next),
            arg(tick.missed),
            borrowed(&tick.record),
            skipped.map_or(borrowed(""), borrowed),
            arg(MAX_CRON_RECORDS),
        ];
        args.extend(lock_numbers());
        if let Some(locked) = &tick.locked {
            push_locked(&mut args, all, &mut keys, &locked.job);
        }
        for push in &tick.pushes {
            push_free(&mut args, all, &mut keys, push);
        }
        let reply = (self.link.run(&scripts::CRON_TICK, &keys.keys, &args)).await;
        let ticked = reply.and_then(|reply| match reply {
            Value::Int(1) => Ok(Ticked::Done),
            Value::Int(0) => Ok(Ticked::Differs),
            holder => {
                let (jid, place) = read_holder(holder)?;
                Ok(Ticked::Skipped { jid, place })
            }
        });
        ticked.map_err(|failure| failure.during("take a run of the timetable"))
    }

    async fn pause_cron(&self, name: &str, note: &Bytes) -> Result<bool, StorageError> {
        let args = [borrowed(name), borrowed("pause"), borrowed(note)];
        self.set_cron("pause an entry of the timetable", &args)
            .await
    }

    async fn resume_cron(
        &self,
        name: &str,
        seen: &CronSeen,
        next: Option<SystemTime>,
    ) -> Result<CronChange, StorageError> {
        let [revision, seen] = seen_words(seen);
        let args = [
            borrowed(name),
            borrowed("resume"),
            revision,
            seen,
            score(next),
        ];
        let op = "resume an entry of the timetable";
        let done = self.set_cron(op, &args).await?;
        Ok(if done {
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
        let since = orphaned.map_or(borrowed(""), |since| arg(unix_seconds(since)));
        let args = [borrowed(name), borrowed("mark"), since];
        self.set_cron("note who declares an entry of the timetable", &args)
            .await
    }

    async fn remove_cron(&self, name: &str) -> Result<bool, StorageError> {
        let args = [borrowed(name), borrowed("remove")];
        self.set_cron("remove an entry of the timetable", &args)
            .await
    }
}

const READ: &str = "read the timetable";

impl RedisStorage {
    fn timetable(&self) -> [Key; 2] {
        [self.link.keys.cron(), self.link.keys.cron_due()]
    }

    async fn read_cron(&self, args: &[Arg<'_>]) -> Result<Vec<StoredCron>, Failure> {
        let keys = self.timetable();
        let script = &scripts::CRON_ENTRIES;
        let reply = self.link.ask_script_of(script, &keys, args).await?;
        reply::array(reply)?.into_iter().map(entry).collect()
    }

    async fn change_cron(
        &self,
        op: &'static str,
        script: &Script,
        keys: Vec<Key>,
        args: &[Arg<'_>],
    ) -> Result<CronChange, StorageError> {
        let reply = self.link.run(script, &keys, args).await;
        let changed = reply.and_then(|reply| match reply::integer(reply)? {
            1 => Ok(CronChange::Done),
            0 => Ok(CronChange::Differs),
            -1 => Ok(CronChange::Superseded),
            _ => Err(Failure::unexpected_reply("what became of a change")),
        });
        changed.map_err(|failure| failure.during(op))
    }

    async fn set_cron(&self, op: &'static str, args: &[Arg<'_>]) -> Result<bool, StorageError> {
        let script = &scripts::CRON_CHANGE;
        let reply = self.link.run(script, &self.timetable(), args).await;
        let done = reply.and_then(|reply| Ok(reply::integer(reply)? == 1));
        done.map_err(|failure| failure.during(op))
    }
}

fn score(next: Option<SystemTime>) -> Arg<'static> {
    arg(cron_score(next))
}

fn seen_words(seen: &CronSeen) -> [Arg<'static>; 2] {
    [arg(seen.revision), score(seen.next)]
}

/// An entry as the script `cron_entries` answers it.
fn entry(value: Value) -> Result<StoredCron, Failure> {
    let wrong = || Failure::unexpected_reply("an entry of the timetable");
    let Ok(fields) = <[Value; 11]>::try_from(reply::array(value)?) else {
        return Err(wrong());
    };
    let [
        name,
        due,
        definition,
        hash,
        revision,
        pause,
        orphaned,
        runs,
        missed,
        skipped,
        last,
    ] = fields;
    let text = |value| match value {
        Value::Nil => Ok(None),
        value => reply::payload(value).map(Some),
    };
    let last = text(last)?.unwrap_or_default();
    Ok(StoredCron {
        // Another program may have made the member.
        name: String::from_utf8_lossy(&text(name)?.ok_or_else(wrong)?).into_owned(),
        next: match due {
            Value::Nil => None,
            due => cron_next(reply::score(due)?),
        },
        definition: text(definition)?.unwrap_or_default(),
        hash: reply::text(hash).unwrap_or_default(),
        revision: reply::number(revision),
        pause: text(pause)?,
        orphaned: match orphaned {
            Value::Nil => None,
            since => Some(from_unix_seconds(reply::number(since))),
        },
        runs: reply::number(runs),
        missed: reply::number(missed),
        skipped: reply::number(skipped),
        last: last
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| last.slice_ref(line))
            .collect(),
    })
}
