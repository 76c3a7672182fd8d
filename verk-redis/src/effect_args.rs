//! The effects of the steps that move jobs, as arguments of their scripts.

use std::time::Duration;

use bb8_redis::redis::Value;
use bytes::Bytes;
use verk_core::{
    Jid, QueueName,
    storage::{
        Conflict, CronPush, Effect, HolderPlace, LockRef, LockedJob, MAX_REPLACE_SEARCH,
        SUSPECT_AFTER,
    },
    time::{from_unix_seconds, unix_seconds},
};

use crate::{
    connect::{
        reply,
        scripts::{Arg, arg, borrowed, milliseconds},
    },
    error::Failure,
    keys::{KeyList, Keys},
};

/// The effects of the jobs of one call as `effects.lua` reads them: nothing if there are none.
pub(crate) fn push<'a>(
    args: &mut Vec<Arg<'a>>,
    all: &Keys,
    keys: &mut KeyList,
    jobs: impl Iterator<Item = &'a [Effect]> + Clone,
) {
    let count: usize = jobs.clone().map(<[Effect]>::len).sum();
    if count == 0 {
        return;
    }
    args.extend([borrowed("effects"), arg(count)]);
    for key in [all.marks(), all.locks(), all.queues()] {
        args.push(arg(keys.index(key)));
    }
    for (index, effects) in jobs.enumerate() {
        for effect in effects {
            push_one(args, all, keys, index + 1, effect);
        }
    }
}

fn push_one<'a>(
    args: &mut Vec<Arg<'a>>,
    all: &Keys,
    keys: &mut KeyList,
    job: usize,
    effect: &'a Effect,
) {
    let mut begin = |kind: &'static str, lock: &'a LockRef| {
        args.extend([
            arg(job),
            borrowed(kind),
            arg(keys.index(all.lock(lock.id))),
            borrowed(lock.jid.as_str()),
            arg(keys.index(all.queue(&lock.queue))),
            borrowed(lock.queue.as_str()),
        ]);
    };
    let optional = |payload: &'a Option<Bytes>| payload.as_ref().map_or(borrowed(""), borrowed);
    match effect {
        Effect::Unlock(lock) => begin("unlock", lock),
        Effect::Relock {
            lock,
            place,
            payload,
        } => {
            begin("relock", lock);
            args.extend([
                place.as_ref().map_or(borrowed(""), place_text),
                optional(payload),
            ]);
        }
        Effect::Hold {
            lock,
            died_at,
            lasts,
        } => {
            begin("hold", lock);
            args.extend([
                place_text(&HolderPlace::Dead(*died_at)),
                arg(milliseconds(*lasts)),
            ]);
        }
        Effect::Lock { lock, place, new } => {
            begin("lock", lock);
            args.extend([
                place_text(place),
                optional(&new.payload),
                borrowed(&new.class),
                ends(new.lasts),
            ]);
        }
        // An effect that this version does not know cannot be made by it.
        _ => {}
    }
}

/// A queue, or nothing.
pub(crate) fn queue_word(queue: Option<&QueueName>) -> Arg<'_> {
    queue.map_or(borrowed(""), |queue| borrowed(queue.as_str()))
}

/// The numbers that `locking.lua` needs.
pub(crate) fn lock_numbers() -> [Arg<'static>; 2] {
    [arg(SUSPECT_AFTER.as_secs()), arg(MAX_REPLACE_SEARCH)]
}

/// A job without a lock.
pub(crate) fn push_free<'a>(
    args: &mut Vec<Arg<'a>>,
    all: &Keys,
    keys: &mut KeyList,
    push: &'a CronPush,
) {
    match push {
        CronPush::Queue { queue, job } => args.extend([
            borrowed("queue"),
            arg(keys.index(all.queue(queue))),
            borrowed(queue.as_str()),
            borrowed(job),
        ]),
        CronPush::Later(due) => args.extend([
            borrowed("set"),
            arg(unix_seconds(due.at)),
            borrowed(&due.job),
        ]),
    }
}

/// A job as `locking.lua` reads it.
pub(crate) fn push_locked<'a>(
    args: &mut Vec<Arg<'a>>,
    all: &Keys,
    keys: &mut KeyList,
    job: &'a LockedJob,
) {
    let LockRef { id, jid, queue } = &job.lock;
    let (conflict, max_wait) = match job.on_conflict {
        Conflict::Skip => ("skip", None),
        Conflict::Replace { max_wait } => ("replace", max_wait),
        Conflict::KeepLast => ("keep_last", None),
        Conflict::QueueOne => ("queue_one", None),
    };
    args.extend([
        borrowed("job"),
        arg(keys.index(all.lock(*id))),
        borrowed(jid.as_str()),
        borrowed(&job.class),
        arg(keys.index(all.queue(queue))),
        borrowed(queue.as_str()),
        job.at.map_or(borrowed(""), |at| arg(unix_seconds(at))),
        borrowed(&job.job),
        borrowed(conflict),
        max_wait.map_or(borrowed(""), |wait| arg(wait.as_secs_f64())),
        ends(job.lasts),
    ]);
}

/// The job that has a lock, and its place, as `locking.lua` answers.
pub(crate) fn read_holder(answer: Value) -> Result<(Jid, HolderPlace), Failure> {
    let texts = reply::array(answer)?.into_iter().map(reply::text);
    match &texts.collect::<Result<Vec<_>, _>>()?[..] {
        [jid, place] => Ok((jid.as_str().into(), read_place(place)?)),
        _ => Err(Failure::unexpected_reply("the job that has a lock")),
    }
}

pub(crate) fn read_place(text: &str) -> Result<HolderPlace, Failure> {
    let (kind, at) = text.split_once(' ').unwrap_or((text, ""));
    let wrong = || Failure::unexpected_reply("the place of a job");
    let time = || Ok(from_unix_seconds(at.parse().map_err(|_| wrong())?));
    match kind {
        "queue" => Ok(HolderPlace::Waiting {
            queue: QueueName::new(at).map_err(|_| wrong())?,
        }),
        "schedule" => time().map(HolderPlace::Scheduled),
        "retry" => time().map(HolderPlace::Retrying),
        "dead" => time().map(HolderPlace::Dead),
        _ => Err(wrong()),
    }
}

/// How many bytes of payloads effects send.
pub(crate) fn bytes(effects: &[Effect]) -> usize {
    effects.iter().map(Effect::size).sum()
}

/// After how many milliseconds a lock ends, or nothing.
pub(crate) fn ends(lasts: Option<Duration>) -> Arg<'static> {
    lasts.map_or(borrowed(""), |lasts| arg(milliseconds(lasts)))
}

pub(crate) fn place_text(place: &HolderPlace) -> Arg<'static> {
    match place {
        HolderPlace::Waiting { queue } => arg(format_args!("queue {queue}")),
        HolderPlace::Scheduled(at) => arg(format_args!("schedule {}", unix_seconds(*at))),
        HolderPlace::Retrying(at) => arg(format_args!("retry {}", unix_seconds(*at))),
        HolderPlace::Dead(at) => arg(format_args!("dead {}", unix_seconds(*at))),
    }
}
