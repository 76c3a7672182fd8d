//! What a storage must hold and answer: the [`Ledger`].

pub(super) mod locks;
mod timetable;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::SystemTime,
};

use bytes::Bytes;
use verk_core::{
    QueueName,
    storage::{
        DeadLimits, Due, Effect, Inprogress, JobSet, Move, MoveTarget, Settlement, Source, Target,
    },
    time::unix_seconds,
};

use self::{locks::Locks, timetable::Timetable};
use super::{
    request::{Answer, Outcome, Request, at, node_id, queue_name},
    step::{Spot, Trouble},
    timetable::CronRequest,
    unique::UniqueRequest,
    view::View,
    walk::Walk,
};

/// Every place with its jobs, in the plainest form. It gets each request and its answer, checks
/// whether the answer may be right, and applies its effect.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// In seconds since the case began.
    pub(super) now: u64,
    /// Every payload that was ever stored.
    pub(super) known: Vec<Bytes>,
    queues: BTreeMap<QueueName, VecDeque<Bytes>>,
    /// The queues that had a job.
    names: BTreeSet<QueueName>,
    /// By node and queue, what the node holds: the oldest first.
    held: BTreeMap<(usize, QueueName), VecDeque<Bytes>>,
    prefetched: BTreeMap<(usize, QueueName), usize>,
    /// The queues that jobs of a dead node came back to: for longer than a case lasts, no node
    /// prefetches from them.
    restored: BTreeSet<QueueName>,
    schedule: BTreeMap<Bytes, f64>,
    retry: BTreeMap<Bytes, f64>,
    dead: BTreeMap<Bytes, f64>,
    /// With their notes.
    paused: BTreeMap<QueueName, Bytes>,
    /// The queues of each registered node.
    nodes: BTreeMap<usize, BTreeSet<QueueName>>,
    /// The version in the info of each node that registered and did not deregister.
    infos: BTreeMap<usize, String>,
    alive: BTreeSet<usize>,
    locks: Locks,
    timetable: Timetable,
    /// The last tick that was sent.
    pub(super) last_tick: Option<CronRequest>,
    /// The place that cannot be used during this step.
    broken: Option<Source>,
    /// Whether the storage has no room during this step.
    full: bool,
}

impl Ledger {
    /// Applies the effect of an answer. An error means that the answer is wrong.
    pub(super) fn apply(
        &mut self,
        request: &Request,
        answer: &Answer,
        trouble: Option<Trouble>,
    ) -> Result<(), String> {
        if let (Request::Exchange { settle, dequeue }, Answer::Both(settled, dequeued)) =
            (request, answer)
        {
            self.apply(settle, settled, trouble)?;
            return self.apply(dequeue, dequeued, trouble);
        }
        self.broken = match trouble {
            Some(Trouble::Broken(Spot::Set(set))) => Some(Source::Set(set)),
            Some(Trouble::Broken(Spot::Queue(queue))) => Some(Source::Queue(queue_name(queue))),
            _ => None,
        };
        self.full = matches!(trouble, Some(Trouble::Full));
        if is_refused(answer) && !may_refuse(trouble, request) {
            return Err(format!("refused without a reason: {answer:?}"));
        }
        if *answer == Answer::Refused {
            // A queue may be named before anything is found in its place.
            if let (Request::Enqueue { queue, .. }, Some(Trouble::Broken(_))) = (request, trouble) {
                self.names.insert(queue.clone());
            }
            return Ok(());
        }
        // A value under the key of a list counts as jobs.
        let broken = matches!(trouble, Some(Trouble::Broken(_)));
        if broken && matches!(request, Request::Deregister { .. }) && *answer == Answer::Flag(false)
        {
            return Ok(());
        }
        let Some(expected) = self.follow(request, answer) else {
            return Ok(());
        };
        let lost = matches!(trouble, Some(Trouble::LostReply)) && answer.is_unknown();
        if lost || expected == *answer {
            Ok(())
        } else {
            Err(format!("answered {answer:?} instead of {expected:?}"))
        }
    }

    /// Applies the request, except for the parts that were refused. Returns the answer that it must
    /// have, if the ledger knows.
    fn follow(&mut self, request: &Request, answer: &Answer) -> Option<Answer> {
        let refused = refusals(answer);
        Some(match request {
            Request::Enqueue { queue, jobs } => {
                self.names.insert(queue.clone());
                self.queue(queue).extend(jobs.iter().cloned());
                Answer::Done
            }
            Request::Schedule { jobs } => {
                let merged = jobs.iter().filter(|job| self.insert(JobSet::Schedule, job));
                Answer::Count(merged.count())
            }
            Request::Dequeue { .. } => self.dequeue(request)?,
            Request::Settle {
                node,
                queue,
                restore,
                settlements,
            } => {
                if *restore && self.alive.contains(node) {
                    return Some(each(settlements, refused, |_| Outcome::NotHeld));
                }
                let mut front = Vec::new();
                let outcomes = each(settlements, refused, |settlement| {
                    self.settle(*node, queue, settlement, &mut front)
                });
                if !front.is_empty() {
                    self.names.insert(queue.clone());
                    if *restore {
                        self.restored.insert(queue.clone());
                    }
                }
                for job in front.into_iter().rev() {
                    self.queue(queue).push_front(job);
                }
                outcomes
            }
            Request::Move {
                from,
                moves,
                due_by,
            } => each(moves, refused, |step| self.move_one(from, step, *due_by)),
            Request::Clear { from } if !self.may_clear(from) => Answer::HasEffects,
            Request::Clear { from } => Answer::Count(match from {
                Source::Queue(queue) => {
                    self.names.remove(queue);
                    std::mem::take(self.queue(queue)).len()
                }
                Source::Set(set) => std::mem::take(self.set(*set)).len(),
            }),
            Request::SetPaused { queue, note } => Answer::Flag(match note {
                Some(note) if !self.paused.contains_key(queue) => {
                    self.paused.insert(queue.clone(), note.clone());
                    true
                }
                Some(_) => false,
                None => self.paused.remove(queue).is_some(),
            }),
            Request::Register { node, queues, info } => {
                self.infos.insert(*node, info.version.clone());
                self.alive.insert(*node);
                let known = self.nodes.entry(*node).or_default();
                known.extend(queues.iter().cloned());
                Answer::Done
            }
            Request::Beat { node } => Answer::Flag(self.alive.contains(node)),
            Request::Deregister { node } => Answer::Flag(self.deregister(*node)),
            Request::Die { node } => {
                self.alive.remove(node);
                Answer::Done
            }
            Request::TrimDead { now, limits } => {
                self.cut_dead(*now, *limits);
                // No case buries as many jobs as one call cuts.
                Answer::Flag(false)
            }
            Request::Walk(walk) => {
                let jobs = match &walk.from {
                    Source::Queue(queue) => {
                        let jobs = self.queue(queue).iter();
                        jobs.map(|job| (job.clone(), None)).collect()
                    }
                    Source::Set(set) => {
                        let members = by_score(self.set(*set)).into_iter();
                        members.map(|(job, score)| (job, Some(score))).collect()
                    }
                };
                Answer::Walked(Walk::expected(walk, jobs))
            }
            Request::Unique(request) => self.follow_unique(request, answer),
            Request::Cron(request) => self.follow_cron(request),
            Request::Exchange { .. }
            | Request::ClaimName { .. }
            | Request::LoseName { .. }
            | Request::CountDeaths { .. }
            | Request::PollSchedule { .. } => return None,
        })
    }

    fn dequeue(&mut self, request: &Request) -> Option<Answer> {
        let &Request::Dequeue {
            node,
            ref queue,
            mut max_jobs,
            max_bytes,
            mut prefetched,
        } = request
        else {
            return None;
        };
        if !self.alive.contains(&node) {
            return Some(Answer::NodeGone);
        }
        if self.paused.contains_key(queue) {
            return Some(Answer::Paused);
        }
        self.nodes.entry(node).or_default().insert(queue.clone());
        if self.restored.contains(queue) {
            let started_at_once = max_jobs.saturating_sub(prefetched);
            prefetched = prefetched.saturating_sub(max_jobs - started_at_once);
            max_jobs = started_at_once;
        }
        let mut jobs = Vec::new();
        let mut bytes = 0;
        while jobs.len() < max_jobs
            && let Some(job) = self.queue(queue).front()
        {
            bytes += job.len();
            if bytes > max_bytes && !jobs.is_empty() {
                break;
            }
            jobs.extend(self.queue(queue).pop_front());
            // The next one would most likely not fit.
            let left = max_bytes.saturating_sub(bytes);
            if left * jobs.len() < bytes {
                break;
            }
        }
        self.held(node, queue).extend(jobs.iter().cloned());
        let fewer = max_jobs.saturating_sub(jobs.len().max(1));
        let waiting = prefetched.saturating_sub(fewer);
        self.prefetched.insert((node, queue.clone()), waiting);
        Some(Answer::Jobs(jobs))
    }

    fn settle(
        &mut self,
        node: usize,
        queue: &QueueName,
        settlement: &Settlement,
        front: &mut Vec<Bytes>,
    ) -> Outcome {
        let Settlement { held, to, effects } = settlement;
        let list = self.held(node, queue);
        let Some(place) = list.iter().position(|job| job == held) else {
            return Outcome::NotHeld;
        };
        let verdict = self.verdict(effects);
        if let None | Some(Outcome::Superseded) = verdict {
            self.held(node, queue).remove(place);
        }
        if let Some(verdict) = verdict {
            return self.end(verdict, effects);
        }
        let (merged, to) = match to {
            Target::Ack => (false, None),
            Target::Retry(job) => (self.insert(JobSet::Retry, job), Some(JobSet::Retry)),
            Target::Schedule(job) => (self.insert(JobSet::Schedule, job), Some(JobSet::Schedule)),
            Target::Dead { job, limits } => (self.bury(job, *limits), Some(JobSet::Dead)),
            Target::Requeue => {
                front.push(held.clone());
                (false, None)
            }
        };
        self.apply_effects(effects, to.map(Source::Set).as_ref());
        done(merged)
    }

    fn move_one(&mut self, from: &Source, step: &Move, due_by: Option<SystemTime>) -> Outcome {
        let Move { held, to, effects } = step;
        let score = match from {
            Source::Queue(queue) if self.queue(queue).contains(held) => 0.0,
            Source::Set(set) if self.set(*set).contains_key(held) => self.set(*set)[held],
            Source::Queue(_) | Source::Set(_) => return Outcome::NotHeld,
        };
        let is_set = matches!(from, Source::Set(_));
        if is_set && due_by.is_some_and(|due_by| score > unix_seconds(due_by)) {
            return Outcome::NotHeld;
        }
        if let Some(verdict) = self.verdict(effects) {
            if verdict == Outcome::Superseded {
                self.take(from, held);
            }
            return self.end(verdict, effects);
        }
        let outcome = self.move_held(from, held, score, to);
        let target = match to {
            MoveTarget::Delete => None,
            MoveTarget::Replace { .. } => Some(from.clone()),
            MoveTarget::Queue { queue, .. } => Some(Source::Queue(queue.clone())),
            MoveTarget::Set { set, .. } => Some(Source::Set((*set).into())),
            MoveTarget::Dead { .. } => Some(Source::Set(JobSet::Dead)),
        };
        if outcome != Outcome::NotHeld {
            self.apply_effects(effects, target.as_ref());
        }
        outcome
    }

    /// Moves a job that exists, without its effects.
    fn move_held(&mut self, from: &Source, held: &Bytes, score: f64, to: &MoveTarget) -> Outcome {
        if let MoveTarget::Replace { job } = to {
            return done(self.replace(from, held, score, job));
        }
        self.take(from, held);
        // One that stays in its set is changed there, or not at all.
        let stays = |set, job: &Due| *from == Source::Set(set) && job.job == *held;
        let (merged, stayed) = match to {
            MoveTarget::Delete | MoveTarget::Replace { .. } => (false, None),
            MoveTarget::Queue { queue, job } => {
                self.names.insert(queue.clone());
                self.queue(queue).push_back(job.clone());
                (false, None)
            }
            MoveTarget::Set { set, job } => (
                self.insert((*set).into(), job),
                stays((*set).into(), job).then_some(job),
            ),
            MoveTarget::Dead { job, limits } => (
                self.bury(job, *limits),
                stays(JobSet::Dead, job).then_some(job),
            ),
        };
        match stayed {
            Some(job) if unix_seconds(job.at) == score => Outcome::NotHeld,
            _ => done(merged),
        }
    }

    /// Gives the place of a job to another; returns whether that merges.
    fn replace(&mut self, from: &Source, held: &Bytes, score: f64, job: &Bytes) -> bool {
        match from {
            Source::Queue(queue) => {
                if let Some(place) = self.queue(queue).iter_mut().find(|job| *job == held) {
                    place.clone_from(job);
                }
                false
            }
            Source::Set(set) => {
                let set = self.set(*set);
                set.remove(held);
                set.insert(job.clone(), score).is_some()
            }
        }
    }

    fn take(&mut self, from: &Source, held: &Bytes) {
        match from {
            Source::Queue(queue) => {
                let queue = self.queue(queue);
                if let Some(place) = queue.iter().rposition(|job| job == held) {
                    queue.remove(place);
                }
            }
            Source::Set(set) => {
                self.set(*set).remove(held);
            }
        }
    }

    /// Whether the node is off the list: it is not while it holds a job.
    fn deregister(&mut self, node: usize) -> bool {
        let queues = self.nodes.get(&node).cloned().unwrap_or_default();
        if queues
            .iter()
            .any(|queue| !self.held(node, queue).is_empty())
        {
            return false;
        }
        self.nodes.remove(&node);
        self.infos.remove(&node);
        self.alive.remove(&node);
        self.prefetched.retain(|(of, _), _| *of != node);
        true
    }

    /// Adds to a set; answers whether that merges.
    fn insert(&mut self, set: JobSet, job: &Due) -> bool {
        let score = unix_seconds(job.at);
        self.set(set).insert(job.job.clone(), score).is_some()
    }

    fn bury(&mut self, job: &Due, limits: DeadLimits) -> bool {
        let merged = self.insert(JobSet::Dead, job);
        self.cut_dead(job.at, limits);
        merged
    }

    fn cut_dead(&mut self, now: SystemTime, limits: DeadLimits) {
        let oldest = unix_seconds(now) - limits.timeout.as_secs_f64();
        self.dead.retain(|_, score| *score >= oldest);
        while self.dead.len() > limits.max_jobs {
            let lowest = by_score(&self.dead).remove(0).0;
            self.dead.remove(&lowest);
        }
    }

    pub(super) fn queue(&mut self, queue: &QueueName) -> &mut VecDeque<Bytes> {
        self.queues.entry(queue.clone()).or_default()
    }

    pub(super) fn held(&mut self, node: usize, queue: &QueueName) -> &mut VecDeque<Bytes> {
        self.held.entry((node, queue.clone())).or_default()
    }

    pub(super) fn set(&mut self, set: JobSet) -> &mut BTreeMap<Bytes, f64> {
        match set {
            JobSet::Schedule => &mut self.schedule,
            JobSet::Retry => &mut self.retry,
            JobSet::Dead => &mut self.dead,
        }
    }

    /// A step that does not move its job.
    fn end(&mut self, verdict: Outcome, effects: &[Effect]) -> Outcome {
        if verdict == Outcome::Superseded {
            self.supersede(effects);
        }
        verdict
    }

    /// What is true of all places together.
    pub(super) fn check(&self) -> Result<(), String> {
        self.check_locks()
    }

    /// What a storage must show.
    pub(super) fn view(&self) -> View {
        let mut view = View::default();
        for (queue, jobs) in &self.queues {
            view.add_queue(queue, jobs.iter().cloned());
        }
        for ((node, queue), jobs) in &self.held {
            let list = Inprogress {
                queue: queue.clone(),
                node: node_id(*node),
            };
            view.add_held(&list, jobs.iter().cloned());
        }
        for ((node, queue), count) in &self.prefetched {
            let list = Inprogress {
                queue: queue.clone(),
                node: node_id(*node),
            };
            view.add_prefetched(&list, *count);
        }
        for (set, members) in [
            (JobSet::Schedule, &self.schedule),
            (JobSet::Retry, &self.retry),
            (JobSet::Dead, &self.dead),
        ] {
            view.add_set(set, by_score(members));
        }
        view.add_names(&self.names);
        let paused = self.paused.iter();
        view.add_paused(paused.map(|(queue, note)| (queue.clone(), note.clone())));
        for (node, queues) in &self.nodes {
            view.add_node(&node_id(*node), self.alive.contains(node), queues);
            let version = self.infos.get(node).map_or("", |version| version);
            view.add_node_info(&node_id(*node), version);
        }
        for lock in self.stored_locks() {
            view.add_lock(lock);
        }
        for entry in self.cron_entries() {
            view.add_cron(entry);
        }
        view
    }

    /// The time of day.
    pub(super) fn time(&self) -> SystemTime {
        at(self.now)
    }
}

/// As a sorted set has them: by score, and by their bytes.
fn by_score(members: &BTreeMap<Bytes, f64>) -> Vec<(Bytes, f64)> {
    let mut members: Vec<_> = members.clone().into_iter().collect();
    members.sort_by(|one, other| one.1.total_cmp(&other.1));
    members
}

fn each<T>(
    steps: &[T],
    refused: impl Fn(usize) -> bool,
    mut follow: impl FnMut(&T) -> Outcome,
) -> Answer {
    let outcomes = steps.iter().enumerate().map(|(place, step)| {
        if refused(place) {
            Outcome::Refused
        } else {
            follow(step)
        }
    });
    Answer::Each(outcomes.collect())
}

/// Which jobs of a batch were refused.
fn refusals(answer: &Answer) -> impl Fn(usize) -> bool {
    move |place| match answer {
        Answer::Each(outcomes) => outcomes.get(place) == Some(&Outcome::Refused),
        _ => false,
    }
}

fn done(merged: bool) -> Outcome {
    if merged {
        Outcome::Merged
    } else {
        Outcome::Done
    }
}

fn is_refused(answer: &Answer) -> bool {
    match answer {
        Answer::Refused => true,
        Answer::Each(outcomes) => outcomes.contains(&Outcome::Refused),
        _ => false,
    }
}

/// A storage without room refuses new jobs and nothing else; one with a broken key what concerns
/// that.
fn may_refuse(trouble: Option<Trouble>, request: &Request) -> bool {
    match trouble {
        Some(Trouble::Full) => match request {
            Request::Enqueue { .. }
            | Request::Schedule { .. }
            | Request::Unique(UniqueRequest::Enqueue(_))
            | Request::Cron(CronRequest::Upsert(..)) => true,
            Request::Cron(CronRequest::Tick(_, tick)) => {
                !tick.pushes.is_empty() || tick.locked.is_some()
            }
            _ => false,
        },
        Some(Trouble::Broken(_)) => true,
        Some(Trouble::LostReply) | None => false,
    }
}
