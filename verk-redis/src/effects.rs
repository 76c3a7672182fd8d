//! Unique locks, and the effects of the steps that move jobs.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bb8_redis::redis::{self, Value};
use bytes::Bytes;
use verk_core::{
    Jid, QueueName, StorageError,
    storage::{
        Effect, EffectStore, Inprogress, JobSet, LockId, LockPage, Locked, LockedJob, Once,
        OnceAnswer, OnceJob, Page, Settled, StoredLock,
    },
    time::{from_unix_seconds, unix_seconds},
};

use crate::{
    batch::cut,
    connect::{
        link::Link,
        reply,
        scripts::{self, arg, borrowed, milliseconds},
    },
    effect_args::{
        ends, lock_numbers, place_text, push, push_free, push_locked, queue_word, read_place,
    },
    error::Failure,
    keys::KeyList,
    storage::RedisStorage,
};

const ENQUEUE: &str = "enqueue a unique job";
const ONCE: &str = "enqueue a job once";

#[async_trait]
impl EffectStore for RedisStorage {
    async fn enqueue_locked(&self, jobs: &[LockedJob]) -> Vec<Locked> {
        let mut answers = Vec::with_capacity(jobs.len());
        for range in cut(jobs.iter().map(|job| job.job.len())) {
            let jobs = &jobs[range];
            let stored = enqueue_locked(&self.link, jobs).await;
            answers.extend(stored.unwrap_or_else(|failure| {
                vec![Locked::Failed(failure.during(ENQUEUE)); jobs.len()]
            }));
        }
        answers
    }

    async fn enqueue_once(&self, once: &Once, job: &OnceJob) -> OnceAnswer {
        let stored = enqueue_once(&self.link, once, job).await;
        stored.unwrap_or_else(|failure| OnceAnswer::First(Locked::Failed(failure.during(ONCE))))
    }

    async fn begin(&self, inprogress: &Inprogress, held: &Bytes, effects: &[Effect]) -> Settled {
        if effects.is_empty() {
            return Settled::Done;
        }
        let all = &self.link.keys;
        let mut keys = KeyList::new(vec![all.inprogress(&inprogress.queue, &inprogress.node)]);
        let mut args = vec![borrowed(held)];
        push(&mut args, all, &mut keys, std::iter::once(effects));
        let begun = self.link.run(&scripts::BEGIN, &keys.keys, &args).await;
        match begun.and_then(reply::integer) {
            Ok(0) => Settled::NotHeld,
            Ok(_) => Settled::Done,
            Err(failure) => Settled::Failed(failure.during("begin a job")),
        }
    }

    async fn locks(&self, page: Page) -> Result<LockPage, StorageError> {
        locks(&self.link, page)
            .await
            .map_err(|failure| failure.during("read the locks"))
    }

    async fn lock(&self, id: LockId) -> Result<Option<StoredLock>, StorageError> {
        lock(&self.link, id)
            .await
            .map_err(|failure| failure.during("read a lock"))
    }

    async fn free_lock(&self, lock: &StoredLock) -> Result<bool, StorageError> {
        let all = &self.link.keys;
        let (jid, queue) = match &lock.next {
            Some((jid, queue)) => (jid.as_str(), queue.as_str()),
            None => ("", ""),
        };
        let mut keys = vec![all.lock(lock.id), all.locks(), all.marks(), all.queues()];
        if let Some((_, queue)) = &lock.next {
            keys.push(all.queue(queue));
        }
        let args = [
            borrowed(lock.jid.as_str()),
            arg(lock.revision),
            borrowed(queue),
            borrowed(jid),
        ];
        let freed = self.link.run(&scripts::FREE_LOCK, &keys, &args).await;
        freed
            .and_then(|freed| Ok(reply::integer(freed)? == 1))
            .map_err(|failure| failure.during("free a lock"))
    }

    async fn suspect(&self) -> Result<Option<StoredLock>, StorageError> {
        suspect(&self.link)
            .await
            .map_err(|failure| failure.during("look for a suspect lock"))
    }

    async fn clear_suspect(&self, id: LockId) -> Result<(), StorageError> {
        let mut command = redis::cmd("ZREM");
        command.arg(self.link.keys.suspects()).arg(id.to_string());
        let removed = self.link.query(&command).await;
        removed
            .map(|_| ())
            .map_err(|failure| failure.during("clear a suspect lock"))
    }

    async fn adopt_lock(
        &self,
        lock: &StoredLock,
        lasts: Option<Duration>,
    ) -> Result<bool, StorageError> {
        let all = &self.link.keys;
        let args = [
            borrowed(lock.jid.as_str()),
            borrowed(&lock.class),
            place_text(&lock.place),
            arg(unix_seconds(lock.since)),
            ends(lasts),
        ];
        let keys = [all.lock(lock.id), all.locks()];
        let adopted = self.link.run(&scripts::ADOPT_LOCK, &keys, &args).await;
        adopted
            .and_then(|adopted| Ok(reply::integer(adopted)? == 1))
            .map_err(|failure| failure.during("adopt a lock"))
    }

    async fn seen(&self, key: &str) -> Result<Option<(Jid, String)>, StorageError> {
        let mut command = redis::cmd("GET");
        command.arg(self.link.keys.seen(key));
        let seen = self.link.ask(&command).await;
        seen.and_then(read_seen)
            .map_err(|failure| failure.during("read what was enqueued with a key"))
    }
}

async fn enqueue_locked(link: &Link, jobs: &[LockedJob]) -> Result<Vec<Locked>, Failure> {
    let all = &link.keys;
    let mut keys = KeyList::new(vec![
        all.queues(),
        all.set(JobSet::Schedule),
        all.set(JobSet::Retry),
        all.marks(),
        all.locks(),
        all.suspects(),
        all.moved(),
    ]);
    let mut args = lock_numbers().to_vec();
    for job in jobs {
        push_locked(&mut args, all, &mut keys, job);
    }
    let reply = link
        .run(&scripts::ENQUEUE_LOCKED, &keys.keys, &args)
        .await?;
    let answers = reply::array(reply)?;
    if answers.len() != jobs.len() {
        return Err(Failure::unexpected_reply("an answer for each job"));
    }
    answers
        .into_iter()
        .map(|answer| locked(answer, ENQUEUE))
        .collect()
}

async fn enqueue_once(link: &Link, once: &Once, job: &OnceJob) -> Result<OnceAnswer, Failure> {
    let all = &link.keys;
    let mut keys = KeyList::new(vec![
        all.seen(&once.key),
        all.queues(),
        all.set(JobSet::Schedule),
        all.set(JobSet::Retry),
        all.marks(),
        all.locks(),
        all.suspects(),
        all.moved(),
    ]);
    let mut args = vec![
        borrowed(&once.request),
        arg(milliseconds(once.lasts)),
        borrowed(once.jid.as_str()),
        queue_word(once.queue.as_ref()),
    ];
    args.extend(lock_numbers());
    match job {
        OnceJob::Free(push) => push_free(&mut args, all, &mut keys, push),
        OnceJob::Locked(job) => push_locked(&mut args, all, &mut keys, job),
    }
    let reply = link.run(&scripts::ENQUEUE_ONCE, &keys.keys, &args).await?;
    if let Value::Array(parts) = &reply
        && parts.len() == 3
    {
        let [_, jid, request] = <[Value; 3]>::try_from(reply::array(reply)?)
            .map_err(|_| Failure::unexpected_reply("the job that was stored with a key"))?;
        return Ok(OnceAnswer::Seen {
            jid: reply::text(jid)?.as_str().into(),
            request: reply::text(request)?,
        });
    }
    locked(reply, ONCE).map(OnceAnswer::First)
}

/// A request, a space, and an id.
fn read_seen(reply: Value) -> Result<Option<(Jid, String)>, Failure> {
    if reply == Value::Nil {
        return Ok(None);
    }
    let text = reply::text(reply)?;
    let (request, jid) = text.split_once(' ').unwrap_or((&text, ""));
    Ok(Some((jid.into(), request.to_owned())))
}

fn locked(answer: Value, op: &'static str) -> Result<Locked, Failure> {
    let answer = match answer {
        Value::Int(1) => return Ok(Locked::New),
        Value::BulkString(text) => {
            return Ok(Locked::Failed(Failure::refused(&text).during(op)));
        }
        answer => reply::array(answer)?,
    };
    let texts: Result<Vec<String>, Failure> = answer.into_iter().map(reply::text).collect();
    match &texts?[..] {
        [old] => Ok(Locked::Replaced {
            old: old.as_str().into(),
        }),
        [jid, place] => Ok(Locked::Duplicate {
            jid: jid.as_str().into(),
            place: read_place(place)?,
        }),
        _ => Err(Failure::unexpected_reply("what became of a job")),
    }
}

/// What is read of a lock.
const FIELDS: [&str; 8] = [
    "jid",
    "class",
    "place",
    "since",
    "conflicts",
    "rev",
    "next_jid",
    "next_queue",
];

async fn lock(link: &Link, id: LockId) -> Result<Option<StoredLock>, Failure> {
    let (_, locks) = read_locks(link, &[id]).await?;
    Ok(locks.into_iter().next())
}

/// Reads locks, without those that are free, and the time at which they were read.
async fn read_locks(link: &Link, ids: &[LockId]) -> Result<(SystemTime, Vec<StoredLock>), Failure> {
    let mut commands = redis::pipe();
    commands.cmd("TIME");
    for id in ids {
        let key = link.keys.lock(*id);
        commands.cmd("HMGET").arg(&key).arg(&FIELDS);
        commands.cmd("PTTL").arg(&key);
    }
    let mut replies = link.ask_all(&commands).await?.into_iter();
    let mut next = || {
        let reply = replies.next();
        reply.unwrap_or_else(|| Err(Failure::unexpected_reply("a reply for each command")))
    };
    let now = match <[Value; 2]>::try_from(reply::array(next()?)?) {
        Ok([seconds, microseconds]) => reply::time(seconds, microseconds)?,
        Err(_) => return Err(Failure::unexpected_reply("a time of day")),
    };
    let mut locks = Vec::with_capacity(ids.len());
    for id in ids {
        let (fields, left) = (reply::array(next()?)?, reply::integer(next()?)?);
        let until = u64::try_from(left)
            .ok()
            .and_then(|left| now.checked_add(Duration::from_millis(left)));
        locks.extend(stored_lock(*id, fields, until)?);
    }
    Ok((now, locks))
}

fn stored_lock(
    id: LockId,
    fields: Vec<Value>,
    until: Option<SystemTime>,
) -> Result<Option<StoredLock>, Failure> {
    let text = |value| match value {
        Value::Nil => Ok(None),
        value => reply::text(value).map(Some),
    };
    let fields: Result<Vec<Option<String>>, Failure> = fields.into_iter().map(text).collect();
    let Ok([jid, class, place, since, conflicts, revision, next, queue]) =
        <[Option<String>; 8]>::try_from(fields?)
    else {
        return Err(Failure::unexpected_reply("the fields of a lock"));
    };
    let (Some(jid), Some(place)) = (jid, place) else {
        return Ok(None);
    };
    let number = |text: Option<String>| text.and_then(|text| text.parse().ok()).unwrap_or(0);
    let since = since.and_then(|since| since.parse().ok()).unwrap_or(0.0);
    let queue = queue.and_then(|queue| QueueName::new(&queue).ok());
    Ok(Some(StoredLock {
        id,
        jid: jid.into(),
        class: class.unwrap_or_default(),
        place: read_place(&place)?,
        since: from_unix_seconds(since),
        until,
        conflicts: number(conflicts),
        next: next.map(Into::into).zip(queue),
        revision: number(revision),
    }))
}

async fn locks(link: &Link, page: Page) -> Result<LockPage, Failure> {
    let key = link.keys.locks();
    let end = page.offset.saturating_add(page.limit.max(1)) - 1;
    let mut commands = redis::pipe();
    commands.cmd("ZCARD").arg(&key);
    commands.cmd("ZRANGE").arg(&key).arg(page.offset).arg(end);
    let replies = link.ask_all(&commands).await?;
    let Ok([len, ids]) = <[Result<Value, Failure>; 2]>::try_from(replies) else {
        return Err(Failure::unexpected_reply("two replies"));
    };
    let ids = reply::array(ids?)?;
    let looked_at = ids.len();
    let ids: Result<Vec<String>, Failure> = ids.into_iter().map(reply::text).collect();
    let ids: Vec<LockId> = ids?.iter().filter_map(|id| id.parse().ok()).collect();
    Ok(LockPage {
        locks: read_locks(link, &ids).await?.1,
        looked_at,
        len: reply::count(len?)?,
    })
}

/// How many suspects are read to find one that still is a lock.
const MOST_LOOKS: usize = 100;

async fn suspect(link: &Link) -> Result<Option<StoredLock>, Failure> {
    let key = link.keys.suspects();
    for _ in 0..MOST_LOOKS {
        let mut command = redis::cmd("ZRANGE");
        command.arg(&key).arg(0).arg(0);
        let Some(id) = reply::array(link.ask(&command).await?)?.pop() else {
            return Ok(None);
        };
        let id = reply::text(id)?;
        if let Ok(id) = id.parse()
            && let Some(lock) = lock(link, id).await?
        {
            return Ok(Some(lock));
        }
        let mut command = redis::cmd("ZREM");
        command.arg(&key).arg(id);
        link.query(&command).await?;
    }
    Ok(None)
}
