//! From a step, which names jobs by numbers, to a request for a storage: [`Request`]; and its
//! possible answers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use verk_core::{
    Jid, QueueName, StorageError,
    error::Applied,
    names::NodeId,
    storage::{
        CronChange, DeadLimits, Due, DueSet, HolderPlace, Inprogress, JobSet, Move, MoveTarget,
        Settled, Settlement, Source, StoredNodeInfo, Target,
    },
    test_seam,
};

use super::{
    ledger::Ledger,
    step::{Action, From, Limits, Payload, Pick, Place, QUEUES, Shape, To},
    timetable::CronRequest,
    unique::UniqueRequest,
    walk::{Walk, WalkRequest},
};

/// What a storage is asked.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Enqueue {
        queue: QueueName,
        jobs: Vec<Bytes>,
    },
    Schedule {
        jobs: Vec<Due>,
    },
    Dequeue {
        node: usize,
        queue: QueueName,
        max_jobs: usize,
        max_bytes: usize,
        prefetched: usize,
    },
    Settle {
        node: usize,
        queue: QueueName,
        /// By another node.
        restore: bool,
        settlements: Vec<Settlement>,
    },
    /// A settlement and a fetch in one trip.
    Exchange {
        settle: Box<Request>,
        dequeue: Box<Request>,
    },
    Move {
        from: Source,
        moves: Vec<Move>,
        due_by: Option<SystemTime>,
    },
    Clear {
        from: Source,
    },
    /// `None` resumes.
    SetPaused {
        queue: QueueName,
        note: Option<Bytes>,
    },
    Register {
        node: usize,
        queues: Vec<QueueName>,
        info: StoredNodeInfo,
    },
    Beat {
        node: usize,
    },
    Deregister {
        node: usize,
    },
    Die {
        node: usize,
    },
    ClaimName {
        node: usize,
    },
    LoseName {
        node: usize,
    },
    CountDeaths {
        node: usize,
        jids: Vec<Jid>,
    },
    PollSchedule {
        node: usize,
    },
    TrimDead {
        now: SystemTime,
        limits: DeadLimits,
    },
    Walk(WalkRequest),
    Unique(UniqueRequest),
    Cron(CronRequest),
}

/// What it answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Done,
    Flag(bool),
    /// A clear that did nothing.
    HasEffects,
    Count(usize),
    Jobs(Vec<Bytes>),
    Paused,
    NodeGone,
    /// One for each job of a batch.
    Each(Vec<Outcome>),
    /// Each of an exchange.
    Both(Box<Answer>, Box<Answer>),
    Walked(Walk),
    /// What the ledger knows nothing of.
    Text(String),
    /// Not applied.
    Refused,
    /// Applied or not.
    Unknown,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    Done,
    Merged,
    NotHeld,
    /// A job that waits for its lock comes instead.
    Superseded,
    /// Another job has its lock.
    Conflict(Jid),
    /// Not stored, because another job has its lock.
    Duplicate {
        jid: Jid,
        place: HolderPlace,
    },
    /// Stored instead of another.
    Replaced(Jid),
    /// Not stored, because it cannot wait for its lock.
    CannotWait,
    Refused,
    Unknown,
}

impl Answer {
    pub(super) fn of<T>(answer: Result<T, StorageError>, ok: impl FnOnce(T) -> Self) -> Self {
        match answer {
            Ok(answer) => ok(answer),
            Err(error) if error.applied() == Applied::NotApplied => Self::Refused,
            Err(_) => Self::Unknown,
        }
    }

    pub(super) fn of_each(settled: &[Settled]) -> Self {
        let outcomes = settled.iter().map(|settled| match settled {
            Settled::Done => Outcome::Done,
            Settled::Merged => Outcome::Merged,
            Settled::Superseded => Outcome::Superseded,
            Settled::Conflict { jid } => Outcome::Conflict(jid.clone()),
            Settled::NotHeld => Outcome::NotHeld,
            Settled::Failed(error) => Outcome::of_error(error),
        });
        Self::Each(outcomes.collect())
    }

    pub(super) fn of_change(change: CronChange) -> Self {
        match change {
            CronChange::Done => Self::Done,
            CronChange::Differs => Self::Text("differs".to_owned()),
            CronChange::Superseded => Self::Text("superseded".to_owned()),
        }
    }

    pub(super) fn is_unknown(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Each(outcomes) => outcomes.iter().all(|outcome| *outcome == Outcome::Unknown),
            _ => false,
        }
    }
}

impl Outcome {
    pub(super) fn of_error(error: &StorageError) -> Self {
        match error.applied() {
            Applied::NotApplied => Self::Refused,
            Applied::Unknown => Self::Unknown,
        }
    }
}

impl Ledger {
    /// The request, now; `None` if only time passes.
    pub(super) fn request(&mut self, action: &Action) -> Option<Request> {
        Some(match action {
            Action::Enqueue { queue, jobs } => Request::Enqueue {
                queue: queue_name(*queue),
                jobs: jobs.iter().map(|job| self.payload(*job)).collect(),
            },
            Action::Schedule { jobs } => Request::Schedule {
                jobs: jobs
                    .iter()
                    .map(|&(job, delay)| Due {
                        at: at(self.now + delay),
                        job: self.payload(job),
                    })
                    .collect(),
            },
            &Action::Dequeue {
                node,
                queue,
                max_jobs,
                max_bytes,
                prefetched,
            } => Request::Dequeue {
                node,
                queue: queue_name(queue),
                max_jobs,
                max_bytes,
                prefetched,
            },
            Action::Settle { node, queue, jobs } => self.settle_some(*node, *queue, jobs, false),
            Action::Restore { node, queue, jobs } => self.settle_some(*node, *queue, jobs, true),
            Action::Exchange {
                node,
                queue,
                jobs,
                max_jobs,
                prefetched,
            } => {
                let mut settle = self.settle_some(*node, *queue, jobs, false);
                if let Request::Settle { settlements, .. } = &mut settle {
                    settlements.retain(|settlement| settlement.to != Target::Requeue);
                }
                let dequeue = Request::Dequeue {
                    node: *node,
                    queue: queue_name(*queue),
                    max_jobs: *max_jobs,
                    max_bytes: 1_000_000,
                    prefetched: *prefetched,
                };
                Request::Exchange {
                    settle: Box::new(settle),
                    dequeue: Box::new(dequeue),
                }
            }
            Action::SettleAll { node, queue } => {
                let queue = queue_name(*queue);
                let held = self.held(*node, &queue).iter().cloned();
                let ack = |held| test_seam::settlement(held, &queue, Target::Ack);
                Request::Settle {
                    node: *node,
                    restore: false,
                    settlements: held.map(ack).collect(),
                    queue: queue.clone(),
                }
            }
            Action::Promote { set, jobs } => {
                let due_by = Some(self.time());
                self.move_some(Source::Set((*set).into()), jobs, due_by)
            }
            Action::Move { from, jobs } => self.move_some(source(*from), jobs, None),
            Action::MoveAll { from } => {
                let from = source(*from);
                let all = self.there(&from).into_iter();
                let moves = all.map(|held| test_seam::move_of(held, &from, MoveTarget::Delete));
                Request::Move {
                    moves: moves.collect(),
                    from,
                    due_by: None,
                }
            }
            Action::Clear { from } => {
                let from = source(*from);
                if self.may_stay_marked(&from) {
                    return None;
                }
                Request::Clear { from }
            }
            Action::SetPaused { queue, paused } => Request::SetPaused {
                queue: queue_name(*queue),
                // Of two notes, it shows which one is kept.
                note: paused.then(|| Bytes::from(self.now.to_string())),
            },
            Action::Register { node, queues } => Request::Register {
                node: *node,
                queues: queues.iter().copied().map(queue_name).collect(),
                // Of two registrations, it shows which one is kept.
                info: StoredNodeInfo {
                    version: self.now.to_string(),
                    ..StoredNodeInfo::default()
                },
            },
            &Action::Beat { node } => Request::Beat { node },
            &Action::Deregister { node } => Request::Deregister { node },
            &Action::Die { node } => Request::Die { node },
            &Action::ClaimName { node } => Request::ClaimName { node },
            &Action::LoseName { node } => Request::LoseName { node },
            Action::CountDeaths { node, jids } => Request::CountDeaths {
                node: *node,
                jids: jids
                    .iter()
                    .map(|jid| Jid::from(&*jid.to_string()))
                    .collect(),
            },
            &Action::PollSchedule { node } => Request::PollSchedule { node },
            &Action::TrimDead { limits } => Request::TrimDead {
                now: self.time(),
                limits: limits.into(),
            },
            Action::Walk {
                from,
                order,
                limit,
                max_bytes,
                text,
            } => Request::Walk(WalkRequest {
                from: source(*from),
                order: *order,
                limit: *limit,
                max_bytes: *max_bytes,
                texts: text.iter().map(ToString::to_string).collect(),
            }),
            Action::Unique(action) => Request::Unique(self.unique_request(action)?),
            Action::Cron(action) => Request::Cron(self.cron_request(action)?),
            Action::TimePasses { seconds } => {
                self.now += seconds;
                return None;
            }
        })
    }

    fn settle_some(
        &mut self,
        node: usize,
        queue: usize,
        jobs: &[(Pick, To)],
        restore: bool,
    ) -> Request {
        let queue = queue_name(queue);
        let there = self.held(node, &queue).iter().cloned().collect();
        let settlements = self.steps(there, jobs, |ledger, held, to| {
            let to = ledger.target(&held, to);
            test_seam::settlement(held, &queue, to)
        });
        Request::Settle {
            node,
            queue,
            restore,
            settlements,
        }
    }

    fn move_some(
        &mut self,
        from: Source,
        jobs: &[(Pick, To)],
        due_by: Option<SystemTime>,
    ) -> Request {
        let there = self.there(&from);
        let moves = self.steps(there, jobs, |ledger, held, to| {
            let to = ledger.move_target(&from, &held, to);
            test_seam::move_of(held, &from, to)
        });
        Request::Move {
            from,
            moves,
            due_by,
        }
    }

    /// The jobs that wait in a place.
    fn there(&mut self, from: &Source) -> Vec<Bytes> {
        match from {
            Source::Queue(queue) => self.queue(queue).iter().cloned().collect(),
            Source::Set(set) => self.set(*set).keys().cloned().collect(),
        }
    }

    /// Picks jobs of those that are there, or any.
    fn steps<T>(
        &mut self,
        there: Vec<Bytes>,
        jobs: &[(Pick, To)],
        mut step: impl FnMut(&mut Self, Bytes, To) -> T,
    ) -> Vec<T> {
        let mut steps = Vec::new();
        for (pick, to) in jobs {
            let (from, number) = match *pick {
                Pick::There(number) if !there.is_empty() => (&there, number),
                Pick::There(number) | Pick::Any(number) => (&self.known, number),
            };
            // The opening has stored some, so there is always one to pick.
            let held = from[number % from.len()].clone();
            steps.push(step(self, held, *to));
        }
        steps
    }

    fn target(&mut self, held: &Bytes, to: To) -> Target {
        match to.place {
            Place::Nowhere => Target::Ack,
            Place::Queue(_) | Place::Same => Target::Requeue,
            Place::Set(DueSet::Retry, delay) => Target::Retry(self.due(held, to, delay)),
            Place::Set(DueSet::Schedule, delay) => Target::Schedule(self.due(held, to, delay)),
            Place::Dead(limits) => Target::Dead {
                job: self.due(held, to, 0),
                limits: limits.into(),
            },
        }
    }

    fn move_target(&mut self, from: &Source, held: &Bytes, to: To) -> MoveTarget {
        match to.place {
            Place::Nowhere => MoveTarget::Delete,
            Place::Same => MoveTarget::Replace {
                job: self.changed(held, to),
            },
            Place::Queue(queue) => {
                // To another than the one that it comes from.
                let stays = *from == Source::Queue(queue_name(queue));
                MoveTarget::Queue {
                    queue: queue_name(queue + usize::from(stays)),
                    job: self.changed(held, to),
                }
            }
            Place::Set(set, delay) => MoveTarget::Set {
                set,
                job: self.due(held, to, delay),
            },
            Place::Dead(limits) => MoveTarget::Dead {
                job: self.due(held, to, 0),
                limits: limits.into(),
            },
        }
    }

    fn due(&mut self, held: &Bytes, to: To, delay: u64) -> Due {
        Due {
            at: at(self.now + delay),
            job: self.changed(held, to),
        }
    }

    /// What a job becomes on its way.
    fn changed(&mut self, held: &Bytes, to: To) -> Bytes {
        if !to.changed {
            return held.clone();
        }
        let claim = self.claim_of(held).cloned();
        let change = if claim.is_some() { " " } else { "+" };
        let changed = Bytes::from([held, change.as_bytes()].concat());
        self.known.push(changed.clone());
        if let Some(claim) = claim {
            self.claim(changed.clone(), claim);
        }
        changed
    }

    pub(super) fn payload(&mut self, payload: Payload) -> Bytes {
        let shape = match payload {
            Payload::New(shape) => shape,
            Payload::Again(number) => {
                // A unique job is not stored without its lock.
                let known = self
                    .known
                    .iter()
                    .cycle()
                    .skip(number)
                    .take(self.known.len());
                let mut plain = known.filter(|job| self.claim_of(job).is_none());
                if let Some(job) = plain.next() {
                    return job.clone();
                }
                Shape::Short
            }
        };
        let mut bytes = format!("job {}", self.known.len()).into_bytes();
        bytes.extend_from_slice(match shape {
            Shape::Short => b"",
            Shape::Json => {
                br#" {"a":18446744073709551617,"a":1.10,"b":[1E2,-0,1.0],"\u0041":"\/"}"#
            }
            Shape::Binary => b" \0\r\n\xff\xfe*3\r\n$-1\r\n%s\x80",
            Shape::Long => &[b'x'; 50_000],
        });
        let bytes = Bytes::from(bytes);
        self.known.push(bytes.clone());
        bytes
    }
}

impl std::convert::From<Limits> for DeadLimits {
    fn from(limits: Limits) -> Self {
        let (max_jobs, seconds) = match limits {
            Limits::None => (1_000_000, 1_000_000),
            Limits::FewJobs => (2, 1_000_000),
            Limits::ShortTime => (1_000_000, 15),
        };
        Self {
            max_jobs,
            timeout: Duration::from_secs(seconds),
        }
    }
}

fn source(from: From) -> Source {
    match from {
        From::Queue(queue) => Source::Queue(queue_name(queue)),
        From::Set(set) => Source::Set(set),
    }
}

/// So many seconds after a case began.
pub(super) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

pub(super) fn queue_name(queue: usize) -> QueueName {
    const NAMES: [&str; QUEUES] = ["default", "mailers"];
    match QueueName::new(NAMES[queue % QUEUES]) {
        Ok(name) => name,
        Err(error) => unreachable!("a valid name: {error}"),
    }
}

pub(super) fn node_id(node: usize) -> NodeId {
    let name = if node == 0 { "app" } else { "web" };
    NodeId::from(&*format!("{name}.{node:012x}"))
}

pub(super) fn list(node: usize, queue: &QueueName) -> Inprogress {
    Inprogress {
        queue: queue.clone(),
        node: node_id(node),
    }
}

pub(super) fn all_sets() -> [JobSet; 3] {
    [JobSet::Schedule, JobSet::Retry, JobSet::Dead]
}
