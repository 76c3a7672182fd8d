//! Finds the job, a bounded step at a time: the reads of [`Admin::why`].

use std::time::{Duration, Instant, SystemTime};

use futures_util::future::try_join_all;

#[cfg(feature = "cron")]
use super::Reason;
use super::{
    JobRef, RefPlace, SearchPlace,
    decide::{Holder, Sighting, Spot},
    place::Stage,
};
#[cfg(feature = "cron")]
use crate::manage::timetable::entry::CronRun;
use crate::{
    error::StorageError,
    job::Job,
    manage::{Admin, NodeStatus, Process, RunningJob, filter::plain_part},
    names::{Jid, QueueName},
    storage::{
        HeldCount, Inprogress, JobSet, ListRequest, MAX_BATCH_JOBS, MAX_LIST_LOOKS, Order, Page,
        Position, Source, StoredLock, WaitingJob, WorkPlace,
    },
    time::clock::from_unix_seconds,
};

/// How many steps one call makes: each looks at no more than 500 jobs.
const MAX_STEPS: usize = 20;

/// After so long, a call makes no further step.
const MAX_TIME: Duration = Duration::from_millis(200);

/// How many lists of nodes are read at once.
const LISTS_AT_ONCE: usize = 16;

/// How many pages of one such list are read: a node holds far fewer jobs.
const MAX_PAGES: usize = 10;

/// How far from the place where a job was seen in a queue it may be now: jobs before it left.
const LEFT: u64 = MAX_LIST_LOOKS as u64 - 50;

/// What a call found.
#[derive(Debug)]
pub(super) enum Answer {
    Found(Box<Sighting>),
    /// It waits for this lock.
    WaitsFor(Box<StoredLock>),
    Nowhere,
    Searching {
        looked_at: u64,
        of: u64,
        next: SearchPlace,
    },
}

/// What a step found.
enum Step {
    Found(Box<Sighting>),
    WaitsFor(Box<StoredLock>),
    /// Where the next step continues; `None` after the last.
    Next(Option<Stage>),
}

pub(super) async fn find(admin: &Admin, reference: &JobRef) -> Result<Answer, StorageError> {
    let jid = &reference.jid;
    let start = match &reference.place {
        Some(RefPlace::Search(place)) => place.clone(),
        Some(seen) => {
            if let Some(sighting) = look_where_seen(admin, jid, seen).await? {
                return Ok(Answer::Found(sighting));
            }
            SearchPlace::START
        }
        None => SearchPlace::START,
    };
    Search::new(admin, jid).await?.run(start).await
}

impl SearchPlace {
    const START: Self = Self {
        looked_at: 0,
        stage: Stage::Held(0),
    };
}

/// One bounded read.
async fn look_where_seen(
    admin: &Admin,
    jid: &Jid,
    seen: &RefPlace,
) -> Result<Option<Box<Sighting>>, StorageError> {
    let (source, from) = match seen {
        RefPlace::Set { set, score } => {
            let from = Position::Score {
                score: *score,
                skip: 0,
            };
            (Source::Set(*set), from)
        }
        RefPlace::Queue { queue, index } => {
            let from = Position::Index(index.saturating_sub(LEFT));
            (Source::Queue(queue.clone()), from)
        }
        RefPlace::Search(_) => return Ok(None),
    };
    let request = request(jid, from, Order::OldestFirst);
    let listing = admin.storage().list(&source, &request).await?;
    Ok(among(listing.jobs, &source, jid))
}

struct Search<'a> {
    admin: &'a Admin,
    jid: &'a Jid,
    /// The queues that have jobs, by name.
    queues: Vec<QueueName>,
    /// How many jobs wait in all places.
    of: u64,
    /// What nodes hold, once that was read.
    held: Option<Vec<(Inprogress, HeldCount)>>,
    looked_at: u64,
}

impl<'a> Search<'a> {
    async fn new(admin: &'a Admin, jid: &'a Jid) -> Result<Self, StorageError> {
        let storage = admin.storage();
        let mut names = storage.queues().await?;
        names.sort();
        let stats = storage.stats(&names).await?;
        let mut of = stats.scheduled + stats.retry + stats.dead;
        let mut queues = Vec::new();
        for (queue, stats) in names.into_iter().zip(stats.queues) {
            of += stats.enqueued;
            if stats.enqueued > 0 {
                queues.push(queue);
            }
        }
        Ok(Self {
            admin,
            jid,
            queues,
            of: of as u64,
            held: None,
            looked_at: 0,
        })
    }

    async fn run(mut self, start: SearchPlace) -> Result<Answer, StorageError> {
        let clock = self.admin.clock();
        let begun: Instant = clock.instant();
        self.looked_at = start.looked_at;
        let mut stage = start.stage;
        for _ in 0..MAX_STEPS {
            match self.step(stage).await? {
                Step::Found(sighting) => return Ok(Answer::Found(sighting)),
                Step::WaitsFor(lock) => return Ok(Answer::WaitsFor(lock)),
                Step::Next(None) => return Ok(Answer::Nowhere),
                Step::Next(Some(next)) => stage = next,
            }
            if clock.instant().saturating_duration_since(begun) >= MAX_TIME {
                break;
            }
        }
        Ok(Answer::Searching {
            looked_at: self.looked_at,
            of: self.of,
            next: SearchPlace {
                looked_at: self.looked_at,
                stage,
            },
        })
    }

    async fn step(&mut self, stage: Stage) -> Result<Step, StorageError> {
        match stage {
            Stage::Held(list) => self.held(list, false).await,
            Stage::HeldAgain(list) => self.held(list, true).await,
            Stage::Set(set, position) => {
                let then = match set {
                    JobSet::Schedule => Some(Stage::Set(JobSet::Retry, Position::default())),
                    JobSet::Retry => Some(self.queue_after(None)),
                    JobSet::Dead => Some(Stage::Locks(0)),
                };
                let next = |position| Stage::Set(set, position);
                self.list(Source::Set(set), position, next, then).await
            }
            Stage::Queue(queue, position) => {
                let then = self.queue_after(Some(&queue));
                let next = |position| Stage::Queue(queue.clone(), position);
                let source = Source::Queue(queue.clone());
                self.list(source, position, next, Some(then)).await
            }
            Stage::Locks(read) => self.locks(read).await,
            Stage::Running(from) => {
                let page = self.admin.running(from, MAX_BATCH_JOBS).await?;
                let found = page.jobs.into_iter().find_map(|running| {
                    let job = running.job.ok().filter(|job| job.jid() == self.jid)?;
                    let spot = Spot::Reported {
                        process: running.process,
                        queue: running.queue,
                        since: running.since,
                    };
                    Some(Box::new(Sighting { job, spot }))
                });
                Ok(match (found, page.next) {
                    (Some(sighting), _) => Step::Found(sighting),
                    (None, Some(next)) => Step::Next(Some(Stage::Running(Some(next)))),
                    (None, None) => {
                        // What nodes hold is read again.
                        self.held = None;
                        Step::Next(Some(Stage::HeldAgain(0)))
                    }
                })
            }
        }
    }

    /// The next queue that has jobs, by name; then the jobs that processes report.
    fn queue_after(&self, queue: Option<&QueueName>) -> Stage {
        let is_later = |name: &&QueueName| queue.is_none_or(|queue| *name > queue);
        match self.queues.iter().find(is_later) {
            // From the newest on: jobs that are fetched meanwhile shift no step.
            Some(next) => Stage::Queue(next.clone(), Position::default()),
            None => Stage::Running(None),
        }
    }

    /// A step through a set or a queue. `next` is the stage at a position of it, and `then` the
    /// stage after its end.
    async fn list(
        &mut self,
        source: Source,
        position: Position,
        next: impl FnOnce(Position) -> Stage,
        then: Option<Stage>,
    ) -> Result<Step, StorageError> {
        let order = match source {
            Source::Set(_) => Order::OldestFirst,
            Source::Queue(_) => Order::NewestFirst,
        };
        let request = request(self.jid, position, order);
        let listing = self.admin.storage().list(&source, &request).await?;
        self.looked_at = self.looked_at.saturating_add(listing.looked_at as u64);
        Ok(match among(listing.jobs, &source, self.jid) {
            Some(sighting) => Step::Found(sighting),
            None => Step::Next(listing.next.map(next).or(then)),
        })
    }

    /// A step through the unique locks: the job may wait for one.
    async fn locks(&self, read: u64) -> Result<Step, StorageError> {
        let page = Page {
            offset: usize::try_from(read).unwrap_or(usize::MAX),
            limit: MAX_BATCH_JOBS,
        };
        let page = self.admin.storage().locks(page).await?;
        let is_next =
            |lock: &StoredLock| lock.next.as_ref().is_some_and(|(jid, _)| jid == self.jid);
        let after = read.saturating_add(page.looked_at as u64);
        Ok(match page.locks.into_iter().find(is_next) {
            Some(lock) => Step::WaitsFor(Box::new(lock)),
            None => Step::Next((page.looked_at > 0).then_some(Stage::Locks(after))),
        })
    }

    /// A step through the lists of nodes that have jobs.
    async fn held(&mut self, list: u64, again: bool) -> Result<Step, StorageError> {
        let lists = match self.held.take() {
            Some(lists) => lists,
            None => self.lists_of_nodes().await?,
        };
        let first = usize::try_from(list).unwrap_or(usize::MAX);
        let some = lists.get(first..).unwrap_or_default();
        let some = &some[..some.len().min(LISTS_AT_ONCE)];
        let reads = some.iter().map(|(list, count)| self.held_by(list, *count));
        let found = try_join_all(reads).await?.into_iter().flatten().next();
        let after = first.saturating_add(LISTS_AT_ONCE);
        let is_end = after >= lists.len();
        self.held = Some(lists);
        let after = after as u64;
        Ok(match (found, again) {
            (Some(sighting), _) => Step::Found(sighting),
            (None, false) if is_end => {
                Step::Next(Some(Stage::Set(JobSet::Schedule, Position::default())))
            }
            (None, true) if is_end => {
                Step::Next(Some(Stage::Set(JobSet::Dead, Position::default())))
            }
            (None, false) => Step::Next(Some(Stage::Held(after))),
            (None, true) => Step::Next(Some(Stage::HeldAgain(after))),
        })
    }

    async fn lists_of_nodes(&self) -> Result<Vec<(Inprogress, HeldCount)>, StorageError> {
        let nodes = self.admin.nodes().await?;
        let lists = nodes.into_iter().flat_map(|node| {
            let id = node.id;
            node.queues.into_iter().map(move |queue| {
                let list = Inprogress {
                    queue: queue.name,
                    node: id.clone(),
                };
                let count = HeldCount {
                    jobs: queue.held,
                    prefetched: queue.prefetched,
                };
                (list, count)
            })
        });
        Ok(lists.filter(|(_, count)| count.jobs > 0).collect())
    }

    async fn held_by(
        &self,
        list: &Inprogress,
        count: HeldCount,
    ) -> Result<Option<Box<Sighting>>, StorageError> {
        let mut read = 0;
        for _ in 0..MAX_PAGES {
            let page = Page {
                offset: read,
                limit: MAX_BATCH_JOBS,
            };
            let jobs = self.admin.storage().inprogress(list, page).await?;
            if jobs.is_empty() {
                break;
            }
            for payload in jobs {
                let number = read;
                read += 1;
                let job = Job::decode(payload)
                    .ok()
                    .filter(|job| job.jid() == self.jid);
                if let Some(job) = job {
                    let spot = Spot::Held {
                        node: list.node.clone(),
                        queue: list.queue.clone(),
                        prefetched: number < count.prefetched,
                    };
                    return Ok(Some(Box::new(Sighting { job, spot })));
                }
            }
            if read >= count.jobs {
                break;
            }
        }
        Ok(None)
    }
}

fn request(jid: &Jid, from: Position, order: Order) -> ListRequest {
    let text = plain_part(jid.as_str()).to_owned();
    ListRequest {
        from,
        order,
        limit: MAX_BATCH_JOBS,
        texts: if text.is_empty() {
            Vec::new()
        } else {
            vec![text]
        },
        ..ListRequest::default()
    }
}

/// The job among those that were read.
fn among(jobs: Vec<WaitingJob>, source: &Source, jid: &Jid) -> Option<Box<Sighting>> {
    jobs.into_iter().find_map(|waiting| {
        let job = Job::decode(waiting.job)
            .ok()
            .filter(|job| job.jid() == jid)?;
        let spot = match source {
            Source::Queue(queue) => Spot::Queue {
                queue: queue.clone(),
                index: waiting.index.unwrap_or_default(),
            },
            Source::Set(set) => Spot::Set {
                set: *set,
                at: waiting
                    .score
                    .map_or(SystemTime::UNIX_EPOCH, from_unix_seconds),
            },
        };
        Some(Box::new(Sighting { job, spot }))
    })
}

/// The run of the timetable that enqueued a job which is nowhere any more, if it is among the last
/// runs of the first entries.
#[cfg(feature = "cron")]
pub(super) async fn run_of_timetable(
    admin: &Admin,
    jid: &Jid,
) -> Result<Option<Reason>, StorageError> {
    let mut offset = 0;
    for _ in 0..MAX_PAGES {
        let limit = MAX_BATCH_JOBS;
        let page = admin.storage().cron_entries(Page { offset, limit }).await?;
        if page.is_empty() {
            break;
        }
        offset += page.len();
        let run = page.iter().find_map(|entry| {
            let mut runs = entry.last.iter().filter_map(|record| CronRun::of(record));
            let run = runs.find(|run| run.jid.as_ref() == Some(jid))?;
            Some(Reason::Periodic {
                name: entry.name.clone(),
                due: run.due,
                missed: run.missed,
            })
        });
        if run.is_some() {
            return Ok(run);
        }
    }
    Ok(None)
}

/// A program without the feature `cron` cannot read the runs.
#[cfg(not(feature = "cron"))]
#[expect(clippy::unused_async, reason = "the same as with the feature")]
pub(super) async fn run_of_timetable(
    _: &Admin,
    _: &Jid,
) -> Result<Option<super::Reason>, StorageError> {
    Ok(None)
}

/// What is known of the node that holds the job, if one does.
pub(super) async fn holder(
    admin: &Admin,
    sighting: &Sighting,
    nodes: &[NodeStatus],
    processes: &[Process],
) -> Result<Option<Holder>, StorageError> {
    let Spot::Held {
        node, prefetched, ..
    } = &sighting.spot
    else {
        return Ok(None);
    };
    let status = nodes.iter().find(|status| status.id == *node);
    let info = status.and_then(|status| status.info.as_ref());
    let process = info.and_then(|info| {
        let is_its = |process: &&Process| process.identity == info.process;
        processes.iter().find(is_its)
    });
    let since = match process {
        Some(process) if !prefetched => {
            run_of(admin, &process.identity, sighting.job.jid()).await?
        }
        _ => None,
    };
    Ok(Some(Holder {
        alive: status.is_some_and(|status| status.alive),
        process: process.map(|process| process.identity.clone()),
        reported: process.map(|process| process.beat),
        since,
    }))
}

/// When the run of a job began, as its process reports it.
async fn run_of(
    admin: &Admin,
    process: &str,
    jid: &Jid,
) -> Result<Option<SystemTime>, StorageError> {
    let mut from = Some(WorkPlace {
        identity: process.to_owned(),
        cursor: 0,
    });
    for _ in 0..MAX_PAGES {
        let page = admin.storage().work(from.as_ref(), MAX_BATCH_JOBS).await?;
        let of_process = page
            .work
            .into_iter()
            .filter(|work| work.identity == process);
        let found = of_process.map(RunningJob::of).find(|running| {
            let job = running.job.as_ref();
            job.is_ok_and(|job| job.jid() == jid)
        });
        if let Some(running) = found {
            return Ok(running.since);
        }
        from = page.next.filter(|next| next.identity == process);
        if from.is_none() {
            break;
        }
    }
    Ok(None)
}
