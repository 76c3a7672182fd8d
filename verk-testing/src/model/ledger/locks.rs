//! The locks of unique jobs: what each step does to them, and what must be true after it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::UNIX_EPOCH,
};

use bytes::Bytes;
use verk_core::{
    Jid, QueueName,
    storage::{
        Conflict, Effect, HolderPlace, JobSet, LockId, LockRef, LockedJob, Source, StoredLock,
    },
    time::unix_seconds,
};

use super::Ledger;
use crate::model::{
    request::{Answer, Outcome, queue_name},
    unique::{End, Rule, UniqueRequest},
};

/// The locks, and the jobs that have to do with them.
#[derive(Debug, Default)]
pub(super) struct Locks {
    by_id: BTreeMap<LockId, Lock>,
    /// By each payload of a unique job, what it says.
    claims: BTreeMap<Bytes, Claim>,
    /// All that were sent.
    sent: Vec<LockedJob>,
    /// The jobs that lost or gave up their locks, and live.
    free: BTreeSet<Jid>,
    /// The jobs that have started, and came not back from the dead since.
    begun: BTreeSet<Jid>,
    /// The places in which a job with effects was stored.
    marked: BTreeSet<String>,
    /// The locks whose time has passed. Until they are taken again, a backend may count them.
    ended: BTreeSet<LockId>,
}

/// What a payload says about its lock.
#[derive(Clone, Debug)]
pub(in crate::model) struct Claim {
    pub(in crate::model) jid: Jid,
    pub(in crate::model) lock: LockId,
    pub(in crate::model) rule: Rule,
}

#[derive(Debug)]
struct Lock {
    jid: Jid,
    class: String,
    place: HolderPlace,
    /// The payload of its job, if that may be replaced.
    payload: Option<Bytes>,
    /// The job that waits for it.
    next: Option<LockedJob>,
    /// Whether it has a time.
    ends: bool,
    conflicts: u64,
    revision: u64,
}

/// Where a job is, if it is anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Queued,
    Later,
    Running,
    Dead,
}

/// # Steps
impl Ledger {
    /// Notes what a payload says.
    pub(in crate::model) fn claim(&mut self, payload: Bytes, claim: Claim) {
        self.locks.claims.insert(payload, claim);
    }

    pub(in crate::model) fn claim_of(&self, payload: &Bytes) -> Option<&Claim> {
        self.locks.claims.get(payload)
    }

    pub(in crate::model) fn sent(&mut self, job: &LockedJob) {
        self.locks.sent.push(job.clone());
    }

    /// One of the jobs that were sent, unless it is alive without its lock: then it would be stored
    /// twice, as any job that is sent twice.
    pub(in crate::model) fn may_be_sent_again(&self, number: usize) -> Option<LockedJob> {
        let sent = &self.locks.sent;
        let job = sent.get(number % sent.len().max(1))?;
        self.may_be_stored(job).then(|| job.clone())
    }

    pub(in crate::model) fn may_be_stored(&self, job: &LockedJob) -> bool {
        let LockRef { id, jid, .. } = &job.lock;
        let lock = self.locks.by_id.get(id);
        let has_it = lock.is_some_and(|lock| lock.jid == *jid || lock.waits(jid));
        has_it || !self.lives().contains_key(jid)
    }

    /// A job of the node whose lock its start frees.
    pub(in crate::model) fn starts(
        &mut self,
        node: usize,
        queue: &QueueName,
        number: usize,
    ) -> Option<Bytes> {
        let at_start = |claim: &Claim| claim.rule.end == End::Start;
        let held: Vec<Bytes> = self.held(node, queue).iter().cloned().collect();
        let mut jobs: Vec<&Bytes> = held.iter().collect();
        // Also one that is elsewhere by now.
        jobs.extend(self.locks.claims.keys().take(1));
        jobs.retain(|job| self.claim_of(job).is_some_and(at_start));
        jobs.get(number % jobs.len().max(1)).copied().cloned()
    }

    /// Applies what only unique jobs do. Returns the answer that it must have.
    pub(super) fn follow_unique(&mut self, request: &UniqueRequest, answer: &Answer) -> Answer {
        match request {
            UniqueRequest::Enqueue(jobs) => {
                let refused = super::refusals(answer);
                super::each(jobs, refused, |job| self.enqueue_locked(job))
            }
            UniqueRequest::Begin {
                node, queue, held, ..
            } => {
                if !self.held(*node, &queue_name(*queue)).contains(held) {
                    return Answer::Each(vec![Outcome::NotHeld]);
                }
                if let Some(Claim { jid, lock, .. }) = self.claim_of(held).cloned() {
                    self.locks.begun.insert(jid.clone());
                    if self.unlock(lock, &jid, &queue_name(*queue)) {
                        self.locks.free.insert(jid);
                    }
                }
                Answer::Each(vec![Outcome::Done])
            }
            UniqueRequest::Free { lock, stale } => {
                let Some(held) = self.locks.by_id.get(lock).filter(|_| !stale) else {
                    return Answer::Flag(false);
                };
                let jid = held.jid.clone();
                let next = held.next.as_ref().map(|next| next.lock.queue.clone());
                let queue = next.unwrap_or_else(|| queue_name(0));
                self.unlock(*lock, &jid, &queue);
                self.locks.free.insert(jid);
                Answer::Flag(true)
            }
            UniqueRequest::Expire(lock) => {
                if self.locks.by_id.get(lock).is_some_and(|lock| lock.ends)
                    && let Some(held) = self.locks.by_id.remove(lock)
                {
                    self.locks.free.insert(held.jid);
                    self.locks.ended.insert(*lock);
                }
                Answer::Done
            }
        }
    }

    /// What the effects of a job make of its step: `None` if it is moved.
    pub(super) fn verdict(&self, effects: &[Effect]) -> Option<Outcome> {
        effects.iter().find_map(|effect| {
            let LockRef { id, jid, .. } = effect.lock();
            let lock = self.locks.by_id.get(id)?;
            let is_ours = lock.jid == *jid;
            match effect {
                Effect::Lock { .. } if !is_ours => Some(Outcome::Conflict(lock.jid.clone())),
                Effect::Relock { .. } | Effect::Hold { .. } if is_ours && lock.next.is_some() => {
                    Some(Outcome::Superseded)
                }
                _ => None,
            }
        })
    }

    /// A job is discarded for the one that waits for its lock.
    pub(super) fn supersede(&mut self, effects: &[Effect]) {
        for effect in effects {
            let LockRef { id, jid, queue } = effect.lock();
            self.unlock(*id, jid, queue);
        }
    }

    /// Applies the effects of a job that went to `to`, or away.
    pub(super) fn apply_effects(&mut self, effects: &[Effect], to: Option<&Source>) {
        for effect in effects {
            let LockRef { id, jid, queue } = effect.lock();
            if let Effect::Unlock(_) = effect {
                if self.unlock(*id, jid, queue) && self.may_lose_it(jid, to) {
                    self.locks.free.insert(jid.clone());
                }
                continue;
            }
            if let Some(to) = to {
                self.locks.marked.insert(to.to_string());
            }
            let locks = &mut self.locks;
            if let Effect::Lock { new, .. } = effect {
                locks.free.remove(jid);
                locks.begun.remove(jid);
                locks.ended.remove(id);
                let before = locks.by_id.get(id);
                let taken = Lock {
                    jid: jid.clone(),
                    class: new.class.clone(),
                    place: HolderPlace::Waiting {
                        queue: queue.clone(),
                    },
                    payload: None,
                    next: None,
                    ends: new.lasts.is_some(),
                    conflicts: before.map_or(0, |lock| lock.conflicts),
                    revision: before.map_or(0, |lock| lock.revision),
                };
                locks.by_id.insert(*id, taken);
            }
            let Some(lock) = locks.by_id.get_mut(id).filter(|lock| lock.jid == *jid) else {
                continue;
            };
            lock.revision += 1;
            match effect {
                Effect::Relock { place, payload, .. } => {
                    lock.place = place.clone().unwrap_or_else(|| lock.place.clone());
                    lock.payload = payload.clone().or_else(|| lock.payload.clone());
                }
                Effect::Hold { died_at, .. } => {
                    lock.place = HolderPlace::Dead(*died_at);
                    lock.ends = true;
                }
                Effect::Lock { place, new, .. } => {
                    lock.place = place.clone();
                    lock.payload.clone_from(&new.payload);
                }
                _ => {}
            }
        }
    }

    /// Whether a job that went to `to` gives up its lock on the way, and lives.
    fn may_lose_it(&self, jid: &Jid, to: Option<&Source>) -> bool {
        let claim = self.locks.claims.values().find(|claim| claim.jid == *jid);
        match to {
            Some(Source::Set(JobSet::Dead)) => true,
            Some(Source::Queue(_)) => claim.is_some_and(|claim| claim.rule.end == End::Due),
            _ => false,
        }
    }

    /// Frees a lock, if this job has it. A job that waits for it comes to the queue and has it.
    fn unlock(&mut self, id: LockId, jid: &Jid, queue: &QueueName) -> bool {
        let Some(lock) = self
            .locks
            .by_id
            .get_mut(&id)
            .filter(|lock| lock.jid == *jid)
        else {
            return false;
        };
        match lock.next.take() {
            None => {
                self.locks.by_id.remove(&id);
            }
            Some(next) => {
                lock.jid = next.lock.jid;
                lock.class = next.class;
                lock.place = HolderPlace::Waiting {
                    queue: queue.clone(),
                };
                lock.payload = Some(next.job.clone());
                lock.revision += 1;
                self.locks
                    .marked
                    .insert(Source::Queue(queue.clone()).to_string());
                self.names.insert(queue.clone());
                self.queue(queue).push_back(next.job);
            }
        }
        true
    }

    pub(super) fn enqueue_locked(&mut self, job: &LockedJob) -> Outcome {
        let LockRef { id, jid, queue } = &job.lock;
        let full = self.full;
        let Some(lock) = self.locks.by_id.get_mut(id) else {
            self.store_locked(job);
            return Outcome::Done;
        };
        if lock.jid == *jid || lock.waits(jid) {
            return Outcome::Done;
        }
        // A count that a full storage does not write.
        lock.conflicts += u64::from(!full);
        let duplicate = Outcome::Duplicate {
            jid: lock.jid.clone(),
            place: lock.place.clone(),
        };
        match (job.on_conflict, &lock.place) {
            (Conflict::Skip, _) => duplicate,
            (Conflict::QueueOne, place) => {
                let waiting = HolderPlace::Waiting {
                    queue: queue.clone(),
                };
                let may_wait = *place == waiting && job.lasts.is_none() && !lock.ends;
                if !may_wait || lock.next.is_some() {
                    return duplicate;
                }
                lock.revision += 1;
                lock.next = Some(job.clone());
                Outcome::Done
            }
            (Conflict::KeepLast, HolderPlace::Waiting { queue: its }) => {
                if its != queue || job.at.is_some() {
                    return Outcome::CannotWait;
                }
                if job.lasts.is_some() || lock.ends {
                    return duplicate;
                }
                lock.revision += 1;
                match lock.next.replace(job.clone()) {
                    Some(old) => Outcome::Replaced(old.lock.jid),
                    None => Outcome::Done,
                }
            }
            _ => self.replace_holder(job).unwrap_or(duplicate),
        }
    }

    /// The job that has a lock, and its place.
    pub(super) fn holder(&self, lock: &LockRef) -> Option<(Jid, HolderPlace)> {
        let lock = self.locks.by_id.get(&lock.id)?;
        Some((lock.jid.clone(), lock.place.clone()))
    }

    /// Stores a job, which takes the lock or the place of another in it.
    fn store_locked(&mut self, job: &LockedJob) {
        let queue = &job.lock.queue;
        let place = match job.at {
            None => {
                self.names.insert(queue.clone());
                self.queue(queue).push_back(job.job.clone());
                self.locks
                    .marked
                    .insert(Source::Queue(queue.clone()).to_string());
                HolderPlace::Waiting {
                    queue: queue.clone(),
                }
            }
            Some(at) => {
                self.schedule.insert(job.job.clone(), unix_seconds(at));
                self.locks
                    .marked
                    .insert(Source::Set(JobSet::Schedule).to_string());
                HolderPlace::Scheduled(at)
            }
        };
        self.take_lock(job, place);
    }

    fn take_lock(&mut self, job: &LockedJob, place: HolderPlace) {
        let LockRef { id, jid, .. } = &job.lock;
        let locks = &mut self.locks;
        locks.free.remove(jid);
        locks.begun.remove(jid);
        locks.ended.remove(id);
        let before = locks.by_id.remove(id);
        let (conflicts, revision) =
            (before.as_ref()).map_or((0, 0), |it| (it.conflicts, it.revision));
        let next = before.and_then(|lock| lock.next);
        let lock = Lock {
            jid: jid.clone(),
            class: job.class.clone(),
            place,
            payload: keeps_payload(job).then(|| job.job.clone()),
            ends: job.lasts.is_some(),
            next,
            conflicts,
            revision: revision + 1,
        };
        locks.by_id.insert(*id, lock);
    }

    /// Replaces the job that has the lock of this one, if that waits.
    fn replace_holder(&mut self, job: &LockedJob) -> Option<Outcome> {
        let lock = self.locks.by_id.get(&job.lock.id)?;
        let (payload, old) = (lock.payload.clone()?, lock.jid.clone());
        if lock.next.is_some() && job.lasts.is_some() {
            return None;
        }
        let place = lock.place.clone();
        match &place {
            HolderPlace::Waiting { queue } => {
                if *queue != job.lock.queue {
                    return None;
                }
                let jobs = self.queue(queue);
                let found = jobs.iter().rposition(|waiting| *waiting == payload)?;
                if job.at.is_none() {
                    jobs[found] = job.job.clone();
                    self.take_lock(job, place);
                    return Some(Outcome::Replaced(old));
                }
                jobs.remove(found);
            }
            HolderPlace::Scheduled(_) => {
                self.schedule.remove(&payload)?;
            }
            HolderPlace::Retrying(_) => {
                if self.broken == Some(Source::Set(JobSet::Retry)) {
                    return None;
                }
                self.retry.remove(&payload)?;
            }
            HolderPlace::Dead(_) => return None,
        }
        self.store_locked(job);
        Some(Outcome::Replaced(old))
    }

    /// Whether a place is cleared at once. An empty one is no longer marked when no lock is left.
    pub(super) fn may_clear(&mut self, source: &Source) -> bool {
        let is_empty = self.is_empty(source);
        if is_empty && self.locks.by_id.is_empty() {
            self.locks.marked.remove(&source.to_string());
        }
        is_empty || !self.locks.marked.contains(&source.to_string())
    }

    /// Whether it depends on the backend if a place stays marked: some count locks whose time has
    /// passed.
    pub(in crate::model) fn may_stay_marked(&mut self, source: &Source) -> bool {
        let is_marked = self.locks.marked.contains(&source.to_string());
        is_marked && self.is_empty(source) && !self.locks.ended.is_empty()
    }

    fn is_empty(&mut self, source: &Source) -> bool {
        match source {
            Source::Queue(queue) => self.queue(queue).is_empty(),
            Source::Set(set) => self.set(*set).is_empty(),
        }
    }
}

fn keeps_payload(job: &LockedJob) -> bool {
    matches!(
        job.on_conflict,
        Conflict::Replace { .. } | Conflict::KeepLast
    )
}

impl Lock {
    fn waits(&self, jid: &Jid) -> bool {
        self.next.as_ref().is_some_and(|next| next.lock.jid == *jid)
    }
}

/// # What must be true
impl Ledger {
    /// By the id of each unique job that is anywhere, all the places where it is.
    fn lives(&self) -> BTreeMap<Jid, Vec<(Life, &Claim)>> {
        let queued = self
            .queues
            .values()
            .flatten()
            .map(|job| (job, Life::Queued));
        let held = self.held.values().flatten().map(|job| (job, Life::Running));
        let sets = [
            (&self.schedule, Life::Later),
            (&self.retry, Life::Later),
            (&self.dead, Life::Dead),
        ];
        let members = sets
            .into_iter()
            .flat_map(|(set, life)| set.keys().map(move |job| (job, life)));
        let mut lives = BTreeMap::<Jid, Vec<_>>::new();
        for (job, life) in queued.chain(held).chain(members) {
            if let Some(claim) = self.claim_of(job) {
                let places = lives.entry(claim.jid.clone()).or_default();
                places.push((life, claim));
            }
        }
        lives
    }

    /// Each lock has one job that lives, and each job that lives has its lock, unless its rule or
    /// somebody took it away.
    pub(super) fn check_locks(&self) -> Result<(), String> {
        let lives = self.lives();
        for (jid, places) in &lives {
            let [(life, claim)] = places[..] else {
                return Err(format!("{jid} is in several places: {places:?}"));
            };
            let Locks {
                by_id, free, begun, ..
            } = &self.locks;
            let has_it = by_id.get(&claim.lock).is_some_and(|lock| lock.jid == *jid);
            let may_lack_it = life == Life::Dead || free.contains(jid);
            if !has_it && !may_lack_it {
                return Err(format!("{jid} is alive and has no lock: {places:?}"));
            }
            let Rule {
                end,
                holds_when_dead,
            } = claim.rule;
            let frees_it = match end {
                End::Start => begun.contains(jid),
                // A dead one that holds it keeps it on its way back.
                End::Due => !holds_when_dead && matches!(life, Life::Queued | Life::Running),
                End::Done | End::DoneOr | End::Time => false,
            };
            if has_it && frees_it {
                return Err(format!("{jid} still has its lock: {places:?}"));
            }
        }
        for (id, lock) in &self.locks.by_id {
            let claim = self
                .locks
                .claims
                .values()
                .find(|claim| claim.jid == lock.jid);
            let for_a_time = lock.ends && claim.is_some_and(|it| it.rule.end == End::Time);
            let as_dead = lock.ends && matches!(lock.place, HolderPlace::Dead(_));
            let alive = lives
                .get(&lock.jid)
                .is_some_and(|places| places[0].0 != Life::Dead);
            if !alive && !for_a_time && !as_dead {
                return Err(format!("nobody alive has {id}: {lock:?}"));
            }
            if lock.next.is_some() && lock.ends {
                return Err(format!("the job that waits for {id} may vanish: {lock:?}"));
            }
            if let Some(next) = &lock.next
                && lives.contains_key(&next.lock.jid)
            {
                return Err(format!(
                    "the job that waits for {id} is elsewhere: {lock:?}"
                ));
            }
        }
        Ok(())
    }

    /// The locks, without their times.
    pub(super) fn stored_locks(&self) -> impl Iterator<Item = StoredLock> {
        self.locks.by_id.iter().map(|(id, lock)| StoredLock {
            id: *id,
            jid: lock.jid.clone(),
            class: lock.class.clone(),
            place: lock.place.clone(),
            since: UNIX_EPOCH,
            until: lock.ends.then_some(UNIX_EPOCH),
            conflicts: lock.conflicts,
            next: (lock.next.as_ref()).map(|next| (next.lock.jid.clone(), next.lock.queue.clone())),
            revision: lock.revision,
        })
    }
}
