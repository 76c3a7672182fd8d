//! One job on its way: [`Carried`] decides how the target stores it, and how the source forgets it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hmac_sha256::Hash;

use crate::{
    effects::{self, Claim},
    job::Job,
    names::{Jid, QueueName},
    storage::{
        Conflict, CronPush, DeadLimits, Due, DueSet, Effects, HolderPlace, JobSet, LockRef,
        LockedJob, Move, MoveTarget, Once, OnceJob, Source, StoredLock, WaitingJob,
    },
    time::clock::{from_unix_seconds, time_after, unix_seconds},
};

/// How long the target remembers each job that it got: 7 days.
const LASTS: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A dead job waits so long in the `schedule` set of the target until it is moved on: 100 years.
const PARKED: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// How many hex digits of a request say which job it is. The others say which run stored it.
const REQUEST: usize = 32;

/// A job that is copied to the target.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    /// Where it is in the source.
    from: Source,
    payload: Bytes,
    /// `None` if the payload is no job. Then its bytes are moved as they are.
    job: Option<Job>,
    /// In a set, its time.
    at: Option<SystemTime>,
    /// The lock that it holds in the source.
    held: Option<Held>,
    /// The key under which the target remembers it.
    pub(super) key: String,
    request: String,
}

/// A lock that moves with its job.
#[derive(Clone, Debug)]
struct Held {
    claim: Claim,
    lock: LockRef,
    /// For how long it is held at most.
    left: Option<Duration>,
}

/// Who stored a job under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// This job, by this run.
    Now,
    /// This job, by a run that did not end.
    Before,
    /// Another job with the same id.
    Other,
}

impl Carried {
    pub(super) fn new(from: &Source, waiting: WaitingJob, migration: &str) -> Self {
        let job = Job::decode(waiting.job.clone()).ok();
        let queue = match from {
            Source::Queue(queue) => Some(queue),
            Source::Set(_) => job.as_ref().and_then(Job::queue),
        };
        // A node of the source may move a due job to its queue meanwhile. Then the payload has
        // another time, and perhaps another form, but is the same job.
        let (id, request) = match &job {
            Some(job) => {
                let queue = queue.map_or("", QueueName::as_str);
                let (class, retries) = (job.class(), job.retry_count());
                let same = hash(format!("{class}\n{queue}\n{retries:?}").as_bytes());
                (job.jid().to_string(), same)
            }
            None => (hash(&waiting.job), hash(&waiting.job)),
        };
        Self {
            from: from.clone(),
            at: waiting.score.map(exact_time),
            key: format!("m{}", hash(format!("{migration}\n{id}").as_bytes())),
            request,
            held: None,
            payload: waiting.job,
            job,
        }
    }

    /// The id of the job; empty if it is none.
    pub(super) fn id(&self) -> &str {
        self.job.as_ref().map_or("", |job| job.jid().as_str())
    }

    pub(super) fn jid(&self) -> Option<&Jid> {
        self.job.as_ref().map(Job::jid)
    }

    pub(super) fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The queue of the job: that in which it waits, or that which it names.
    pub(super) fn queue(&self) -> Option<&QueueName> {
        match &self.from {
            Source::Queue(queue) => Some(queue),
            Source::Set(_) => self.job.as_ref().and_then(Job::queue),
        }
    }

    /// What the payload says about a lock.
    pub(super) fn claim(&self) -> Option<Claim> {
        self.job.as_ref().and_then(Claim::of)
    }

    /// Notes that the job holds its lock, as the source has it.
    pub(super) fn holds(&mut self, claim: Claim, stored: &StoredLock, now: SystemTime) {
        let (Some(job), Some(queue)) = (&self.job, self.queue()) else {
            return;
        };
        if stored.jid != *job.jid() {
            return;
        }
        let left = stored.until.map(|until| until.duration_since(now));
        let left = match left {
            // It ends about now.
            Some(Err(_)) => return,
            Some(Ok(left)) => Some(left.max(Duration::from_millis(1))),
            None => None,
        };
        let lock = claim.of_job(job, queue);
        self.held = Some(Held { claim, lock, left });
    }

    /// The lock that it holds.
    pub(super) fn lock(&self) -> Option<&LockRef> {
        self.held.as_ref().map(|held| &held.lock)
    }

    /// The key under which the target stores it, once. `run` is the id of this run: hex digits.
    pub(super) fn once(&self, run: &str) -> Once {
        Once {
            key: self.key.clone(),
            request: format!("{}{run}", self.request),
            jid: self.jid().cloned().unwrap_or_else(|| "0".into()),
            queue: self.queue().cloned(),
            lasts: LASTS,
        }
    }

    /// Who stored a job with this request.
    pub(super) fn stored(&self, request: &str, run: &str) -> Stored {
        match request.split_at_checked(REQUEST) {
            Some((job, by)) if job == self.request && by == run => Stored::Now,
            Some((job, _)) if job == self.request => Stored::Before,
            _ => Stored::Other,
        }
    }

    /// What is stored first: the job in its queue or, for a set, in the `schedule` set. Only there
    /// a storage can store a job under a key.
    ///
    /// `waits` says that a job may wait for its lock, as it did in the source.
    pub(super) fn first(&self, now: SystemTime, waits: bool) -> OnceJob {
        let at = match &self.from {
            Source::Queue(_) => None,
            Source::Set(JobSet::Dead) => Some(time_after(now, PARKED)),
            Source::Set(JobSet::Schedule | JobSet::Retry) => Some(self.at.unwrap_or(now)),
        };
        let job = self.payload.clone();
        match (&self.held, &self.from, at) {
            (Some(held), _, at) => OnceJob::Locked(LockedJob {
                lock: held.lock.clone(),
                job,
                at,
                class: (self.job.as_ref()).map_or_else(String::new, |job| job.class().to_owned()),
                lasts: held.left,
                on_conflict: if waits {
                    Conflict::QueueOne
                } else {
                    Conflict::Skip
                },
            }),
            (None, Source::Queue(queue), _) => OnceJob::Free(CronPush::Queue {
                queue: queue.clone(),
                job,
            }),
            (None, Source::Set(_), at) => OnceJob::Free(CronPush::Later(Due {
                at: at.unwrap_or(now),
                job,
            })),
        }
    }

    /// Asks whether the job was stored under its key, while its lock in the target names it: as a
    /// job of another id it cannot get that lock. If the lock ends in this moment, the job is
    /// stored, with a lock that ends at once.
    pub(super) fn probe(&self, now: SystemTime) -> OnceJob {
        match self.first(now, false) {
            OnceJob::Locked(mut locked) => {
                locked.lock.jid = Jid::random();
                locked.lasts = Some(Duration::from_millis(1));
                OnceJob::Locked(locked)
            }
            free @ OnceJob::Free(_) => free,
        }
    }

    /// The place in which [`first`](Self::first) stores it, and the step from there to its own
    /// place; `None` if it is there, and its lock is complete.
    pub(super) fn second(&self, now: SystemTime) -> Option<(Source, Move)> {
        let due = Due {
            at: self.at.unwrap_or(now),
            job: self.payload.clone(),
        };
        let (first, to, place) = match &self.from {
            Source::Set(JobSet::Retry) => {
                let place = HolderPlace::Retrying(due.at);
                let set = DueSet::Retry;
                (JobSet::Schedule, MoveTarget::Set { set, job: due }, place)
            }
            Source::Set(JobSet::Dead) => {
                let place = HolderPlace::Dead(due.at);
                let limits = KEEP_ALL;
                (
                    JobSet::Schedule,
                    MoveTarget::Dead { job: due, limits },
                    place,
                )
            }
            source => {
                // The lock gets the payload, with which the job can be replaced.
                let held = self.held.as_ref()?;
                let effect = held.claim.completed(&held.lock, &self.payload)?;
                let step = Move {
                    held: self.payload.clone(),
                    to: MoveTarget::Replace {
                        job: self.payload.clone(),
                    },
                    effects: effect.into(),
                };
                return Some((source.clone(), step));
            }
        };
        let effects = self.held.as_ref().map_or(Effects::NONE, |held| {
            (held.claim)
                .arrived(&held.lock, place, &self.payload)
                .into()
        });
        let held = self.payload.clone();
        Some((Source::Set(first), Move { held, to, effects }))
    }

    /// The step by which the source forgets it.
    pub(super) fn deletion(&self) -> Move {
        let to = MoveTarget::Delete;
        let effects = self.job.as_ref();
        Move {
            held: self.payload.clone(),
            effects: effects.map_or(Effects::NONE, |job| effects::of_move(job, &self.from, &to)),
            to,
        }
    }
}

/// The nodes of the target cut its dead set, not the migration.
const KEEP_ALL: DeadLimits = DeadLimits {
    max_jobs: usize::MAX,
    timeout: Duration::from_secs(1 << 40),
};

/// The time of a score, so that the target gets the same score: to the nanosecond.
fn exact_time(score: f64) -> SystemTime {
    let rounded = from_unix_seconds(score);
    // A score that no time has gets the nearest one.
    let is_time = (score - unix_seconds(rounded)).abs() < 1.0;
    let exact = Duration::try_from_secs_f64(score).ok();
    let exact = exact.filter(|_| is_time);
    exact
        .and_then(|exact| SystemTime::UNIX_EPOCH.checked_add(exact))
        .unwrap_or(rounded)
}

/// 32 hex digits.
fn hash(bytes: &[u8]) -> String {
    let hash = Hash::hash(bytes);
    hash[..REQUEST / 2]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_stays_the_same() {
        for score in [
            0.0,
            1.5,
            1_796_077_479.767_145_2,
            1e11 / 7.0,
            253_402_300_798.9,
        ] {
            assert_eq!(unix_seconds(exact_time(score)).to_bits(), score.to_bits());
        }
        for (score, nearest) in [
            (-5.0, 0.0),
            (f64::INFINITY, 253_402_300_799.0),
            (f64::NEG_INFINITY, 0.0),
            (1e300, 253_402_300_799.0),
        ] {
            assert_eq!(
                unix_seconds(exact_time(score)).to_bits(),
                f64::to_bits(nearest)
            );
        }
    }

    #[test]
    fn a_job_has_the_same_key_after_the_source_moved_it() {
        let carried = |from: &Source, payload: &'static str, id: &str| {
            let waiting = WaitingJob {
                job: Bytes::from(payload),
                score: None,
                index: None,
            };
            Carried::new(from, waiting, id)
        };
        let schedule = Source::Set(JobSet::Schedule);
        let queue = Source::Queue("a".parse().unwrap());
        let later = r#"{"class":"A","jid":"1","queue":"a","args":[ 1 ]}"#;
        let due = r#"{"class":"A","jid":"1","queue":"a","args":[1],"enqueued_at":5}"#;
        let (one, other) = (carried(&schedule, later, "m"), carried(&queue, due, "m"));
        assert_eq!((&one.key, &one.request), (&other.key, &other.request));
        let request = one.once("0a").request;
        assert_eq!(one.stored(&request, "0a"), Stored::Now);
        assert_eq!(other.stored(&request, "0b"), Stored::Before);
        assert_ne!(carried(&queue, due, "n").key, one.key);
        let failed = r#"{"class":"A","jid":"1","queue":"a","args":[],"retry_count":0}"#;
        assert_eq!(
            carried(&queue, failed, "m").stored(&request, "0a"),
            Stored::Other
        );
        assert!(
            one.once("0a")
                .key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric())
        );
    }
}
