//! What happens in the fleet, as far as reading it now and then can show: [`Tail`].
//!
//! 1. A step reads, in a fixed order and with a fixed bound: the overview, the retries that are due
//!    next, the jobs that died last, and the running jobs, if a process has reported itself since.
//! 2. It compares that with what it read before. The first step has nothing to compare with, so it
//!    returns the counts alone.
//!
//! All that it keeps is bounded: the payloads of the last minute as hashes, and one reading.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, SystemTime},
};

use super::{Admin, Entry, Filter, Jobs, Overview, Pause, Process, Query, RunningJob};
use crate::{
    error::StorageError,
    names::QueueName,
    stats::Stats,
    storage::{MAX_BATCH_JOBS, Order},
};

/// How many pages of 100 jobs a step reads of a set.
const PAGES: usize = 3;

/// How many pages of running jobs it reads.
const RUNNING_PAGES: usize = 20;

/// A job whose time of failure or death is older than this is not new. It covers programs with a
/// clock that is late, and steps that follow each other slowly.
const RECENT: Duration = Duration::from_secs(60);

/// # Tail
impl Admin {
    /// Returns what happens in the fleet from now on: each [`step`](Tail::step) returns what
    /// changed since the one before.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// use verk_core::manage::TailEvent;
    ///
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// let admin = verk.admin();
    /// let mut tail = admin.tail();
    /// tail.step().await?;
    /// admin.pause_queue_everywhere("mailers").await?;
    /// let events = tail.step().await?;
    /// assert!(matches!(&events[..], [TailEvent::Paused(pause)] if pause.queue.as_str() == "mailers"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn tail(&self) -> Tail {
        Tail {
            admin: self.clone(),
            from: self.now(),
            last: None,
            seen: HashMap::new(),
            more_retries: false,
            running: None,
        }
    }
}

/// What happens in a fleet, of verk, Sidekiq and Elixir's Verk: see [`Admin::tail`].
///
/// It reads what all of them store, a bounded step at a time, so it needs nothing from them. It
/// shows what that proves, and no more:
///
/// - A job that **succeeds** leaves no trace but a higher count. A job that runs for less than
///   about 10 seconds is mostly not in a report of its process.
/// - Of the retries it reads the 300 that are due next, of the dead the 300 that died last. A retry
///   that is due later than these, or that was enqueued again between two steps, is not seen.
///   [`Skipped`](TailEvent::Skipped) says so once when more retries wait than it reads, and each
///   time that more jobs died between two steps.
/// - A job failed or died within the last minute, by the clock of the program that stored it.
#[derive(Debug)]
pub struct Tail {
    admin: Admin,
    /// What happened before is not new.
    from: SystemTime,
    last: Option<Overview>,
    /// Jobs that failed or died, by a hash of what is stored; forgotten when they are not recent.
    seen: HashMap<u64, SystemTime>,
    /// Whether more retries follow those that are read.
    more_retries: bool,
    running: Option<Running>,
}

/// What happened: see [`Tail`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TailEvent {
    /// The counts of the fleet are not what they were. Processes write them every few seconds.
    Counts(Stats),
    /// A run failed; the job waits for its retry.
    Failed(Entry),
    /// A job is in the dead set: its last attempt failed, or an operator killed it.
    Died(Entry),
    /// A process reports a job that it did not report before.
    Started(RunningJob),
    /// A process does not report a job any more, or is gone: the run succeeded, failed, or was
    /// lost.
    Ended(RunningJob),
    /// A queue is paused everywhere.
    Paused(Pause),
    /// A queue is not paused everywhere any more.
    Resumed(QueueName),
    /// A process reports itself.
    Joined(Box<Process>),
    /// A process does not report itself any more: it stopped, or has been silent for a minute.
    Left(Box<Process>),
    /// There are more of them than a step reads. These are not shown.
    Skipped(Skipped),
}

/// What a step could not read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skipped {
    /// Retries.
    Retries,
    /// Dead jobs.
    Dead,
    /// Running jobs.
    Running,
}

/// The jobs that ran when they were last read.
#[derive(Debug)]
struct Running {
    /// When each process had reported itself, in order.
    beats: Vec<(String, SystemTime)>,
    /// By process, thread and job; `None` if there were too many.
    jobs: Option<RunningJobs>,
}

/// Some jobs of a set.
#[derive(Debug, Default)]
struct Part {
    entries: Vec<Entry>,
    /// Whether more follow.
    more: bool,
}

/// What one step read.
#[derive(Debug)]
struct Reading {
    now: SystemTime,
    overview: Overview,
    retries: Part,
    dead: Part,
    running: Option<Running>,
}

impl Tail {
    /// Reads what changed. Wait about a second between two steps. A step costs the storage a few
    /// milliseconds at most, with 500 queues and 2000 running jobs.
    ///
    /// # Errors
    ///
    /// When the storage fails. The next step returns what this one missed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the next step returns what this one missed.
    pub async fn step(&mut self) -> Result<Vec<TailEvent>, StorageError> {
        let reading = self.read().await?;
        Ok(self.compare(reading))
    }

    async fn read(&self) -> Result<Reading, StorageError> {
        let overview = self.admin.overview().await?;
        let now = self.admin.now();
        let recent = self.recent(now);
        let (retries, dead) = (overview.stats.retry, overview.stats.dead);
        Ok(Reading {
            now,
            // A retry that failed lately is due after that, and mostly soon.
            retries: part(&self.admin.retry_set(), retries, recent, Order::OldestFirst).await?,
            dead: part(&self.admin.dead_set(), dead, recent, Order::NewestFirst).await?,
            running: self.read_running(&overview).await?,
            overview,
        })
    }

    /// What failed or died from this time on may be new.
    fn recent(&self, now: SystemTime) -> SystemTime {
        let recent = now.checked_sub(RECENT).unwrap_or(now);
        recent.max(self.from)
    }

    /// The running jobs, if a process has reported itself since they were read.
    async fn read_running(&self, overview: &Overview) -> Result<Option<Running>, StorageError> {
        let processes = overview.processes.iter();
        let beats = processes.map(|process| (process.identity.clone(), process.beat));
        let beats: Vec<_> = beats.collect();
        if (self.running.as_ref()).is_some_and(|last| last.beats == beats) {
            return Ok(None);
        }
        let (mut jobs, mut from) = (HashMap::new(), None);
        for _ in 0..RUNNING_PAGES {
            let page = self.admin.running(from, MAX_BATCH_JOBS).await?;
            jobs.extend(page.jobs.into_iter().map(|job| (key(&job), job)));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        let jobs = from.is_none().then_some(jobs);
        Ok(Some(Running { beats, jobs }))
    }

    /// What is in this reading, and was not in those before.
    fn compare(&mut self, reading: Reading) -> Vec<TailEvent> {
        let mut events = Vec::new();
        let recent = self.recent(reading.now);
        self.seen.retain(|_, at| *at >= recent);
        match &self.last {
            Some(last) => {
                compare_processes(last, &reading.overview, &mut events);
                compare_pauses(last, &reading.overview, &mut events);
                if counts(&last.stats) != counts(&reading.overview.stats) {
                    events.push(TailEvent::Counts(reading.overview.stats.clone()));
                }
            }
            None => events.push(TailEvent::Counts(reading.overview.stats.clone())),
        }
        let failed_at = |entry: &Entry| {
            let job = entry.job().ok()?;
            job.retried_at().max(job.failed_at())
        };
        // One that is due later than these is never seen, so it is announced once, not each time.
        let more = reading.retries.more;
        if more && !self.more_retries {
            events.push(TailEvent::Skipped(Skipped::Retries));
        }
        self.more_retries = more;
        // A job that is rescheduled did not fail again: its payload is the same.
        let retries = self.new_ones(reading.retries, recent, failed_at, |entry| {
            hash(entry, None)
        });
        events.extend(retries.into_iter().map(TailEvent::Failed));
        // The same payload may die again, at another time.
        let (more, read) = (reading.dead.more, reading.dead.entries.len());
        let dead = self.new_ones(reading.dead, recent, Entry::at, |entry| {
            hash(entry, entry.score())
        });
        if more && dead.len() == read {
            events.push(TailEvent::Skipped(Skipped::Dead));
        }
        events.extend(dead.into_iter().map(TailEvent::Died));
        if let Some(running) = reading.running {
            compare_running(self.running.as_ref(), &running, &mut events);
            self.running = Some(running);
        }
        self.last = Some(reading.overview);
        events
    }

    /// The jobs of a set that are new, the earliest first.
    fn new_ones(
        &mut self,
        part: Part,
        recent: SystemTime,
        time: impl Fn(&Entry) -> Option<SystemTime>,
        hash: impl Fn(&Entry) -> u64,
    ) -> Vec<Entry> {
        let mut new: Vec<(SystemTime, Entry)> = Vec::new();
        for entry in part.entries {
            let Some(at) = time(&entry).filter(|at| *at >= recent) else {
                continue;
            };
            if self.seen.insert(hash(&entry), at).is_none() {
                new.push((at, entry));
            }
        }
        new.sort_by_key(|(at, _)| *at);
        new.into_iter().map(|(_, entry)| entry).collect()
    }
}

async fn part(
    jobs: &Jobs,
    count: usize,
    since: SystemTime,
    order: Order,
) -> Result<Part, StorageError> {
    let mut part = Part::default();
    if count == 0 {
        return Ok(part);
    }
    let query = Query::new().limit(MAX_BATCH_JOBS).order(order);
    let query = query.filter(Filter::new().since(since));
    let mut at = None;
    for _ in 0..PAGES {
        let page = jobs.list(&query.clone().at(at)).await?;
        part.entries.extend(page.entries);
        at = page.next;
        part.more = at.is_some();
        if !part.more {
            break;
        }
    }
    Ok(part)
}

/// The counts, without the time that jobs wait, which is another one at every reading.
fn counts(stats: &Stats) -> [u64; 6] {
    let Stats {
        processed,
        failed,
        scheduled,
        retry,
        dead,
        ..
    } = stats;
    let sizes = [*scheduled, *retry, *dead, stats.enqueued()].map(|size| size as u64);
    let [scheduled, retry, dead, enqueued] = sizes;
    [*processed, *failed, scheduled, retry, dead, enqueued]
}

fn hash(entry: &Entry, score: Option<f64>) -> u64 {
    let mut hasher = DefaultHasher::new();
    entry.payload().hash(&mut hasher);
    score.map(f64::to_bits).hash(&mut hasher);
    hasher.finish()
}

fn key(running: &RunningJob) -> (String, String, String) {
    let jid = running.job.as_ref().map(|job| job.jid().to_string());
    (
        running.process.clone(),
        running.thread.clone(),
        jid.unwrap_or_default(),
    )
}

fn compare_processes(last: &Overview, now: &Overview, events: &mut Vec<TailEvent>) {
    let missing_in = |other: &Overview, one: &Overview| {
        let known: HashSet<&str> = other.processes.iter().map(|it| &*it.identity).collect();
        let processes = one.processes.iter();
        let missing = processes.filter(|process| !known.contains(&*process.identity));
        missing.cloned().map(Box::new).collect::<Vec<_>>()
    };
    events.extend(missing_in(last, now).into_iter().map(TailEvent::Joined));
    events.extend(missing_in(now, last).into_iter().map(TailEvent::Left));
}

fn compare_pauses(last: &Overview, now: &Overview, events: &mut Vec<TailEvent>) {
    let paused = |overview: &Overview| -> HashMap<QueueName, Pause> {
        let queues = overview.queues.iter();
        let paused = queues.filter_map(|queue| queue.paused.clone());
        paused.map(|pause| (pause.queue.clone(), pause)).collect()
    };
    let (before, after) = (paused(last), paused(now));
    for queue in &now.queues {
        match (before.get(&queue.queue), after.get(&queue.queue)) {
            (was, Some(pause)) if was.is_none_or(|was| was.since != pause.since) => {
                events.push(TailEvent::Paused(pause.clone()));
            }
            (Some(_), None) => events.push(TailEvent::Resumed(queue.queue.clone())),
            _ => {}
        }
    }
    // A queue without jobs and nodes is known only while it is paused.
    let known: HashSet<&QueueName> = now.queues.iter().map(|queue| &queue.queue).collect();
    let gone = before.into_keys().filter(|queue| !known.contains(queue));
    events.extend(gone.map(TailEvent::Resumed));
}

type RunningJobs = HashMap<(String, String, String), RunningJob>;

/// `before` is `None` for the first reading.
fn compare_running(before: Option<&Running>, now: &Running, events: &mut Vec<TailEvent>) {
    let Some(now) = &now.jobs else {
        // Said once, not with every reading.
        if before.is_none_or(|before| before.jobs.is_some()) {
            events.push(TailEvent::Skipped(Skipped::Running));
        }
        return;
    };
    let Some(before) = before.and_then(|before| before.jobs.as_ref()) else {
        return;
    };
    let missing_in = |other: &RunningJobs, one: &RunningJobs| -> Vec<RunningJob> {
        let missing = one.iter().filter(|(key, _)| !other.contains_key(*key));
        let mut missing: Vec<RunningJob> = missing.map(|(_, job)| job.clone()).collect();
        missing.sort_by_key(|job| job.since);
        missing
    };
    events.extend(missing_in(now, before).into_iter().map(TailEvent::Ended));
    events.extend(missing_in(before, now).into_iter().map(TailEvent::Started));
}
