//! Judges whether the promises were kept: [`judge`] reads the ledger and what is left in Redis.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use serde::Serialize;
use verk_testing::{RedisServer, Reply};

use crate::{
    fault::Fault,
    kind::Kind,
    ledger::{Attempt, Life, Record},
    payload,
};

/// What a run came to.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Jobs that verk reported as stored.
    pub stored: usize,
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

/// What is in Redis.
#[derive(Clone, Debug, Default)]
pub(crate) struct Left {
    keys: Vec<String>,
    waiting: Vec<String>,
    /// The jobs that are in `schedule`, the next first.
    scheduled: Vec<String>,
    dead: Vec<String>,
    nodes: usize,
}

impl Left {
    /// The next job, when nothing runs and all jobs wait for their time.
    pub(crate) fn next_scheduled(&self) -> Option<&str> {
        let rest = self.waiting.len() == self.scheduled.len();
        self.scheduled.first().filter(|_| rest).map(String::as_str)
    }

    /// Whether no job is left to run, with so many live nodes and no other on the list.
    pub(crate) fn is_at_rest(&self, nodes: usize) -> bool {
        self.waiting.is_empty() && self.nodes == nodes
    }
}

/// Everything in Redis at one moment, so that a job that moves meanwhile is not missed.
const LOOK: &str = "
    local keys, waiting = redis.call('KEYS', '*'), {}
    for _, key in ipairs(keys) do
        if key:find('^queue:') or key:find('^inprogress:') then
            for _, job in ipairs(redis.call('LRANGE', key, 0, -1)) do
                table.insert(waiting, job)
            end
        end
    end
    local function members(set)
        return redis.call('ZRANGE', set, 0, -1)
    end
    return {
        keys, waiting, members('schedule'), members('retry'), members('dead'),
        redis.call('SMEMBERS', 'processes'), redis.call('SMEMBERS', 'verk_nodes')
    }";

/// Looks into Redis, without help from verk.
pub(crate) fn what_is_left(server: &RedisServer) -> Left {
    let texts = |reply: Reply| -> Vec<String> {
        let entries = reply.into_array().unwrap_or_default().into_iter();
        entries
            .filter_map(Reply::into_bytes)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect()
    };
    let look = server.command(&["EVAL", LOOK, "0"]).into_array();
    let mut look = look.unwrap_or_default().into_iter().map(texts);
    let mut next = || look.next().unwrap_or_default();
    let mut left = Left {
        keys: next(),
        waiting: next(),
        scheduled: next(),
        ..Left::default()
    };
    left.waiting.extend(left.scheduled.clone());
    left.waiting.extend(next());
    left.dead = next();
    // The entries of killed processes in Sidekiq's registry expire, and nothing depends on them.
    let shown = next();
    let of_process = |key: &String| shown.iter().any(|identity| key.starts_with(identity));
    left.keys.retain(|key| !of_process(key));
    left.keys.sort();
    left.nodes = next().len();
    left
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
                    index.stored.insert(jid);
                }
                Record::MayBeStored(_) => verdict.may_be_stored += 1,
                Record::NotStored(_) => verdict.not_stored += 1,
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
        let needed = match index.sent.get(attempt.jid.as_str()) {
            Some(Kind::FailsOnce) => 2,
            _ => 1,
        };
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
        let attempts = match index.sent.get(attempt.jid.as_str()) {
            Some(Kind::FailsOnce) => 2,
            _ => 1,
        };
        if attempt.number > attempts {
            verdict.miscounted += 1;
            verdict.tell_of(&attempt.jid);
        }
        for (position, (place, _)) in starts.iter().enumerate().skip(copies) {
            seconds.push((*place, position, *attempt));
        }
    }
    seconds.sort_unstable();

    let mut explained: HashMap<Cause, usize> = HashMap::new();
    let mut used = HashSet::new();
    for (second, position, attempt) in seconds {
        let firsts = index.started[attempt][..position].iter().rev();
        let cause = firsts
            .filter(|(first, _)| !used.contains(first))
            .find_map(|&(first, life)| {
                let causes = index.causes(attempt, life, first, second).into_iter();
                let mut possible = causes.filter(|cause| {
                    let before = explained.get(cause).copied().unwrap_or_default();
                    before < index.in_flight(*cause, most)
                });
                Some((first, possible.next()?))
            });
        if let Some((first, cause)) = cause {
            used.insert(first);
            *explained.entry(cause).or_default() += 1;
            let fault = index.fault(cause).to_string();
            *verdict.duplicates.entry(fault).or_default() += 1;
        } else {
            verdict.illegal_duplicates += 1;
            verdict.tell_of(&attempt.jid);
        }
    }
}

/// The jid in the payload, whether the payload is a job or not.
fn jid_of(payload: &str) -> Option<String> {
    let (_, rest) = payload.split_once(r#""jid":""#)?;
    let (jid, _) = rest.split_once('"')?;
    Some(jid.to_owned())
}

/// Whether a key may exist when no job is left and no node lives.
fn is_expected(key: &str) -> bool {
    matches!(key, "queues" | "dead" | "processes" | "process_cleanup")
        || key.starts_with("stat:")
        || key.starts_with("verk:deaths:")
        || key.starts_with("verk:restored:")
}

#[cfg(test)]
mod tests;
