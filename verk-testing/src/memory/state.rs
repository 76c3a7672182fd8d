//! The content of a [`MemoryStorage`](super::MemoryStorage), and every change of it that concerns
//! jobs. Nothing here waits.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use verk_core::{
    QueueName, StorageError,
    names::NodeId,
    storage::{
        DeadLimits, DequeueRequest, Due, DuePage, DueSet, HeldCount, Inprogress, JobSet,
        MAX_BATCH_BYTES, MAX_CUT_BY_DEATH, MAX_CUT_BY_TRIM, MovedQueue, NO_PREFETCH_AFTER_RESTORE,
        Page, Settled, Settlement, Source, StoredNodeInfo, Target,
    },
    time::unix_seconds,
};

use super::{
    activity::{Gate, not_before},
    cron::Timetable,
    effects::{Locks, Verdict},
    faults::{Fault, Key, Switches},
    nodes::Deaths,
    once::AllSeen,
    processes::Processes,
    sorted_set::SortedSet,
    stats::Counters,
};

/// A list of payloads; the front is the oldest, which leaves first.
pub(super) type JobList = VecDeque<Bytes>;

/// Everything, under one lock. As in Redis, a list that becomes empty is gone.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) queues: BTreeMap<QueueName, JobList>,
    /// The queues that ever had a job.
    pub(super) queue_names: BTreeSet<QueueName>,
    pub(super) inprogress: HashMap<Inprogress, JobList>,
    /// How many of the newest jobs of such a list were prefetched, if any, and until when that is
    /// kept.
    pub(super) prefetched: HashMap<Inprogress, (usize, Instant)>,
    /// Until when no node prefetches from a queue to which jobs were restored.
    pub(super) restored: HashMap<QueueName, Instant>,
    pub(super) schedule: SortedSet,
    pub(super) retry: SortedSet,
    pub(super) dead: SortedSet,
    /// The queues that are paused for all nodes, with a note or an empty one.
    pub(super) paused: BTreeMap<QueueName, Bytes>,
    /// The registered nodes with the queues that they fetched from.
    pub(super) nodes: BTreeMap<NodeId, BTreeSet<QueueName>>,
    /// What nodes said about themselves.
    pub(super) node_infos: HashMap<NodeId, StoredNodeInfo>,
    /// When the heartbeat of a node runs out.
    pub(super) heartbeats: HashMap<NodeId, Instant>,
    /// Who holds a name, and until when.
    pub(super) names: HashMap<String, (NodeId, Instant)>,
    pub(super) deaths: Deaths,
    /// Which cell this is.
    pub(super) layout: Option<String>,
    /// The queues that moved to another cell, or move.
    pub(super) moved: BTreeMap<QueueName, MovedQueue>,
    /// Who moves due jobs, and until when.
    pub(super) lease: Option<(NodeId, Instant)>,
    pub(super) cron: Timetable,
    pub(super) stats: Counters,
    pub(super) processes: Processes,
    /// What operators did; the front is the newest.
    pub(super) actions: JobList,
    pub(super) locks: Locks,
    pub(super) seen: AllSeen,
    pub(super) faults: Switches,
    pub(super) gate: Gate,
}

impl State {
    pub(super) fn enqueue(&mut self, queue: &QueueName, jobs: &[Bytes]) -> Result<(), Fault> {
        self.faults.check_room()?;
        if jobs.is_empty() {
            return Ok(());
        }
        self.queue_names.insert(queue.clone());
        self.faults.check_key(Key::Queue(queue.clone()))?;
        let list = self.queues.entry(queue.clone()).or_default();
        list.extend(jobs.iter().cloned());
        Ok(())
    }

    pub(super) fn prefetched(&self, list: &Inprogress, now: Instant) -> usize {
        let prefetched = self.prefetched.get(list);
        let remembered = prefetched.filter(|(_, until)| *until > now);
        remembered.map_or(0, |(jobs, _)| *jobs)
    }

    pub(super) fn held_counts(
        &self,
        lists: &[Inprogress],
        now: Instant,
    ) -> Result<Vec<HeldCount>, Fault> {
        let count = |list: &Inprogress| {
            self.faults.check_key(Key::Inprogress(list.clone()))?;
            let jobs = self.inprogress.get(list).map_or(0, JobList::len);
            let prefetched = self.prefetched(list, now).min(jobs);
            Ok(HeldCount { jobs, prefetched })
        };
        lists.iter().map(count).collect()
    }

    pub(super) fn schedule(&mut self, jobs: &[Due]) -> Result<usize, Fault> {
        self.faults.check_room()?;
        self.faults.check_key(Key::Set(JobSet::Schedule))?;
        let merged = jobs
            .iter()
            .filter(|job| insert(&mut self.schedule, job))
            .count();
        Ok(merged)
    }

    /// Whether the lists of a fetch are lists.
    pub(super) fn check_fetch(
        &self,
        inprogress: &Inprogress,
        max_jobs: usize,
    ) -> Result<(), Fault> {
        if max_jobs > 0 {
            self.faults
                .check_key(Key::Queue(inprogress.queue.clone()))?;
        }
        self.faults.check_key(Key::Inprogress(inprogress.clone()))
    }

    /// Moves the oldest jobs that fit from the queue to `inprogress`.
    pub(super) fn fetch(
        &mut self,
        inprogress: &Inprogress,
        max_jobs: usize,
        max_bytes: usize,
    ) -> Vec<Bytes> {
        let queue = &inprogress.queue;
        let Some(waiting) = self.queues.get_mut(queue) else {
            return Vec::new();
        };
        let oldest = waiting.iter().take(max_jobs);
        let taken = count_taken(oldest.map(Bytes::len), max_bytes);
        let jobs: Vec<Bytes> = waiting.drain(..taken).collect();
        if waiting.is_empty() {
            self.queues.remove(queue);
        }
        let held = self.inprogress.entry(inprogress.clone()).or_default();
        held.extend(jobs.iter().cloned());
        jobs
    }

    /// How many jobs a fetch may take, and how many of the newest then wait in the node.
    pub(super) fn allowed(
        &self,
        queue: &QueueName,
        request: &DequeueRequest,
        now: Instant,
    ) -> (usize, usize) {
        let (max_jobs, prefetched) = (request.max_jobs, request.prefetched);
        if self.restored.get(queue).is_none_or(|until| *until <= now) {
            return (max_jobs, prefetched);
        }
        let started_at_once = max_jobs.saturating_sub(prefetched);
        (
            started_at_once,
            prefetched.saturating_sub(max_jobs - started_at_once),
        )
    }

    /// Settles jobs of a dead node. If some go back to their queue, no node prefetches from it for
    /// a while.
    pub(super) fn restore(
        &mut self,
        inprogress: &Inprogress,
        settlements: &[Settlement],
        op: &'static str,
        now: Instant,
    ) -> Vec<Settled> {
        let settled = self.settle(inprogress, settlements, op);
        let went_back = |(settlement, settled): (&Settlement, &Settled)| {
            settlement.to == Target::Requeue && matches!(settled, Settled::Done)
        };
        if settlements.iter().zip(&settled).any(went_back) {
            let until = now + NO_PREFETCH_AFTER_RESTORE;
            self.restored.insert(inprogress.queue.clone(), until);
        }
        settled
    }

    pub(super) fn settle(
        &mut self,
        inprogress: &Inprogress,
        settlements: &[Settlement],
        op: &'static str,
    ) -> Vec<Settled> {
        if self.gate.refuses(&inprogress.node, settlements) {
            return vec![Settled::NotHeld; settlements.len()];
        }
        let mut front = Vec::new();
        let answers = settlements
            .iter()
            .map(|settlement| {
                self.settle_one(inprogress, settlement, &mut front)
                    .unwrap_or_else(|fault| Settled::Failed(StorageError::not_applied(op, fault)))
            })
            .collect();
        if !front.is_empty() {
            let queue = self.queues.entry(inprogress.queue.clone()).or_default();
            for job in front.into_iter().rev() {
                queue.push_front(job);
            }
            self.queue_names.insert(inprogress.queue.clone());
        }
        answers
    }

    fn settle_one(
        &mut self,
        inprogress: &Inprogress,
        settlement: &Settlement,
        front: &mut Vec<Bytes>,
    ) -> Result<Settled, Fault> {
        self.faults.check_key(Key::Inprogress(inprogress.clone()))?;
        let Some(position) = self
            .inprogress
            .get(inprogress)
            .and_then(|held| held.iter().position(|job| *job == settlement.held))
        else {
            return Ok(Settled::NotHeld);
        };
        let effects = &settlement.effects;
        let verdict = if effects.is_empty() {
            Verdict::Go
        } else {
            self.look_at(effects)?
        };
        match verdict {
            Verdict::Go => {}
            Verdict::Conflict(jid) => return Ok(Settled::Conflict { jid }),
            Verdict::Superseded => {
                self.release(inprogress, position);
                self.supersede(effects);
                self.gate.settled += 1;
                return Ok(Settled::Superseded);
            }
        }
        let merged = match &settlement.to {
            Target::Ack => false,
            Target::Retry(job) => self.insert(JobSet::Retry, job)?,
            Target::Schedule(job) => self.insert(JobSet::Schedule, job)?,
            Target::Dead { job, limits } => self.bury(job, *limits)?,
            Target::Requeue => {
                let queue = Key::Queue(inprogress.queue.clone());
                self.faults.check_key(queue)?;
                front.push(settlement.held.clone());
                false
            }
        };
        self.release(inprogress, position);
        if !effects.is_empty() {
            let to = match &settlement.to {
                Target::Ack => None,
                Target::Retry(_) => Some(Source::Set(JobSet::Retry)),
                Target::Schedule(_) => Some(Source::Set(JobSet::Schedule)),
                Target::Dead { .. } => Some(Source::Set(JobSet::Dead)),
                Target::Requeue => Some(Source::Queue(inprogress.queue.clone())),
            };
            self.apply(effects, to.as_ref());
        }
        self.gate.settled += 1;
        Ok(done(merged))
    }

    fn release(&mut self, inprogress: &Inprogress, position: usize) {
        if let Some(held) = self.inprogress.get_mut(inprogress) {
            held.remove(position);
            if held.is_empty() {
                self.inprogress.remove(inprogress);
            }
        }
    }

    pub(super) fn due(&self, set: DueSet, now: SystemTime, page: Page) -> Result<DuePage, Fault> {
        self.faults.check_key(Key::Set(set.into()))?;
        let now = unix_seconds(now);
        let set = self.set(set.into());
        let due = set.iter().take_while(|member| member.score <= now);
        let jobs = slice(due.map(|member| member.job), page, Bytes::len);
        let mut after = set.iter().skip(page.offset + jobs.len());
        let next = after.next().map(|member| not_before(member.score));
        Ok(DuePage { jobs, next })
    }

    /// When the first member of `set` is due; in the past if that cannot be read.
    pub(super) fn next_due(&self, set: JobSet) -> Option<SystemTime> {
        if self.faults.check_key(Key::Set(set)).is_err() {
            return Some(SystemTime::UNIX_EPOCH);
        }
        let first = self.set(set).iter().next();
        first.map(|member| not_before(member.score))
    }

    /// Adds to a set; returns whether it had an equal member.
    pub(super) fn insert(&mut self, set: JobSet, job: &Due) -> Result<bool, Fault> {
        self.faults.check_key(Key::Set(set))?;
        Ok(insert(self.set_mut(set), job))
    }

    fn bury(&mut self, job: &Due, limits: DeadLimits) -> Result<bool, Fault> {
        let merged = self.insert(JobSet::Dead, job)?;
        self.cut_dead(job.at, limits, MAX_CUT_BY_DEATH);
        Ok(merged)
    }

    /// Answers whether more are to go.
    pub(super) fn cut_dead(&mut self, now: SystemTime, limits: DeadLimits, at_most: usize) -> bool {
        let oldest = unix_seconds(now) - limits.timeout.as_secs_f64();
        self.dead.cut_lowest(oldest, limits.max_jobs, at_most)
    }

    pub(super) fn trim_dead(&mut self, now: SystemTime, limits: DeadLimits) -> Result<bool, Fault> {
        self.faults.check_key(Key::Set(JobSet::Dead))?;
        Ok(self.cut_dead(now, limits, MAX_CUT_BY_TRIM))
    }

    pub(super) fn set(&self, set: JobSet) -> &SortedSet {
        match set {
            JobSet::Schedule => &self.schedule,
            JobSet::Retry => &self.retry,
            JobSet::Dead => &self.dead,
        }
    }

    pub(super) fn set_mut(&mut self, set: JobSet) -> &mut SortedSet {
        match set {
            JobSet::Schedule => &mut self.schedule,
            JobSet::Retry => &mut self.retry,
            JobSet::Dead => &mut self.dead,
        }
    }

    /// A page of `inprogress`, the most recently fetched first.
    pub(super) fn inprogress_page(
        &self,
        inprogress: &Inprogress,
        page: Page,
    ) -> Result<Vec<Bytes>, Fault> {
        self.faults.check_key(Key::Inprogress(inprogress.clone()))?;
        let jobs = self.inprogress.get(inprogress).into_iter().flatten();
        Ok(slice(jobs.rev().cloned(), page, Bytes::len))
    }
}

fn insert(set: &mut SortedSet, job: &Due) -> bool {
    set.insert(unix_seconds(job.at), job.job.clone())
}

pub(super) fn done(merged: bool) -> Settled {
    if merged {
        Settled::Merged
    } else {
        Settled::Done
    }
}

/// How many jobs of these sizes one fetch takes: see [`DequeueRequest::max_bytes`].
fn count_taken(sizes: impl Iterator<Item = usize>, max_bytes: usize) -> usize {
    let (mut jobs, mut bytes) = (0, 0_usize);
    for size in sizes {
        if jobs > 0 && bytes + size > max_bytes {
            break;
        }
        jobs += 1;
        bytes += size;
        if max_bytes.saturating_sub(bytes).saturating_mul(jobs) < bytes {
            break;
        }
    }
    jobs
}

/// The entries of a page, as many as the bytes of a batch hold.
pub(super) fn slice<T>(
    entries: impl Iterator<Item = T>,
    page: Page,
    size: impl Fn(&T) -> usize,
) -> Vec<T> {
    let entries = entries.skip(page.offset).take(page.limit);
    take_fitting(entries, MAX_BATCH_BYTES, size).collect()
}

/// The first entries with at most `max_bytes` together, and at least one.
fn take_fitting<T>(
    entries: impl Iterator<Item = T>,
    max_bytes: usize,
    size: impl Fn(&T) -> usize,
) -> impl Iterator<Item = T> {
    let mut bytes = 0_usize;
    entries
        .enumerate()
        .take_while(move |(index, entry)| {
            bytes = bytes.saturating_add(size(entry));
            *index == 0 || bytes <= max_bytes
        })
        .map(|(_, entry)| entry)
}
