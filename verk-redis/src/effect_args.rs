//! The effects of the steps that move jobs, as arguments of their scripts.

use std::time::Duration;

use bytes::Bytes;
use verk_core::{
    storage::{Effect, HolderPlace, LockRef},
    time::unix_seconds,
};

use crate::{
    connect::scripts::{Arg, arg, borrowed, milliseconds},
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

/// How many bytes of payloads effects send.
pub(crate) fn bytes(effects: &[Effect]) -> usize {
    effects.iter().map(Effect::size).sum()
}

/// After how many milliseconds a lock ends, or nothing.
pub(crate) fn ends(lasts: Option<Duration>) -> Arg<'static> {
    lasts.map_or(borrowed(""), |lasts| arg(milliseconds(lasts)))
}

fn place_text(place: &HolderPlace) -> Arg<'static> {
    match place {
        HolderPlace::Waiting { queue } => arg(format_args!("queue {queue}")),
        HolderPlace::Scheduled(at) => arg(format_args!("schedule {}", unix_seconds(*at))),
        HolderPlace::Retrying(at) => arg(format_args!("retry {}", unix_seconds(*at))),
        HolderPlace::Dead(at) => arg(format_args!("dead {}", unix_seconds(*at))),
    }
}
