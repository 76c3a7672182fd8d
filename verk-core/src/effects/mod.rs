//! What the transitions of a job do besides moving it: decided here, from the payload of the job,
//! and done by the storage in the same step.
//!
//! The payload of a job with effects has the key `verk`, with all that the effects need. So every
//! program that can read the job can move it with the same effects, whether it knows the class or
//! not.

pub(crate) mod digest;
pub(crate) mod unique;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use self::unique::{OnConflict, Unique, Until};
use crate::{
    job::Job,
    names::QueueName,
    storage::{
        Conflict, Due, DueSet, Effect, Effects, HolderPlace, JobSet, LockId, LockRef, MoveTarget,
        NewLock, Source, Target,
    },
};

/// The key `verk` of a payload. Other keys in it belong to other features, and stay.
#[derive(Debug, Default, Deserialize)]
struct Extra {
    /// The unique lock.
    u: Option<Claim>,
}

/// What a payload says about the lock of its job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// The lock.
    #[serde(rename = "d", with = "as_text")]
    lock: LockId,
    /// What frees it.
    #[serde(rename = "e", default)]
    end: End,
    /// For how many milliseconds a lock lasts at most.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    lasts: Option<u64>,
    /// For how many milliseconds a dead job keeps it.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    hold_when_dead: Option<u64>,
    /// Whether the lock keeps the payload, so that the job can be replaced.
    #[serde(rename = "p", default, skip_serializing_if = "std::ops::Not::not")]
    keeps_payload: bool,
}

/// What frees a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    /// The end of the job.
    #[default]
    Done,
    /// Its first start.
    Start,
    /// The move to its queue when it is due.
    Due,
    /// The end of its first run, whatever its outcome.
    Run,
    /// Time alone, or a deletion.
    Time,
}

impl Claim {
    /// What a new job says about its lock.
    pub(crate) fn new(unique: &Unique, class: &str, queue: &QueueName, args: &str) -> Self {
        let (end, lasts) = match (unique.debounce, unique.until) {
            (Some(_), _) => (End::Due, None),
            (None, Until::Start) => (End::Start, None),
            (None, Until::Done) => (End::Done, None),
            (None, Until::Time(lasts)) => (End::Time, Some(lasts)),
            (None, Until::DoneOr(lasts)) => (End::Done, Some(lasts)),
        };
        Self {
            lock: LockId::from_bits(digest::digest(unique, class, queue, args)),
            end,
            lasts: lasts.map(milliseconds),
            hold_when_dead: unique.hold_when_dead.map(milliseconds),
            keeps_payload: conflict(unique) != Conflict::Skip,
        }
    }

    /// What the job of a run of a periodic job says about the lock of its entry.
    #[cfg(feature = "cron")]
    pub(crate) fn of_entry(name: &str) -> Self {
        Self {
            lock: LockId::from_bits(digest::of_entry(name)),
            end: End::Run,
            lasts: None,
            hold_when_dead: None,
            keeps_payload: false,
        }
    }

    /// Writes it into the job.
    pub(crate) fn put(&self, job: &mut Job) {
        // Every field has a JSON form.
        job.set_in_verk("u", serde_json::to_string(self).ok());
    }

    /// What the payload of a job says about its lock; `None` if it has none.
    #[inline]
    pub(crate) fn of(job: &Job) -> Option<Self> {
        job.verk().and_then(Self::read)
    }

    /// Reads the value of the key `verk`.
    fn read(verk: &str) -> Option<Self> {
        let extra: Extra = serde_json::from_str(verk).ok()?;
        extra.u
    }

    /// The lock.
    pub(crate) fn lock(&self) -> LockId {
        self.lock
    }

    /// After what time the lock is free in any case.
    pub(crate) fn lasts(&self) -> Option<Duration> {
        self.lasts.map(duration)
    }

    /// The lock for an effect for this job. `queue` is where a job goes that waits for it.
    pub(crate) fn of_job(&self, job: &Job, queue: &QueueName) -> LockRef {
        LockRef {
            id: self.lock,
            jid: job.jid().clone(),
            queue: queue.clone(),
        }
    }

    /// The effect of a step to a set or a queue.
    fn follow(&self, lock: LockRef, place: Option<HolderPlace>, job: &Bytes) -> Effect {
        Effect::Relock {
            lock,
            place,
            payload: self.keeps_payload.then(|| job.clone()),
        }
    }

    /// The effect of a death.
    fn death(&self, lock: LockRef, died_at: SystemTime) -> Option<Effect> {
        match (self.end, self.hold_when_dead) {
            (End::Time, _) => None,
            (_, Some(lasts)) => Some(Effect::Hold {
                lock,
                died_at,
                lasts: duration(lasts),
            }),
            (_, None) => Some(Effect::Unlock(lock)),
        }
    }
}

/// # Jobs that come from another storage with their locks
impl Claim {
    /// The effect of the step that takes such a job to its place.
    pub(crate) fn arrived(&self, lock: &LockRef, place: HolderPlace, job: &Bytes) -> Effect {
        self.follow(lock.clone(), Some(place), job)
    }

    /// The effect by which the lock of such a job gets the payload; `None` if it keeps none.
    pub(crate) fn completed(&self, lock: &LockRef, job: &Bytes) -> Option<Effect> {
        (self.keeps_payload).then(|| self.follow(lock.clone(), None, job))
    }
}

/// What the storage does if another job holds the lock.
pub(crate) fn conflict(unique: &Unique) -> Conflict {
    match (unique.debounce, unique.on_conflict) {
        (Some(_), _) => Conflict::Replace {
            max_wait: unique.max_wait,
        },
        (None, OnConflict::Skip | OnConflict::Error) => Conflict::Skip,
        (None, OnConflict::Replace) => Conflict::Replace { max_wait: None },
        (None, OnConflict::KeepLast) => Conflict::KeepLast,
    }
}

/// Lets the job have no lock any more.
pub(crate) fn forget_lock(job: &mut Job) {
    if Claim::of(job).is_some() {
        job.set_in_verk("u", None);
    }
}

/// What a settlement does besides taking a job that was fetched from `queue` to `to`.
pub(crate) fn of_settlement(job: &Job, queue: &QueueName, to: &Target) -> Effects {
    let Some(claim) = Claim::of(job) else {
        return Effects::NONE;
    };
    let lock = claim.of_job(job, queue);
    let follow = |lock, place, due: &Due| match claim.end {
        // It was freed before.
        End::Due => None,
        End::Run => Some(Effect::Unlock(lock)),
        _ => Some(claim.follow(lock, Some(place), &due.job)),
    };
    let effect = match to {
        Target::Ack if claim.end == End::Time => None,
        Target::Ack => Some(Effect::Unlock(lock)),
        Target::Requeue => None,
        Target::Retry(due) => follow(lock, HolderPlace::Retrying(due.at), due),
        Target::Schedule(due) => follow(lock, HolderPlace::Scheduled(due.at), due),
        Target::Dead { job, .. } => claim.death(lock, job.at),
    };
    effect.into()
}

/// What a move does besides taking a waiting job out of `from`.
pub(crate) fn of_move(job: &Job, from: &Source, to: &MoveTarget) -> Effects {
    let Some(claim) = Claim::of(job) else {
        return Effects::NONE;
    };
    let fallback;
    let queue = match (from, to) {
        (_, MoveTarget::Queue { queue, .. }) | (Source::Queue(queue), _) => queue,
        // A job that names no queue is about to be buried. Nothing waits for its lock.
        _ => match (job.queue(), QueueName::new("default")) {
            (Some(queue), _) => queue,
            (None, Ok(default)) => {
                fallback = default;
                &fallback
            }
            (None, Err(_)) => return Effects::NONE,
        },
    };
    let lock = claim.of_job(job, queue);
    let waiting = || HolderPlace::Waiting {
        queue: queue.clone(),
    };
    let is_dead = *from == Source::Set(JobSet::Dead);
    let effect = match to {
        MoveTarget::Delete => Some(Effect::Unlock(lock)),
        MoveTarget::Dead { job, .. } => claim.death(lock, job.at),
        MoveTarget::Replace { job } => Some(claim.follow(lock, None, job)),
        MoveTarget::Queue { job, .. } if is_dead => claim.revive(lock, waiting(), job),
        MoveTarget::Set { set, job } if is_dead => {
            claim.revive(lock, of_set(*set, job.at), &job.job)
        }
        MoveTarget::Queue { .. } if claim.end == End::Due => Some(Effect::Unlock(lock)),
        MoveTarget::Queue { job, .. } => Some(claim.follow(lock, Some(waiting()), job)),
        MoveTarget::Set { set, job } => {
            Some(claim.follow(lock, Some(of_set(*set, job.at)), &job.job))
        }
    };
    effect.into()
}

/// What the first start of a job does; nothing for most jobs.
pub(crate) fn of_start(job: &Job, queue: &QueueName) -> Option<Effect> {
    let claim = Claim::of(job).filter(|claim| claim.end == End::Start)?;
    Some(Effect::Unlock(claim.of_job(job, queue)))
}

impl Claim {
    /// The effect of a step out of the dead set.
    fn revive(&self, lock: LockRef, place: HolderPlace, job: &Bytes) -> Option<Effect> {
        if matches!(self.end, End::Time | End::Due | End::Run) {
            return None;
        }
        let class = Job::decode(job.clone()).map(|job| job.class().to_owned());
        Some(Effect::Lock {
            lock,
            place,
            new: NewLock {
                class: class.unwrap_or_default(),
                payload: self.keeps_payload.then(|| job.clone()),
                lasts: self.lasts(),
            },
        })
    }
}

fn of_set(set: DueSet, at: SystemTime) -> HolderPlace {
    match set {
        DueSet::Schedule => HolderPlace::Scheduled(at),
        DueSet::Retry => HolderPlace::Retrying(at),
    }
}

/// A time in a payload, of at most a hundred years: no server accepts much longer ones.
fn duration(milliseconds: u64) -> Duration {
    const LONGEST: u64 = 100 * 366 * 24 * 60 * 60 * 1000;
    Duration::from_millis(milliseconds.clamp(1, LONGEST))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A lock as its hex digits.
mod as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::storage::LockId;

    pub(super) fn serialize<S: Serializer>(id: &LockId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<LockId, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}
