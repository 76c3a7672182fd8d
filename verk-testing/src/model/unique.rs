//! Unique jobs: the steps that only they have.

use std::time::Duration;

use bytes::Bytes;
use proptest::{bool::weighted, collection::vec, option, prelude::*};
use verk_core::{
    Jid,
    storage::{Conflict, Effects, LockId, LockRef, Locked, LockedJob, Settled, Storage},
    test_seam,
};

use super::{
    ledger::{Ledger, locks::Claim},
    request::{Answer, Outcome, at, list, queue_name},
    step::{Spot, Trouble, node, queue},
};

/// How many locks there are. Jobs of both queues share them.
pub(super) const LOCKS: usize = 3;

/// Longer than any case.
const LASTS: Duration = Duration::from_secs(600);

/// Later than any case.
const MAX_WAIT: Duration = Duration::from_secs(1_000_000_000);

#[derive(Clone, Debug)]
pub(super) enum UniqueAction {
    Enqueue {
        queue: usize,
        jobs: Vec<NewUnique>,
    },
    /// One of the jobs that the node holds starts.
    Begin {
        node: usize,
        queue: usize,
        job: usize,
    },
    /// An operator frees a lock as it is, or as it was.
    Free {
        lock: usize,
        stale: bool,
    },
    /// The time of a lock passes, if it has one.
    Expire {
        lock: usize,
    },
}

/// A job to store with its lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewUnique {
    pub(super) lock: usize,
    pub(super) rule: Rule,
    pub(super) meets: Meets,
    /// It is due in so many seconds.
    pub(super) delay: Option<u64>,
    /// Sends one again that was sent before.
    pub(super) again: Option<usize>,
}

/// What frees a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) end: End,
    /// A dead job keeps it for a time.
    pub(super) holds_when_dead: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    DoneOr,
    Start,
    Due,
    Time,
}

/// What an enqueue does if another job has the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meets {
    Skip,
    Replace { max_wait: bool },
    KeepLast,
    QueueOne,
}

#[derive(Clone, Debug)]
pub(super) enum UniqueRequest {
    Enqueue(Vec<LockedJob>),
    Begin {
        node: usize,
        queue: usize,
        held: Bytes,
        effects: Effects,
    },
    Free {
        lock: LockId,
        stale: bool,
    },
    Expire(LockId),
}

impl UniqueAction {
    pub(super) fn spots(&self) -> Vec<Spot> {
        match self {
            Self::Enqueue { queue, jobs } => {
                let locks = jobs.iter().map(|job| Spot::Lock(job.lock));
                locks
                    .chain([Spot::Queue(*queue)])
                    .chain(Spot::DUE)
                    .collect()
            }
            &Self::Begin { node, queue, .. } => {
                let lists = [Spot::Inprogress { node, queue }, Spot::Queue(queue)];
                lists.into_iter().chain(Spot::locks()).collect()
            }
            &Self::Free { lock, .. } => vec![Spot::Lock(lock), Spot::Queue(0)],
            Self::Expire { .. } => vec![Spot::Paused],
        }
    }

    /// The trouble that can be compared.
    pub(super) fn fitting(&mut self, trouble: Option<Trouble>) -> Option<Trouble> {
        match (self, trouble) {
            // Time does not ask whether anything works.
            (Self::Expire { .. }, _) => None,
            // A full Redis takes the jobs of a batch after one that it has found room for.
            (Self::Enqueue { jobs, .. }, Some(Trouble::Full)) => {
                jobs.truncate(1);
                trouble
            }
            (_, trouble) => trouble,
        }
    }
}

pub(super) fn action() -> impl Strategy<Value = UniqueAction> {
    prop_oneof![
        12 => (queue(), vec(new_unique(), 1..4)).prop_map(|(queue, jobs)| UniqueAction::Enqueue { queue, jobs }),
        4 => (node(), queue(), 0..6_usize).prop_map(|(node, queue, job)| UniqueAction::Begin { node, queue, job }),
        1 => (lock(), weighted(0.3)).prop_map(|(lock, stale)| UniqueAction::Free { lock, stale }),
        1 => lock().prop_map(|lock| UniqueAction::Expire { lock }),
    ]
}

/// Most often the first, so that jobs meet.
fn lock() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0), 1 => 1..LOCKS]
}

pub(super) fn new_unique() -> impl Strategy<Value = NewUnique> {
    let end = prop_oneof![
        4 => Just(End::Done),
        1 => Just(End::DoneOr),
        2 => Just(End::Start),
        2 => Just(End::Due),
        1 => Just(End::Time),
    ];
    let meets = prop_oneof![
        2 => Just(Meets::Skip),
        2 => any::<bool>().prop_map(|max_wait| Meets::Replace { max_wait }),
        3 => Just(Meets::KeepLast),
        1 => Just(Meets::QueueOne),
    ];
    let delay = prop_oneof![2 => Just(None), 1 => (0..40_u64).prop_map(Some)];
    let again = option::weighted(0.15, 0..20_usize);
    (lock(), end, weighted(0.3), meets, delay, again).prop_map(
        |(lock, end, holds_when_dead, meets, delay, again)| NewUnique {
            lock,
            rule: Rule {
                end,
                holds_when_dead,
            },
            meets,
            delay,
            again,
        },
    )
}

impl NewUnique {
    /// Stores a job that holds its lock for a time, if nobody has it.
    pub(super) fn for_a_time(lock: usize) -> Self {
        Self {
            lock,
            rule: Rule {
                end: End::Time,
                holds_when_dead: false,
            },
            meets: Meets::Skip,
            delay: None,
            again: None,
        }
    }
}

impl Ledger {
    pub(super) fn unique_request(&mut self, action: &UniqueAction) -> Option<UniqueRequest> {
        Some(match action {
            UniqueAction::Enqueue { queue, jobs } => {
                let mut sent = Vec::new();
                for job in jobs {
                    sent.push(self.unique(*queue, *job));
                }
                UniqueRequest::Enqueue(sent)
            }
            &UniqueAction::Begin { node, queue, job } => {
                let held = self.starts(node, &queue_name(queue), job)?;
                UniqueRequest::Begin {
                    node,
                    queue,
                    effects: test_seam::start(&held, &queue_name(queue)),
                    held,
                }
            }
            &UniqueAction::Free { lock, stale } => UniqueRequest::Free {
                lock: lock_id(lock),
                stale,
            },
            &UniqueAction::Expire { lock } => UniqueRequest::Expire(lock_id(lock)),
        })
    }

    pub(super) fn unique(&mut self, queue: usize, new: NewUnique) -> LockedJob {
        if let Some(sent) = new.again.and_then(|number| self.may_be_sent_again(number)) {
            return sent;
        }
        let NewUnique { rule, .. } = new;
        let (meets, delay) = match rule.end {
            // A debounced job.
            End::Due => (
                Meets::Replace {
                    max_wait: new.meets == Meets::Skip,
                },
                Some(new.delay.unwrap_or(5)),
            ),
            _ => (new.meets, new.delay),
        };
        let on_conflict = match meets {
            Meets::Skip => Conflict::Skip,
            Meets::Replace { max_wait } => Conflict::Replace {
                max_wait: max_wait.then_some(MAX_WAIT),
            },
            Meets::KeepLast => Conflict::KeepLast,
            Meets::QueueOne => Conflict::QueueOne,
        };
        let lasts = matches!(rule.end, End::Time | End::DoneOr).then_some(LASTS);
        let lock = LockRef {
            id: lock_id(new.lock),
            jid: Jid::from(&*format!("unique{}", self.known.len())),
            queue: queue_name(queue),
        };
        let payload = payload(
            &lock,
            rule,
            lasts,
            matches!(meets, Meets::Replace { .. } | Meets::KeepLast),
        );
        let job = LockedJob {
            job: payload.clone(),
            at: delay.map(|delay| at(self.now + delay)),
            class: "Sync".to_owned(),
            lasts,
            on_conflict,
            lock,
        };
        let claim = Claim {
            jid: job.lock.jid.clone(),
            lock: job.lock.id,
            rule,
        };
        self.known.push(payload.clone());
        self.claim(payload, claim);
        self.sent(&job);
        job
    }
}

/// A payload of a job with a lock: see `docs/wire-format.md`.
fn payload(lock: &LockRef, rule: Rule, lasts: Option<Duration>, keeps_payload: bool) -> Bytes {
    let LockRef { id, jid, queue } = lock;
    let end = match rule.end {
        End::Done | End::DoneOr => "done",
        End::Start => "start",
        End::Due => "due",
        End::Time => "time",
    };
    let mut claim = format!(r#""d":"{id}","e":"{end}""#);
    if let Some(lasts) = lasts {
        claim += &format!(r#","t":{}"#, lasts.as_millis());
    }
    if rule.holds_when_dead {
        claim += &format!(r#","h":{}"#, LASTS.as_millis());
    }
    if keeps_payload {
        claim += r#","p":true"#;
    }
    Bytes::from(format!(
        r#"{{"class":"Sync","jid":"{jid}","queue":"{queue}","args":[],"verk":{{"u":{{{claim}}}}}}}"#
    ))
}

pub(super) fn lock_id(lock: usize) -> LockId {
    LockId::from_bits(0xabc0 + lock as u128)
}

pub(super) async fn ask(storage: &dyn Storage, request: &UniqueRequest) -> Answer {
    match request {
        UniqueRequest::Enqueue(jobs) => {
            let stored = storage.enqueue_locked(jobs).await;
            Answer::Each(stored.into_iter().map(outcome).collect())
        }
        UniqueRequest::Begin {
            node,
            queue,
            held,
            effects,
        } => {
            let list = list(*node, &queue_name(*queue));
            match storage.begin(&list, held, effects).await {
                Settled::Failed(error) => Answer::of(Err::<(), _>(error), |()| Answer::Done),
                settled => Answer::of_each(&[settled]),
            }
        }
        UniqueRequest::Free { lock, stale } => {
            let freed = match storage.lock(*lock).await {
                Ok(Some(mut lock)) => {
                    lock.revision -= u64::from(*stale);
                    storage.free_lock(&lock).await
                }
                Ok(None) => Ok(false),
                Err(error) => Err(error),
            };
            Answer::of(freed, Answer::Flag)
        }
        UniqueRequest::Expire(_) => Answer::Done,
    }
}

fn outcome(locked: Locked) -> Outcome {
    match locked {
        Locked::New => Outcome::Done,
        Locked::Duplicate { jid, place } => Outcome::Duplicate { jid, place },
        Locked::Replaced { old } => Outcome::Replaced(old),
        Locked::Failed(error) if error.to_string().contains("cannot wait for its lock") => {
            Outcome::CannotWait
        }
        Locked::Failed(error) => Outcome::of_error(&error),
    }
}
