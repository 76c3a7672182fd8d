//! An entry of the timetable as an operator sees it: [`CronEntry`].

use std::time::{Duration, SystemTime};

use verk_cron::Schedule;

use crate::{
    manage::pauses::NoteRead,
    names::{Jid, QueueName},
    storage::StoredCron,
    time::clock::from_unix_seconds,
    timetable::{
        decide::Record,
        definition::{Definition, Origin},
        periodic::{CatchUp, Overlap},
    },
};

/// How many of the next times are listed.
const UPCOMING: usize = 5;

/// An entry of the timetable: see [`Timetable`](super::Timetable).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CronEntry {
    /// The name.
    pub name: String,
    /// What is wrong with it, if it cannot run: it can be replaced or removed. Then what is not
    /// known is empty.
    pub damaged: Option<String>,
    /// When it is due, in words: such as `every 10 minutes`.
    pub words: String,
    /// When it is due.
    pub schedule: Option<Schedule>,
    /// The class of its jobs.
    pub class: String,
    /// Their queue.
    pub queue: Option<QueueName>,
    /// Their arguments, the text of a JSON array.
    pub args: String,
    /// What happens while the job of an earlier run waits or runs.
    pub overlap: Overlap,
    /// Whether its class is unique: the lock of its job decides instead of `overlap`.
    pub is_unique: bool,
    /// Which runs are made up for that no node took in time.
    pub catch_up: CatchUp,
    /// How late these may be.
    pub within: Duration,
    /// By how much jobs are spread.
    pub splay: Duration,
    /// Who declares it.
    pub origin: Origin,
    /// When it runs next. `None` if it is paused, or never runs again.
    pub next: Option<SystemTime>,
    /// When it runs next, and the times after it: at most five.
    pub upcoming: Vec<SystemTime>,
    /// Its pause, if it is paused.
    pub pause: Option<CronPause>,
    /// Since when no live node declares it, if a worker of the program did.
    pub orphaned: Option<SystemTime>,
    /// How many jobs its runs have enqueued.
    pub runs: u64,
    /// How many runs were missed: no node was there in time.
    pub missed: u64,
    /// How many runs were skipped because of its overlap.
    pub skipped: u64,
    /// The last runs, the newest first, at most ten.
    pub last: Vec<CronRun>,
}

/// The pause of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CronPause {
    /// When it was paused, by the time of the storage.
    pub since: Option<SystemTime>,
    /// Who paused it; `None` if that is not known. An entry that no node declares any more is
    /// paused by `verk`.
    pub by: Option<String>,
    /// Why it is paused.
    pub reason: Option<String>,
}

/// A run of an entry, or several that were taken at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CronRun {
    /// The time that it was for; of several runs, of the last.
    pub due: SystemTime,
    /// When it was taken.
    pub at: SystemTime,
    /// The job, of several the last. `None` if all were missed or skipped.
    pub jid: Option<Jid>,
    /// How many jobs were enqueued.
    pub jobs: u64,
    /// How many runs were missed, at least.
    pub missed: u64,
    /// Whether its job was skipped, because another one waited or ran.
    pub skipped: bool,
    /// Whether an operator asked for it.
    pub asked: bool,
}

impl CronEntry {
    pub(super) fn of(stored: StoredCron) -> Self {
        let (definition, problem) = match Definition::decode(&stored.definition) {
            Ok(definition) => (Some(definition), None),
            Err(why) => (None, Some(why)),
        };
        let definition = definition.as_ref();
        let schedule = definition.map(Definition::schedule).transpose();
        let job = definition.map(Definition::job).transpose();
        let problem = problem
            .or_else(|| schedule.as_ref().err().cloned())
            .or_else(|| job.as_ref().err().cloned());
        let schedule = schedule.ok().flatten();
        let job = job.ok().flatten();
        let upcoming = match (&schedule, definition, stored.next) {
            (Some(schedule), Some(definition), Some(next)) => {
                let after = |time: &SystemTime| schedule.next(*time, definition.anchor);
                std::iter::successors(Some(next), after)
                    .take(UPCOMING)
                    .collect()
            }
            _ => Vec::new(),
        };
        Self {
            words: schedule.as_ref().map(Schedule::words).unwrap_or_default(),
            class: job.as_ref().map_or("", |job| job.class()).to_owned(),
            queue: job.as_ref().and_then(|job| job.queue().cloned()),
            args: job.as_ref().map_or("", |job| job.args()).to_owned(),
            overlap: definition.map_or_else(Overlap::default, |it| it.overlap),
            is_unique: definition.is_some_and(Definition::is_unique),
            catch_up: definition.map_or_else(CatchUp::default, |it| it.catch_up),
            within: definition.map_or(Duration::ZERO, |it| it.within),
            splay: definition.map_or(Duration::ZERO, |it| it.splay),
            origin: definition.map_or(Origin::Dynamic, |it| it.origin),
            damaged: problem.map(|why| why.to_string()),
            schedule,
            next: stored.next,
            upcoming,
            pause: stored.pause.map(|note| {
                let NoteRead { since, by, reason } = NoteRead::of(Some(note));
                CronPause { since, by, reason }
            }),
            orphaned: stored.orphaned,
            runs: stored.runs,
            missed: stored.missed,
            skipped: stored.skipped,
            last: stored
                .last
                .iter()
                .filter_map(|it| CronRun::of(it))
                .collect(),
            name: stored.name,
        }
    }
}

impl CronRun {
    pub(in crate::manage) fn of(record: &[u8]) -> Option<Self> {
        let record: Record = serde_json::from_slice(record).ok()?;
        Some(Self {
            due: from_unix_seconds(record.due),
            at: from_unix_seconds(record.at),
            jid: record.jid.map(Jid::from),
            jobs: record.jobs,
            missed: record.missed,
            skipped: record.skipped > 0,
            asked: record.asked,
        })
    }
}
