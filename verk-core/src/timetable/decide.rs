//! What to do about an entry that is due. No I/O here.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use verk_cron::Schedule;

use crate::{
    config::Config,
    job::Job,
    names::Jid,
    storage::{CronTick, LockedJob, LockedPush, MAX_BATCH_JOBS, OnceJob, StoredCron},
    time::clock::unix_seconds,
    timetable::{
        definition::{Damaged, Definition, jid_of},
        periodic::{CatchUp, Overlap},
        tick::Tick,
    },
};

/// The most due times that one decision lists.
const MAX_LISTED: usize = 1000;

/// How late a run may be that no policy counts as missed, at least. A node that takes over the
/// lease, or a busy one, is not that late.
const ON_TIME: Duration = Duration::from_secs(10);

/// The runs of an entry that are due.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// Those that are enqueued.
    run: Vec<SystemTime>,
    /// How many are missed, at least.
    missed: u64,
    /// When the entry is due after these.
    next: Option<SystemTime>,
}

/// Decides about the runs from `due` to `now`. Runs before the last `within` are missed in any
/// case.
fn plan(
    (schedule, anchor): (&Schedule, SystemTime),
    due: SystemTime,
    now: SystemTime,
    catch_up: CatchUp,
    (within, on_time): (Duration, Duration),
) -> Plan {
    let mut missed = 0;
    let mut first = due;
    let before = (now.checked_sub(within.max(on_time)))
        .and_then(|oldest| oldest.checked_sub(Duration::from_nanos(1)));
    if let Some(before) = before.filter(|before| due <= *before) {
        let (older, _) = schedule.between(due, before, anchor, MAX_LISTED - 1);
        missed = 1 + older.len() as u64;
        match schedule.next(before, anchor) {
            Some(next) if next <= now => first = next,
            next => {
                let run = Vec::new();
                return Plan { run, missed, next };
            }
        }
    }
    let (mut rest, more) = schedule.between(first, now, anchor, MAX_LISTED - 1);
    let last = match more {
        true => (schedule.last(first, now, anchor)).unwrap_or(first),
        false => rest.last().copied().unwrap_or(first),
    };
    match catch_up {
        CatchUp::All if more => {
            // Too many: the first of them are missed, and the others are decided in the next step.
            let (run, next) = (
                Vec::new(),
                schedule.next(*rest.last().unwrap_or(&last), anchor),
            );
            let missed = missed + 1 + rest.len() as u64;
            Plan { run, missed, next }
        }
        CatchUp::All => {
            let mut run = vec![first];
            run.append(&mut rest);
            let next = run.get(MAX_BATCH_JOBS).copied();
            let next = next.or_else(|| schedule.next(last, anchor));
            run.truncate(MAX_BATCH_JOBS);
            Plan { run, missed, next }
        }
        CatchUp::None | CatchUp::Last => {
            missed += rest.len() as u64;
            let late = now.duration_since(last).unwrap_or_default();
            let runs = catch_up == CatchUp::Last || late <= on_time;
            Plan {
                run: if runs { vec![last] } else { Vec::new() },
                missed: missed + u64::from(!runs),
                next: schedule.next(last, anchor),
            }
        }
    }
}

/// What to do about an entry.
#[derive(Debug)]
pub(crate) struct Decision {
    /// The step.
    pub(crate) tick: CronTick,
    /// The jobs that it enqueues, each with the time that it is for.
    pub(crate) jobs: Vec<(Tick, Job)>,
    /// How many runs are missed, at least, from which time on.
    pub(crate) missed: u64,
    pub(crate) since: SystemTime,
}

/// Decides about an entry that is due at `now`. `None` if it is not.
pub(crate) fn decide(
    entry: &StoredCron,
    now: SystemTime,
    config: &Config,
) -> Result<Option<Decision>, Damaged> {
    let Some(due) = entry.next.filter(|due| *due <= now) else {
        return Ok(None);
    };
    let definition = Definition::decode(&entry.definition)?;
    let schedule = definition.schedule()?;
    let on_time = ON_TIME.max(config.poll_interval.saturating_mul(2));
    let Plan { run, missed, next } = plan(
        (&schedule, definition.anchor),
        due,
        now,
        match definition.catch_up {
            // Only the first of several jobs would be stored.
            CatchUp::All if definition.has_lock() => CatchUp::Last,
            catch_up => catch_up,
        },
        (definition.within, on_time),
    );
    let (mut pushes, mut locked, mut jobs) = (Vec::new(), None, Vec::new());
    for (index, due) in run.into_iter().enumerate() {
        // The first job learns of those that were missed before it.
        let tick = Tick::new(&entry.name, due, if index == 0 { missed } else { 0 });
        let (push, job) = definition.run(jid_of(&entry.name, due), &tick, now, config)?;
        match push {
            OnceJob::Free(push) => pushes.push(push),
            OnceJob::Locked(job) => locked = Some(job),
        }
        jobs.push((tick, job));
    }
    let last = jobs.last();
    let record = Record {
        due: unix_seconds(last.map_or(due, |(tick, _)| tick.due())),
        at: unix_seconds(now),
        jid: last.map(|(_, job)| job.jid().to_string()),
        jobs: jobs.len() as u64,
        missed,
        skipped: 0,
        asked: false,
    };
    let locked = locked.map(|job| record.locked(job));
    Ok(Some(Decision {
        tick: CronTick {
            seen: entry.seen(),
            next,
            pushes,
            locked,
            missed,
            record: record.encode(),
        },
        jobs,
        missed,
        since: due,
    }))
}

/// A run that an operator asks for: it is enqueued whatever the overlap of the entry says, unless
/// the class is unique, and the time of the next run stays.
pub(crate) fn run_now(
    entry: &StoredCron,
    now: SystemTime,
    config: &Config,
) -> Result<(CronTick, Job), Damaged> {
    let mut definition = Definition::decode(&entry.definition)?;
    // An operator waits for it.
    definition.splay = Duration::ZERO;
    definition.overlap = Overlap::Allow;
    let tick = Tick::new(&entry.name, now, 0);
    let (push, job) = definition.run(Jid::random(), &tick, now, config)?;
    let record = Record {
        due: unix_seconds(now),
        at: unix_seconds(now),
        jid: Some(job.jid().to_string()),
        jobs: 1,
        missed: 0,
        skipped: 0,
        asked: true,
    };
    let (pushes, locked) = match push {
        OnceJob::Free(push) => (vec![push], None),
        OnceJob::Locked(job) => (Vec::new(), Some(record.locked(job))),
    };
    let step = CronTick {
        seen: entry.seen(),
        next: entry.next,
        pushes,
        locked,
        missed: 0,
        record: record.encode(),
    };
    Ok((step, job))
}

/// What the storage keeps of a tick.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The time that the last job is for, in seconds since 1970.
    pub(crate) due: f64,
    /// When the tick was taken.
    pub(crate) at: f64,
    /// The id of the last job.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) jid: Option<String>,
    #[serde(default)]
    pub(crate) jobs: u64,
    #[serde(default)]
    pub(crate) missed: u64,
    /// How many jobs were skipped, because another one had the lock of theirs.
    #[serde(skip_serializing_if = "is_none", default)]
    pub(crate) skipped: u64,
    /// Whether an operator asked for it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub(crate) asked: bool,
}

impl Record {
    /// The only job of the tick, with what is kept if it is skipped.
    fn locked(&self, job: LockedJob) -> LockedPush {
        let record = Self {
            jid: None,
            jobs: 0,
            skipped: 1,
            ..self.clone()
        };
        LockedPush {
            job,
            skipped: record.encode(),
        }
    }

    fn encode(&self) -> Bytes {
        // Numbers and texts always have a JSON form.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

// serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_none(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Of an entry that is due each 100 s, the runs from 100 s on, at `now`. One that is 10 s late
    /// is on time.
    fn planned(catch_up: CatchUp, within: u64, now: u64) -> (Vec<u64>, u64, u64) {
        let schedule = Schedule::every(Duration::from_secs(100)).unwrap();
        let times = (Duration::from_secs(within), Duration::from_secs(10));
        let plan = plan((&schedule, at(0)), at(100), at(now), catch_up, times);
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let run = plan.run.into_iter().map(seconds).collect();
        (run, plan.missed, plan.next.map_or(0, seconds))
    }

    #[test]
    fn a_run_on_time_is_taken_by_each_policy() {
        for catch_up in [CatchUp::None, CatchUp::Last, CatchUp::All] {
            for (within, now) in [(0, 100), (0, 110), (3_600, 105)] {
                assert_eq!(planned(catch_up, within, now), (vec![100], 0, 200));
            }
        }
    }

    #[test]
    fn after_three_runs_that_were_not_taken() {
        assert_eq!(planned(CatchUp::None, 3_600, 350), (vec![], 3, 400));
        assert_eq!(planned(CatchUp::Last, 3_600, 350), (vec![300], 2, 400));
        let all = (vec![100, 200, 300], 0, 400);
        assert_eq!(planned(CatchUp::All, 3_600, 350), all);
        // The last of them is on time.
        assert_eq!(planned(CatchUp::None, 3_600, 305), (vec![300], 2, 400));
    }

    #[test]
    fn what_is_older_is_missed_by_each_policy() {
        for catch_up in [CatchUp::None, CatchUp::Last, CatchUp::All] {
            assert_eq!(planned(catch_up, 0, 350), (vec![], 3, 400));
        }
        assert_eq!(planned(CatchUp::Last, 150, 350), (vec![300], 2, 400));
        assert_eq!(planned(CatchUp::All, 150, 350), (vec![200, 300], 1, 400));
        assert_eq!(planned(CatchUp::All, 50, 350), (vec![300], 2, 400));
    }

    #[test]
    fn many_runs_are_taken_in_parts() {
        let long = 1_000_000_000;
        let (run, missed, next) = planned(CatchUp::All, long, 250 * 100 + 1);
        let hundred: Vec<u64> = (1..=100).map(|run| run * 100).collect();
        assert_eq!((run, missed, next), (hundred, 0, 10_100));
        let (run, missed, next) = planned(CatchUp::All, long, 2_500 * 100 + 1);
        assert_eq!((run.len(), missed, next), (0, 1_000, 100_100));
        let (run, missed, next) = planned(CatchUp::Last, long, 2_500 * 100 + 1);
        assert_eq!((run, next), (vec![250_000], 250_100));
        assert!(missed >= 999, "{missed}");
        let (run, missed, next) = planned(CatchUp::None, 0, 2_500 * 100 + 50);
        assert_eq!((run.len(), next), (0, 250_100));
        assert!(missed >= 1_000, "{missed}");
    }
}
