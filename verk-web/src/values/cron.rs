//! Periodic jobs.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::value::RawValue;
use verk_core::{
    Job,
    cron::{CatchUp, CronEntry, CronPause, CronRun, Origin, Overlap, Schedule},
};

use super::{seconds, time};
use crate::{payloads::Payloads, text};

/// An entry of the timetable.
#[derive(Debug, Serialize)]
pub struct CronValue<'a> {
    name: &'a str,
    /// What is wrong with it, if it cannot run. Then what is not known is empty.
    damaged: Option<&'a str>,
    /// When it is due, in words.
    words: &'a str,
    /// `null` for a period.
    expression: Option<&'a str>,
    zone: Option<&'a str>,
    /// The period.
    every: Option<f64>,
    class: &'a str,
    queue: Option<&'a str>,
    /// As they are stored; `null` where they are hidden.
    args: Option<Box<RawValue>>,
    overlap: Overlap,
    /// Whether the lock of its unique class decides instead.
    is_unique: bool,
    catch_up: CatchUp,
    within: f64,
    splay: f64,
    /// `static` if a worker declares it, `dynamic` if a program stored it.
    origin: Origin,
    /// `null` if it is paused, or never runs again.
    next: Option<String>,
    /// The next times, at most five.
    upcoming: Vec<UpcomingValue>,
    paused: Option<CronPauseValue<'a>>,
    /// Since when no live node declares it.
    orphaned: Option<String>,
    runs: u64,
    missed: u64,
    skipped: u64,
    /// The last runs, the newest first, at most ten.
    last: Vec<CronRunValue<'a>>,
}

#[derive(Debug, Serialize)]
struct UpcomingValue {
    at: String,
    /// In the zone of the entry; `null` for a period.
    local: Option<String>,
}

#[derive(Debug, Serialize)]
struct CronPauseValue<'a> {
    since: Option<String>,
    by: Option<&'a str>,
    reason: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct CronRunValue<'a> {
    /// The time that it was for.
    due: String,
    /// When it was taken.
    at: String,
    /// `null` if all were missed, or it was skipped.
    jid: Option<&'a str>,
    jobs: u64,
    missed: u64,
    /// Whether its job was skipped, because an earlier one waited or ran.
    skipped: bool,
    /// Whether an operator asked for it.
    asked: bool,
}

impl<'a> CronValue<'a> {
    /// The entry, with its arguments where they may be shown.
    #[must_use]
    pub fn new(entry: &'a CronEntry, payloads: &Payloads) -> Self {
        let schedule = entry.schedule.as_ref();
        let zone = schedule.and_then(Schedule::zone);
        let upcoming = |at: &SystemTime| UpcomingValue {
            at: time(*at),
            local: zone.and_then(|zone| text::local(*at, zone)),
        };
        Self {
            name: &entry.name,
            damaged: entry.damaged.as_deref(),
            words: &entry.words,
            expression: schedule.and_then(Schedule::expression),
            zone,
            every: schedule.and_then(Schedule::period).map(seconds),
            class: &entry.class,
            queue: entry.queue.as_ref().map(|queue| queue.as_str()),
            args: args(entry, payloads).and_then(|args| {
                // What a program redacts may be any text.
                let raw = RawValue::from_string(args.clone());
                raw.or_else(|_| serde_json::value::to_raw_value(&args)).ok()
            }),
            overlap: entry.overlap,
            is_unique: entry.is_unique,
            catch_up: entry.catch_up,
            within: seconds(entry.within),
            splay: seconds(entry.splay),
            origin: entry.origin,
            next: entry.next.map(time),
            upcoming: entry.upcoming.iter().map(upcoming).collect(),
            paused: entry.pause.as_ref().map(CronPauseValue::new),
            orphaned: entry.orphaned.map(time),
            runs: entry.runs,
            missed: entry.missed,
            skipped: entry.skipped,
            last: entry.last.iter().map(CronRunValue::new).collect(),
        }
    }
}

/// The arguments as they may be shown.
pub(crate) fn args(entry: &CronEntry, payloads: &Payloads) -> Option<String> {
    let queue = entry.queue.clone()?;
    let job = Job::new(&entry.class, queue, entry.args.clone()).ok()?;
    payloads.args(&job)
}

impl<'a> CronPauseValue<'a> {
    fn new(pause: &'a CronPause) -> Self {
        Self {
            since: pause.since.map(time),
            by: pause.by.as_deref(),
            reason: pause.reason.as_deref(),
        }
    }
}

impl<'a> CronRunValue<'a> {
    fn new(run: &'a CronRun) -> Self {
        Self {
            due: time(run.due),
            at: time(run.at),
            jid: run.jid.as_ref().map(|jid| jid.as_str()),
            jobs: run.jobs,
            missed: run.missed,
            skipped: run.skipped,
            asked: run.asked,
        }
    }
}
