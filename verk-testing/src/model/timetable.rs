//! The steps of the timetable.

use std::time::SystemTime;

use bytes::Bytes;
use proptest::{bool::weighted, collection::vec, option, prelude::*};
use verk_core::storage::{
    CronChange, CronPush, CronSeen, CronTick, CronUpsert, Due, LockedPush, Page, Storage,
    StoredCron, Ticked,
};

use super::{
    ledger::Ledger,
    request::{Answer, Outcome, at, queue_name},
    step::{Payload, Spot, payload, queue},
    unique::{NewUnique, new_unique},
};

/// How many entries there are.
pub(super) const ENTRIES: usize = 2;

const ALL: Page = Page {
    offset: 0,
    limit: ENTRIES + 1,
};

#[derive(Clone, Debug)]
pub(super) enum CronAction {
    /// Stores one of a few definitions.
    Upsert {
        entry: usize,
        definition: usize,
        saw: Saw,
        next: Option<u64>,
        even_if_superseded: bool,
    },
    Tick {
        entry: usize,
        saw: Saw,
        next: Next,
        pushes: Vec<Push>,
        /// To a queue.
        locked: Option<(usize, NewUnique)>,
        missed: u64,
    },
    /// Sends the last tick once more, as a node that does not know or is late.
    TickAgain,
    Pause {
        entry: usize,
    },
    Resume {
        entry: usize,
        saw: Saw,
        next: Option<u64>,
    },
    Mark {
        entry: usize,
        orphaned: bool,
    },
    Remove {
        entry: usize,
    },
}

/// How the caller has seen an entry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Saw {
    /// As it is.
    Now,
    /// With another definition, or before a pause.
    OtherRevision,
    /// Before a tick.
    OtherTime,
    /// There was none.
    Nothing,
}

/// When an entry runs next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    Never,
    /// In so many seconds.
    In(u64),
    /// As before: somebody asked for a run.
    Same,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Push {
    job: Payload,
    to: To,
}

#[derive(Clone, Copy, Debug)]
enum To {
    Queue(usize),
    Later(u64),
}

#[derive(Clone, Debug)]
pub(super) enum CronRequest {
    Upsert(String, CronUpsert),
    Tick(String, Box<CronTick>),
    Pause(String, Bytes),
    Resume(String, CronSeen, Option<SystemTime>),
    Mark(String, Option<SystemTime>),
    Remove(String),
}

impl CronAction {
    pub(super) fn spots(&self) -> Vec<Spot> {
        let pushes = match self {
            Self::Tick { pushes, .. } => &pushes[..],
            _ => &[],
        };
        let locked = match self {
            Self::Tick {
                locked: Some((queue, job)),
                ..
            } => vec![Spot::Queue(*queue), Spot::Lock(job.lock)],
            _ => Vec::new(),
        };
        let targets = pushes.iter().map(|push| match push.to {
            To::Queue(queue) => Spot::Queue(queue),
            To::Later(_) => Spot::DUE[0],
        });
        targets
            .chain(locked)
            .chain([Spot::Cron, Spot::CronDue])
            .collect()
    }
}

pub(super) fn action() -> impl Strategy<Value = CronAction> {
    let next = || prop_oneof![1 => Just(None), 5 => (0..60_u64).prop_map(Some)];
    prop_oneof![
        4 => (entry(), 0..3_usize, saw(), next(), weighted(0.3)).prop_map(
            |(entry, definition, saw, next, even_if_superseded)| CronAction::Upsert {
                entry, definition, saw, next, even_if_superseded,
            }
        ),
        8 => tick(),
        3 => Just(CronAction::TickAgain),
        1 => entry().prop_map(|entry| CronAction::Pause { entry }),
        2 => (entry(), saw(), next()).prop_map(|(entry, saw, next)| CronAction::Resume { entry, saw, next }),
        1 => (entry(), any::<bool>()).prop_map(|(entry, orphaned)| CronAction::Mark { entry, orphaned }),
        1 => entry().prop_map(|entry| CronAction::Remove { entry }),
    ]
}

fn tick() -> impl Strategy<Value = CronAction> {
    let next = prop_oneof![
        6 => (1..60_u64).prop_map(Next::In),
        1 => Just(Next::Never),
        1 => Just(Next::Same),
    ];
    let to = prop_oneof![
        3 => queue().prop_map(To::Queue),
        1 => (0..40_u64).prop_map(To::Later),
    ];
    let push = (payload(), to).prop_map(|(job, to)| Push { job, to });
    let locked = option::of((queue(), new_unique()));
    (entry(), saw(), next, vec(push, 0..3), locked, 0..3_u64).prop_map(
        |(entry, saw, next, pushes, locked, missed)| CronAction::Tick {
            entry,
            saw,
            next,
            pushes,
            locked,
            missed,
        },
    )
}

/// Most often the first.
fn entry() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0), 1 => 1..ENTRIES]
}

fn saw() -> impl Strategy<Value = Saw> {
    prop_oneof![
        8 => Just(Saw::Now),
        1 => Just(Saw::OtherRevision),
        1 => Just(Saw::OtherTime),
        1 => Just(Saw::Nothing),
    ]
}

pub(super) fn name_of(entry: usize) -> String {
    // Neither a space nor a colon ends a name.
    format!("entry: {entry}")
}

impl Ledger {
    pub(super) fn cron_request(&mut self, action: &CronAction) -> Option<CronRequest> {
        let in_seconds = |now: u64, next: Option<u64>| next.map(|next| at(now + next));
        Some(match action {
            &CronAction::Upsert {
                entry,
                definition,
                saw,
                next,
                even_if_superseded,
            } => {
                let upsert = CronUpsert {
                    seen: self.seen(entry, saw),
                    queue: None,
                    definition: Bytes::from(format!("definition {definition}")),
                    hash: format!("hash{definition}"),
                    next: in_seconds(self.now, next),
                    even_if_superseded,
                };
                CronRequest::Upsert(name_of(entry), upsert)
            }
            CronAction::Tick {
                entry,
                saw,
                next,
                pushes,
                locked,
                missed,
            } => {
                let seen = self.seen(*entry, *saw)?;
                let next = match *next {
                    Next::Never => None,
                    Next::In(delay) => Some(at(self.now + delay)),
                    Next::Same => seen.next,
                };
                let tick = CronTick {
                    seen,
                    next,
                    pushes: pushes.iter().map(|push| self.push(*push)).collect(),
                    locked: locked.map(|(queue, job)| LockedPush {
                        job: self.unique(queue, job),
                        skipped: Bytes::from(format!("skip at {}", self.now)),
                    }),
                    missed: *missed,
                    record: Bytes::from(format!("tick at {}", self.now)),
                };
                let request = CronRequest::Tick(name_of(*entry), Box::new(tick));
                self.last_tick = Some(request.clone());
                request
            }
            CronAction::TickAgain => {
                let last = self.last_tick.clone();
                last.filter(|last| match last {
                    CronRequest::Tick(_, tick) => {
                        let mut locked = tick.locked.iter();
                        locked.all(|locked| self.may_be_stored(&locked.job))
                    }
                    _ => false,
                })?
            }
            &CronAction::Pause { entry } => {
                CronRequest::Pause(name_of(entry), Bytes::from(self.now.to_string()))
            }
            &CronAction::Resume { entry, saw, next } => {
                let seen = self.seen(entry, saw)?;
                CronRequest::Resume(name_of(entry), seen, in_seconds(self.now, next))
            }
            &CronAction::Mark { entry, orphaned } => {
                CronRequest::Mark(name_of(entry), orphaned.then(|| self.time()))
            }
            &CronAction::Remove { entry } => CronRequest::Remove(name_of(entry)),
        })
    }

    fn push(&mut self, push: Push) -> CronPush {
        let job = self.payload(push.job);
        match push.to {
            To::Queue(queue) => CronPush::Queue {
                queue: queue_name(queue),
                job,
            },
            To::Later(delay) => CronPush::Later(Due {
                at: at(self.now + delay),
                job,
            }),
        }
    }

    /// How a caller has seen an entry; one that does not exist, somehow.
    fn seen(&self, entry: usize, saw: Saw) -> Option<CronSeen> {
        let stored = self.cron_entry(&name_of(entry)).map(StoredCron::seen);
        let seen = stored.unwrap_or(CronSeen {
            revision: 1,
            next: Some(at(0)),
        });
        match saw {
            Saw::Nothing => None,
            Saw::Now => stored,
            Saw::OtherRevision => Some(CronSeen {
                revision: seen.revision - 1,
                ..seen
            }),
            Saw::OtherTime => Some(CronSeen {
                next: match seen.next {
                    Some(_) => None,
                    None => Some(at(1)),
                },
                ..seen
            }),
        }
    }
}

pub(super) async fn ask(storage: &dyn Storage, request: &CronRequest) -> Answer {
    match request {
        CronRequest::Upsert(name, upsert) => {
            Answer::of(storage.upsert_cron(name, upsert).await, Answer::of_change)
        }
        CronRequest::Tick(name, tick) => Answer::of(storage.tick_cron(name, tick).await, ticked),
        CronRequest::Pause(name, note) => {
            Answer::of(storage.pause_cron(name, note).await, Answer::Flag)
        }
        CronRequest::Resume(name, seen, next) => Answer::of(
            storage.resume_cron(name, seen, *next).await,
            Answer::of_change,
        ),
        CronRequest::Mark(name, orphaned) => {
            Answer::of(storage.mark_cron(name, *orphaned).await, Answer::Flag)
        }
        CronRequest::Remove(name) => Answer::of(storage.remove_cron(name).await, Answer::Flag),
    }
}

fn ticked(ticked: Ticked) -> Answer {
    match ticked {
        Ticked::Done => Answer::Done,
        Ticked::Skipped { jid, place } => Answer::Each(vec![Outcome::Duplicate { jid, place }]),
        Ticked::Differs => Answer::of_change(CronChange::Differs),
    }
}

/// All entries, as a page and by their names alike.
pub(super) async fn entries(
    storage: &dyn Storage,
) -> Result<Vec<StoredCron>, verk_core::StorageError> {
    let names: Vec<String> = (0..ENTRIES).map(name_of).collect();
    let (mut listed, named) =
        tokio::try_join!(storage.cron_entries(ALL), storage.cron_named(&names))?;
    listed.sort_by(|one, other| one.name.cmp(&other.name));
    let named: Vec<StoredCron> = named.into_iter().flatten().collect();
    assert_eq!(listed, named, "the entries of the timetable");
    Ok(listed)
}
