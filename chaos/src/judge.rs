//! Judges whether the promises were kept: [`judge`] reads the ledger and what is left in Redis.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use serde::Serialize;

use crate::{
    fault::Fault,
    kind::Kind,
    ledger::{Attempt, Life, Record},
    left::{Left, jid_of},
    payload,
};

/// What a run came to.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Jobs that verk reported as stored.
    pub stored: usize,
    /// Those of them that waited in a paused queue while everything broke.
    pub backlog: usize,
    /// Jobs that may be stored: the reply was lost.
    pub may_be_stored: usize,
    /// Jobs that were refused.
    pub not_stored: usize,
    /// Runs that began.
    pub started: usize,
    /// Stored jobs that neither ended nor are in Redis.
    pub lost: usize,
    /// Jobs that are in Redis after everything is at rest, and should not be.
    pub stuck: usize,
    /// Jobs in the dead set without a reason.
    pub wrongly_dead: usize,
    /// Payloads in the dead set that are no jobs, and whose bytes differ from those that were put
    /// into the queue.
    pub altered: usize,
    /// Starts with a wrong attempt number: the attempt before was no failure.
    pub miscounted: usize,
    /// Second starts of an attempt that no fault explains.
    pub illegal_duplicates: usize,
    /// Permits that never came back: jobs that a worker counts as running when no job is left.
    pub leaked_permits: usize,
    /// Worker processes that ended by themselves.
    pub crashes: usize,
    /// Keys that nothing explains.
    pub stray_keys: Vec<String>,
    /// How often each fault struck.
    pub faults: BTreeMap<String, usize>,
    /// Second starts of an attempt, by the fault that explains them.
    pub duplicates: BTreeMap<String, usize>,
    /// Panics of log subscribers that the workers caught, in all of their lives.
    pub caught_panics: u64,
    /// Jobs of dead nodes that were given back to their queues.
    pub restored: usize,
    /// Outcomes that had no effect, because the job belonged to another node.
    pub outcomes_without_effect: usize,
    /// Unique jobs that were not stored because another one held their lock.
    pub conflicts: usize,
    /// Unique jobs that a node restored after the process that ran them had died.
    pub restored_holding_a_lock: usize,
    /// Locks that verk freed because another program had deleted their jobs.
    pub repaired: usize,
    /// Locks that exist when no job is left.
    pub locks_left: usize,
    /// Locks whose job was not stored when all locks and jobs were compared.
    pub blocked_by_nobody: usize,
    /// Runs of the timetable that were due.
    pub ticks_due: usize,
    /// Runs of the timetable that never ended well.
    pub ticks_missing: usize,
    /// Runs of the timetable for which two jobs were stored.
    pub ticks_twice: usize,
    /// The jids of some of the jobs with an error.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Whether every promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0
            && self.stuck == 0
            && self.wrongly_dead == 0
            && self.altered == 0
            && self.miscounted == 0
            && self.illegal_duplicates == 0
            && self.leaked_permits == 0
            && self.crashes == 0
            && self.stray_keys.is_empty()
            && self.locks_left == 0
            && self.blocked_by_nobody == 0
            && self.ticks_missing == 0
            && self.ticks_twice == 0
            && self.caught_panics >= self.broken_logs()
    }

    /// How many logs died or panicked. At least so many panics were caught, or those faults had no
    /// effect.
    fn broken_logs(&self) -> u64 {
        let faults = [Fault::LogDies, Fault::SubscriberPanics];
        let times = faults
            .iter()
            .filter_map(|fault| self.faults.get(&fault.to_string()));
        times.map(|times| *times as u64).sum()
    }

    /// Whether each of these faults struck at least once. A fault that never struck proves nothing.
    #[must_use]
    pub fn met(&self, faults: &[Fault]) -> bool {
        let mut times = faults
            .iter()
            .map(|fault| self.faults.get(&fault.to_string()));
        times.all(|times| times.is_some_and(|times| *times > 0))
    }

    /// Whether locks and ticks met what they must survive. A run in which none did proves nothing.
    #[must_use]
    pub fn proves_something(&self, on_cluster: bool) -> bool {
        self.conflicts >= 20
            && self.restored_holding_a_lock > 0
            // No fault of a cluster deletes a job past verk.
            && (self.repaired > 0 || on_cluster)
            && self.ticks_due >= 20
    }

    fn tell_of(&mut self, jid: &str) {
        if self.examples.len() < 20 {
            self.examples.push(jid.to_owned());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string_pretty(self).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

/// A fault and its duration, as places in the ledger.
#[derive(Debug)]
struct Struck {
    fault: Fault,
    worker: Option<usize>,
    begin: usize,
    end: usize,
}

/// What explains a second start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Cause {
    /// The process that began the job ended.
    Death(Life, Fault),
    /// One of [`Index::faults`].
    Struck(usize),
}

/// How many jobs can exist whose outcome is not stored yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    /// What one worker holds at most.
    pub(crate) of_a_worker: usize,
    /// How many workers.
    pub(crate) workers: usize,
}

/// Where things are in the ledger.
#[derive(Debug, Default)]
struct Index<'a> {
    sent: HashMap<&'a str, Kind>,
    stored: HashSet<&'a str>,
    started: HashMap<&'a Attempt, Vec<(usize, Life)>>,
    ended: HashSet<&'a Attempt>,
    settled: HashMap<(Life, &'a Attempt), Vec<usize>>,
    died: HashMap<Life, usize>,
    faults: Vec<Struck>,
    /// Jobs that a program deleted that knows no locks.
    removed: HashSet<&'a str>,
    /// Jobs that held a lock and were not stored.
    unheld: HashSet<&'a str>,
    /// The jobs of the timetable, by the second in which they were due.
    ticks: BTreeMap<u64, HashSet<&'a str>>,
}

impl<'a> Index<'a> {
    fn new(records: &'a [Record], verdict: &mut Verdict) -> Self {
        let mut index = Self::default();
        let mut open: HashMap<usize, usize> = HashMap::new();
        // Each number is the sum so far.
        let mut caught: HashMap<Life, u64> = HashMap::new();
        for (place, record) in records.iter().enumerate() {
            match record {
                Record::Sent { jid, kind } => {
                    index.sent.insert(jid, *kind);
                }
                Record::Stored(jid) => {
                    verdict.stored += 1;
                    let kind = index.sent.get(jid.as_str());
                    verdict.backlog += usize::from(kind == Some(&Kind::Backlog));
                    index.stored.insert(jid);
                }
                Record::MayBeStored(_) => verdict.may_be_stored += 1,
                Record::NotStored(_) => verdict.not_stored += 1,
                Record::Conflict { .. } => verdict.conflicts += 1,
                Record::Removed(jid) => {
                    index.removed.insert(jid);
                }
                Record::Repaired(..) => verdict.repaired += 1,
                Record::Tick { jid, due } => {
                    index.ticks.entry(*due).or_default().insert(jid);
                }
                Record::Unheld(jid) => {
                    index.unheld.insert(jid);
                }
                Record::Started(life, attempt) => {
                    verdict.started += 1;
                    index
                        .started
                        .entry(attempt)
                        .or_default()
                        .push((place, *life));
                }
                Record::Ended(_, attempt) => {
                    index.ended.insert(attempt);
                }
                Record::Settled(life, attempt) => {
                    let settled = index.settled.entry((*life, attempt));
                    settled.or_default().push(place);
                }
                Record::Lost(_) => verdict.outcomes_without_effect += 1,
                Record::Restored(_, jobs) => verdict.restored += jobs,
                Record::Node(..) => {}
                Record::Caught(life, panics) => {
                    caught.insert(*life, *panics);
                }
                Record::Rest(_, running) => verdict.leaked_permits += running,
                Record::Died(life) => {
                    index.died.insert(*life, place);
                }
                Record::Fault {
                    number,
                    fault,
                    worker,
                } => {
                    open.insert(*number, index.faults.len());
                    index.faults.push(Struck {
                        fault: *fault,
                        worker: *worker,
                        begin: place,
                        end: usize::MAX,
                    });
                }
                Record::Over { number, struck } => {
                    let Some(fault) = open.remove(number) else {
                        continue;
                    };
                    let fault = &mut index.faults[fault];
                    // What did not happen explains nothing.
                    fault.end = if *struck { place } else { fault.begin };
                    *verdict.faults.entry(fault.fault.to_string()).or_default() +=
                        usize::from(*struck);
                }
            }
        }
        verdict.caught_panics = caught.values().sum();
        index
    }

    /// The faults that may explain that an attempt that `life` began at `first` was begun again at
    /// `second`, the likeliest first.
    fn causes(&self, attempt: &'a Attempt, life: Life, first: usize, second: usize) -> Vec<Cause> {
        let settled = self.settled.get(&(life, attempt));
        let mut settled = settled.into_iter().flatten();
        if settled.any(|settled| (first..second).contains(settled)) {
            return Vec::new();
        }
        let died = self.died.get(&life).filter(|died| **died > first);
        if let Some((fault, told)) = died.and_then(|died| self.cause_of_death(life, *died)) {
            // A worker that gets TERM hands its jobs back before it ends.
            let from = match fault {
                Fault::DeployWorker => told,
                _ => self.died[&life],
            };
            if from < second {
                return vec![Cause::Death(life, fault)];
            }
        }
        let mut causes: Vec<_> = self
            .faults
            .iter()
            .enumerate()
            .filter(|(_, struck)| struck.fault.may_run_twice())
            .filter(|(_, struck)| struck.worker.is_none_or(|worker| worker == life.worker))
            .filter(|(_, struck)| struck.begin < second && struck.end > first)
            .collect();
        // First the faults of this worker, then those of all, and of each the last first.
        causes.sort_by_key(|(_, struck)| Reverse((struck.worker, struck.begin)));
        causes
            .into_iter()
            .map(|(number, _)| Cause::Struck(number))
            .collect()
    }

    /// The fault for which `life` stood still while another process began an attempt at `first`: it
    /// had fetched the job before, was declared dead, and begins it at `second`.
    fn woke(&self, life: Life, first: usize, second: usize) -> Option<Cause> {
        let stood_still = |struck: &Struck| {
            struck.fault == Fault::FreezeWorker
                && struck.worker == Some(life.worker)
                && (struck.begin..struck.end).contains(&first)
                && struck.end < second
        };
        let number = self.faults.iter().position(stood_still)?;
        Some(Cause::Struck(number))
    }

    fn fault(&self, cause: Cause) -> Fault {
        match cause {
            Cause::Death(_, fault) => fault,
            Cause::Struck(number) => self.faults[number].fault,
        }
    }

    /// How many jobs were in flight at most when the fault struck, so how many second starts it may
    /// explain.
    fn in_flight(&self, cause: Cause, most: InFlight) -> usize {
        match cause {
            Cause::Struck(number) if self.faults[number].worker.is_none() => {
                most.of_a_worker * most.workers
            }
            Cause::Struck(_) | Cause::Death(..) => most.of_a_worker,
        }
    }

    /// Why and when a process ended: it was stopped, or a job ended it.
    fn cause_of_death(&self, life: Life, died: usize) -> Option<(Fault, usize)> {
        let previous = life.restarts.checked_sub(1).and_then(|restarts| {
            let previous = Life { restarts, ..life };
            self.died.get(&previous).copied()
        });
        let told = self.faults.iter().rev().find(|struck| {
            matches!(struck.fault, Fault::KillWorker | Fault::DeployWorker)
                && struck.worker == Some(life.worker)
                && struck.begin < died
                && previous.is_none_or(|previous| struck.begin > previous)
        });
        let ran_poison = || {
            let of_this = self
                .started
                .iter()
                .filter(|(attempt, _)| self.sent.get(attempt.jid.as_str()) == Some(&Kind::Poison));
            let mut starts = of_this.flat_map(|(_, starts)| starts);
            let start = starts.find(|(_, by)| *by == life)?;
            Some((Fault::Poison, start.0))
        };
        told.map(|struck| (struck.fault, struck.begin))
            .or_else(ran_poison)
    }
}

/// Judges.
pub(crate) fn judge(records: &[Record], left: &Left, at_rest: bool, most: InFlight) -> Verdict {
    let mut verdict = Verdict {
        faults: Fault::ALL
            .iter()
            .map(|fault| (fault.to_string(), 0))
            .collect(),
        ..Verdict::default()
    };
    let index = Index::new(records, &mut verdict);
    judge_ends(&index, left, at_rest, &mut verdict);
    judge_starts(&index, most, &mut verdict);
    judge_locks(&index, left, &mut verdict);
    judge_ticks(&index, &mut verdict);
    verdict.crashes = index
        .died
        .iter()
        // The last life of each worker was stopped after all faults.
        .filter(|(life, _)| {
            let next = Life {
                restarts: life.restarts + 1,
                ..**life
            };
            index.died.contains_key(&next)
        })
        .filter(|(life, died)| index.cause_of_death(**life, **died).is_none())
        .count();
    verdict.stray_keys = left
        .keys
        .iter()
        .filter(|key| !is_expected(key))
        .cloned()
        .collect();
    verdict
}

fn judge_ends(index: &Index<'_>, left: &Left, at_rest: bool, verdict: &mut Verdict) {
    let mut well: HashSet<&str> = HashSet::new();
    for attempt in &index.ended {
        let kind = index.sent.get(attempt.jid.as_str());
        let needed = kind.map_or(1, |kind| kind.attempts());
        if attempt.number >= needed {
            well.insert(&attempt.jid);
        }
    }
    let jids_of = |payloads: &[String]| -> HashSet<String> {
        let jids = payloads.iter().filter_map(|payload| jid_of(payload));
        jids.collect()
    };
    let (dead, waiting) = (jids_of(&left.dead), jids_of(&left.waiting));
    for jid in &index.stored {
        let Some(kind) = index.sent.get(jid) else {
            continue;
        };
        if index.removed.contains(jid) {
            continue;
        }
        let is_dead = dead.contains(*jid);
        let fault = if waiting.contains(*jid) {
            &mut verdict.stuck
        } else if is_dead && !kind.ends_dead() {
            &mut verdict.wrongly_dead
        } else if !is_dead && (kind.ends_dead() || !well.contains(jid)) {
            &mut verdict.lost
        } else {
            continue;
        };
        *fault += 1;
        verdict.tell_of(jid);
    }
    for (jid, kind) in &index.sent {
        let as_it_was = || String::from_utf8_lossy(&payload::malformed(jid)).into_owned();
        if *kind == Kind::Malformed && dead.contains(*jid) && !left.dead.contains(&as_it_was()) {
            verdict.altered += 1;
            verdict.tell_of(jid);
        }
    }
    if !at_rest && verdict.stuck == 0 {
        // Jobs that may be stored, or a node that stays on the list.
        verdict.stuck = left.waiting.len().max(1);
    }
}

/// Each second start needs a first one that was in flight when a fault struck. A first start
/// explains one second start. A fault explains no more of them than were in flight.
fn judge_starts(index: &Index<'_>, most: InFlight, verdict: &mut Verdict) {
    let mut seconds = Vec::new();
    for (attempt, starts) in &index.started {
        let copies = match index.sent.get(attempt.jid.as_str()) {
            Some(Kind::Twice) => 2,
            _ => 1,
        };
        let kind = index.sent.get(attempt.jid.as_str());
        let attempts = kind.map_or(1, |kind| kind.attempts());
        if attempt.number > attempts {
            verdict.miscounted += 1;
            verdict.tell_of(&attempt.jid);
        }
        for (position, (place, life)) in starts.iter().enumerate().skip(copies) {
            seconds.push((*place, position, *attempt, *life));
        }
    }
    seconds.sort_unstable_by_key(|(place, ..)| *place);

    let mut explained: HashMap<Cause, usize> = HashMap::new();
    let mut used = HashSet::new();
    for (second, position, attempt, by) in seconds {
        let firsts = index.started[attempt][..position].iter().rev();
        let cause = firsts
            .filter(|(first, _)| !used.contains(first))
            .find_map(|&(first, life)| {
                let causes = index.causes(attempt, life, first, second).into_iter();
                let causes = causes.chain(index.woke(by, first, second));
                let mut possible = causes.filter(|cause| {
                    let before = explained.get(cause).copied().unwrap_or_default();
                    before < index.in_flight(*cause, most)
                });
                Some((first, possible.next()?))
            });
        if let Some((first, cause)) = cause {
            used.insert(first);
            *explained.entry(cause).or_default() += 1;
            let kind = index.sent.get(attempt.jid.as_str());
            if let (Cause::Death(..), Some(true)) = (cause, kind.map(|kind| kind.is_unique())) {
                verdict.restored_holding_a_lock += 1;
            }
            let fault = index.fault(cause).to_string();
            *verdict.duplicates.entry(fault).or_default() += 1;
        } else {
            verdict.illegal_duplicates += 1;
            verdict.tell_of(&attempt.jid);
        }
    }
}

fn judge_locks(index: &Index<'_>, left: &Left, verdict: &mut Verdict) {
    verdict.locks_left = left.holders.len();
    for jid in index.unheld.difference(&index.removed) {
        verdict.blocked_by_nobody += 1;
        verdict.tell_of(jid);
    }
}

/// A job is due in each second from the first to the last.
fn judge_ticks(index: &Index<'_>, verdict: &mut Verdict) {
    let (Some((first, _)), Some((last, _))) =
        (index.ticks.first_key_value(), index.ticks.last_key_value())
    else {
        return;
    };
    let ended: HashSet<&str> = (index.ended.iter()).map(|run| run.jid.as_str()).collect();
    for due in *first..=*last {
        verdict.ticks_due += 1;
        let jids = index.ticks.get(&due);
        let well = jids.is_some_and(|jids| jids.iter().any(|jid| ended.contains(jid)));
        verdict.ticks_missing += usize::from(!well);
        verdict.ticks_twice += usize::from(jids.is_some_and(|jids| jids.len() > 1));
    }
}

/// Whether a key may exist when no job is left and no node lives.
fn is_expected(key: &str) -> bool {
    matches!(
        key,
        "queues" | "dead" | "processes" | "process_cleanup" | "verk:effects" | "verk:layout" | "verk:moved"
    ) || key.starts_with("stat:")
        || key.starts_with("verk:deaths:")
        || key.starts_with("verk:restored:")
        // What a move of a queue keeps for a week.
        || key.starts_with("verk:seen:m")
}

#[cfg(test)]
mod tests;
