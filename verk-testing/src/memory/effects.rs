//! Unique locks: how they change with the steps of their jobs.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use verk_core::{
    Jid, Job, QueueName, StorageError,
    storage::{
        Conflict, Effect, EffectStore, HolderPlace, Inprogress, JobSet, LockId, LockPage, LockRef,
        Locked, LockedJob, MAX_REPLACE_SEARCH, Page, SUSPECT_AFTER, Settled, Source, StoredLock,
    },
    time::{Clock, SystemClock, unix_seconds},
};

use super::{
    MemoryStorage,
    faults::{Fault, Key},
    state::State,
};
use crate::conformance::Dump;

/// The locks, and where jobs with effects may be.
#[derive(Debug)]
pub(super) struct Locks {
    clock: Arc<dyn Clock>,
    by_id: BTreeMap<LockId, Lock>,
    suspects: BTreeSet<LockId>,
    /// The places in which a job with effects was stored.
    marked: HashSet<Source>,
}

impl Default for Locks {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

impl Locks {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            by_id: BTreeMap::new(),
            suspects: BTreeSet::new(),
            marked: HashSet::new(),
        }
    }
}

#[derive(Debug)]
struct Lock {
    stored: StoredLock,
    touched: SystemTime,
    /// The payload of the holder, if it may be replaced.
    payload: Option<Bytes>,
    next: Option<Next>,
}

/// A job that waits for a lock.
#[derive(Debug)]
struct Next {
    jid: Jid,
    class: String,
    payload: Bytes,
    queue: QueueName,
}

impl Lock {
    fn touch(&mut self, now: SystemTime) {
        self.touched = now;
        self.stored.revision += 1;
    }

    fn read(&self) -> StoredLock {
        let mut stored = self.stored.clone();
        stored.next = (self.next.as_ref()).map(|next| (next.jid.clone(), next.queue.clone()));
        stored
    }
}

/// What the effects of a job make of its step.
pub(super) enum Verdict {
    Go,
    Superseded,
    Conflict(Jid),
}

impl Locks {
    fn get(&mut self, id: LockId) -> Option<&mut Lock> {
        let now = self.clock.now();
        let is_over = |lock: &Lock| lock.stored.until.is_some_and(|until| until <= now);
        if self.by_id.get(&id).is_some_and(is_over) {
            self.by_id.remove(&id);
        }
        self.by_id.get_mut(&id)
    }

    /// The lock, if the job of the effect holds it.
    fn of(&mut self, lock: &LockRef) -> Option<&mut Lock> {
        self.get(lock.id).filter(|held| held.stored.jid == lock.jid)
    }

    fn read(&self, id: LockId, now: SystemTime) -> Option<StoredLock> {
        let lock = self.by_id.get(&id)?;
        let is_over = lock.stored.until.is_some_and(|until| until <= now);
        (!is_over).then(|| lock.read())
    }

    pub(super) fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    pub(super) fn dump(&self, dump: &mut Dump) {
        for (id, lock) in &self.by_id {
            dump.add(format!("lock {id}"), [Bytes::from(format!("{lock:?}"))]);
        }
        let suspects = self.suspects.iter().map(|id| Bytes::from(id.to_string()));
        dump.add("suspects", suspects);
        let mut marked: Vec<Bytes> = (self.marked.iter())
            .map(|place| Bytes::from(place.to_string()))
            .collect();
        marked.sort();
        dump.add("marked", marked);
    }

    /// Whether a clear has to leave the jobs of a place to steps with their effects.
    pub(super) fn must_page(&mut self, source: &Source, is_empty: bool) -> bool {
        if is_empty && self.by_id.is_empty() {
            self.marked.remove(source);
        }
        !is_empty && self.marked.contains(source)
    }
}

/// # Effects of steps
impl State {
    /// Looks at what the effects of a job meet, before the first change.
    pub(super) fn look_at(&mut self, effects: &[Effect]) -> Result<Verdict, Fault> {
        let mut verdict = Verdict::Go;
        for effect in effects {
            let lock = effect.lock();
            self.faults.check_key(Key::Lock(lock.id))?;
            self.faults.check_key(Key::Queue(lock.queue.clone()))?;
            let Some(held) = self.locks.get(lock.id) else {
                continue;
            };
            let is_ours = held.stored.jid == lock.jid;
            match effect {
                Effect::Lock { .. } if !is_ours => {
                    return Ok(Verdict::Conflict(held.stored.jid.clone()));
                }
                Effect::Relock { .. } | Effect::Hold { .. } if is_ours && held.next.is_some() => {
                    verdict = Verdict::Superseded;
                }
                _ => {}
            }
        }
        Ok(verdict)
    }

    /// Applies the effects of a job that went to `to`, or away.
    pub(super) fn apply(&mut self, effects: &[Effect], to: Option<&Source>) {
        for effect in effects {
            if let (Some(to), false) = (to, matches!(effect, Effect::Unlock(_))) {
                self.locks.marked.insert(to.clone());
            }
            self.apply_one(effect);
        }
    }

    /// The job of the effects is gone, and the job that waited for its lock comes.
    pub(super) fn supersede(&mut self, effects: &[Effect]) {
        for effect in effects {
            self.unlock(effect.lock());
        }
    }

    fn apply_one(&mut self, effect: &Effect) {
        let now = self.locks.clock.now();
        match effect {
            Effect::Unlock(lock) => self.unlock(lock),
            Effect::Relock {
                lock,
                place,
                payload,
            } => {
                if let Some(held) = self.locks.of(lock) {
                    if let Some(place) = place {
                        held.stored.place = place.clone();
                    }
                    if payload.is_some() {
                        held.payload.clone_from(payload);
                    }
                    held.touch(now);
                }
            }
            Effect::Hold {
                lock,
                died_at,
                lasts,
            } => {
                if let Some(held) = self.locks.of(lock) {
                    held.stored.place = HolderPlace::Dead(*died_at);
                    held.stored.until = now.checked_add(*lasts);
                    held.touch(now);
                }
            }
            Effect::Lock { lock, place, new } => {
                let revision = self
                    .locks
                    .get(lock.id)
                    .map_or(0, |held| held.stored.revision);
                self.locks.by_id.insert(
                    lock.id,
                    Lock {
                        stored: StoredLock {
                            id: lock.id,
                            jid: lock.jid.clone(),
                            class: new.class.clone(),
                            place: place.clone(),
                            since: now,
                            until: new.lasts.and_then(|lasts| now.checked_add(lasts)),
                            conflicts: 0,
                            next: None,
                            revision: revision + 1,
                        },
                        touched: now,
                        payload: new.payload.clone(),
                        next: None,
                    },
                );
            }
            _ => {}
        }
    }

    /// Frees a lock that this job holds; a job that waits for it comes to the queue and holds it.
    fn unlock(&mut self, lock: &LockRef) {
        let now = self.locks.clock.now();
        let Some(held) = self.locks.of(lock) else {
            return;
        };
        let Some(next) = held.next.take() else {
            self.locks.by_id.remove(&lock.id);
            return;
        };
        let queue = lock.queue.clone();
        held.stored.jid = next.jid;
        held.stored.class = next.class;
        held.stored.since = now;
        held.stored.place = HolderPlace::Waiting {
            queue: queue.clone(),
        };
        held.payload = Some(next.payload.clone());
        held.touch(now);
        self.locks.marked.insert(Source::Queue(queue.clone()));
        self.push(&queue, next.payload);
    }

    fn push(&mut self, queue: &QueueName, job: Bytes) {
        self.queue_names.insert(queue.clone());
        self.queues.entry(queue.clone()).or_default().push_back(job);
    }
}

/// # Enqueues with a lock
impl State {
    fn enqueue_locked(&mut self, job: &LockedJob) -> Result<Locked, Fault> {
        let LockRef { id, jid, queue } = &job.lock;
        self.faults.check_key(Key::Lock(*id))?;
        self.faults.check_key(match job.at {
            None => Key::Queue(queue.clone()),
            Some(_) => Key::Set(JobSet::Schedule),
        })?;
        let (full, now) = (self.faults.check_room(), self.locks.clock.now());
        let Some(held) = self.locks.get(*id) else {
            full?;
            let place = self.store_locked(job, None);
            self.take_lock(job, place, None);
            return Ok(Locked::New);
        };
        let waits = held.next.as_ref().is_some_and(|next| next.jid == *jid);
        if held.stored.jid == *jid || waits {
            return Ok(Locked::New);
        }
        if full.is_ok() {
            held.stored.conflicts += 1;
        }
        let is_suspect = now
            .duration_since(held.touched)
            .is_ok_and(|age| age >= SUSPECT_AFTER);
        let duplicate = Locked::Duplicate {
            jid: held.stored.jid.clone(),
            place: held.stored.place.clone(),
        };
        if is_suspect && full.is_ok() {
            self.locks.suspects.insert(*id);
        }
        match (job.on_conflict, self.locks.by_id.get(id)) {
            (Conflict::QueueOne, Some(held)) => {
                let waiting = HolderPlace::Waiting {
                    queue: queue.clone(),
                };
                if held.stored.place != waiting || held.next.is_some() {
                    return Ok(duplicate);
                }
                full?;
                Ok(self.wait_for_lock(job))
            }
            (Conflict::KeepLast, Some(held)) => {
                if let HolderPlace::Waiting { queue: its } = &held.stored.place {
                    if its != queue || job.at.is_some() {
                        return Err(Fault::CannotWait);
                    }
                    full?;
                    return Ok(self.wait_for_lock(job));
                }
                Ok(self.replace_holder(job, None).unwrap_or(duplicate))
            }
            (Conflict::Replace { max_wait }, Some(held)) => {
                let latest = max_wait.and_then(|wait| held.stored.since.checked_add(wait));
                Ok(self.replace_holder(job, latest).unwrap_or(duplicate))
            }
            _ => Ok(duplicate),
        }
    }

    /// Stores the job of a tick and takes its lock; or returns the job that has the lock.
    pub(super) fn push_locked(
        &mut self,
        job: &LockedJob,
    ) -> Result<Option<(Jid, HolderPlace)>, Fault> {
        match self.enqueue_locked(job) {
            Ok(Locked::Duplicate { jid, place }) => Ok(Some((jid, place))),
            Ok(_) => Ok(None),
            Err(Fault::CannotWait) => {
                let held = self.locks.get(job.lock.id).map(|held| &held.stored);
                Ok(held.map(|held| (held.jid.clone(), held.place.clone())))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Stores a job, at the latest at `latest`.
    fn store_locked(&mut self, job: &LockedJob, latest: Option<SystemTime>) -> HolderPlace {
        let queue = &job.lock.queue;
        let at = match (job.at, latest) {
            (Some(at), Some(latest)) => Some(at.min(latest)),
            (at, _) => at,
        };
        match at {
            None => {
                self.push(queue, job.job.clone());
                HolderPlace::Waiting {
                    queue: queue.clone(),
                }
            }
            Some(at) => {
                self.schedule.insert(unix_seconds(at), job.job.clone());
                HolderPlace::Scheduled(at)
            }
        }
    }

    /// Gives a job the lock, which is held since `since`, or now.
    fn take_lock(&mut self, job: &LockedJob, place: HolderPlace, since: Option<SystemTime>) {
        let LockRef { id, jid, .. } = &job.lock;
        let now = self.locks.clock.now();
        self.locks.marked.insert(match &place {
            HolderPlace::Waiting { queue } => Source::Queue(queue.clone()),
            _ => Source::Set(JobSet::Schedule),
        });
        let before = self.locks.by_id.get(id).map(|held| &held.stored);
        let stored = StoredLock {
            id: *id,
            jid: jid.clone(),
            class: job.class.clone(),
            place,
            since: since.unwrap_or(now),
            until: job.lasts.and_then(|lasts| now.checked_add(lasts)),
            conflicts: before.map_or(0, |before| before.conflicts),
            next: None,
            revision: before.map_or(0, |before| before.revision) + 1,
        };
        let keeps = matches!(
            job.on_conflict,
            Conflict::Replace { .. } | Conflict::KeepLast
        );
        let lock = Lock {
            stored,
            touched: now,
            payload: keeps.then(|| job.job.clone()),
            next: None,
        };
        self.locks.by_id.insert(*id, lock);
    }

    /// Replaces the job that holds the lock of this one, if that waits where it can be found.
    fn replace_holder(&mut self, job: &LockedJob, latest: Option<SystemTime>) -> Option<Locked> {
        let held = self.locks.by_id.get(&job.lock.id)?;
        let payload = held.payload.clone()?;
        let (old, since) = (held.stored.jid.clone(), held.stored.since);
        match &held.stored.place {
            HolderPlace::Waiting { queue } => {
                let queue = queue.clone();
                if queue != job.lock.queue {
                    return None;
                }
                let jobs = self.queues.get_mut(&queue)?;
                let newest = jobs.iter().rev().take(MAX_REPLACE_SEARCH);
                let place = newest.enumerate().find(|(_, other)| **other == payload)?.0;
                let place = jobs.len() - 1 - place;
                if job.at.is_none() {
                    // It keeps the place of the other in the queue.
                    jobs[place] = job.job.clone();
                    self.take_lock(job, HolderPlace::Waiting { queue }, Some(since));
                    return Some(Locked::Replaced { old });
                }
                jobs.remove(place);
                if jobs.is_empty() {
                    self.queues.remove(&queue);
                }
            }
            HolderPlace::Scheduled(_) | HolderPlace::Retrying(_) => {
                let set = match held.stored.place {
                    HolderPlace::Scheduled(_) => JobSet::Schedule,
                    _ => JobSet::Retry,
                };
                if self.faults.check_key(Key::Set(set)).is_err() {
                    return None;
                }
                let set = self.set_mut(set);
                set.score(&payload)?;
                set.remove(&payload);
            }
            HolderPlace::Dead(_) => return None,
        }
        let place = self.store_locked(job, latest);
        self.take_lock(job, place, Some(since));
        Some(Locked::Replaced { old })
    }

    fn wait_for_lock(&mut self, job: &LockedJob) -> Locked {
        let now = self.locks.clock.now();
        let next = Next {
            jid: job.lock.jid.clone(),
            class: job.class.clone(),
            payload: job.job.clone(),
            queue: job.lock.queue.clone(),
        };
        let Some(held) = self.locks.by_id.get_mut(&job.lock.id) else {
            return Locked::New;
        };
        held.touch(now);
        match held.next.replace(next) {
            Some(old) => Locked::Replaced { old: old.jid },
            None => Locked::New,
        }
    }
}

impl MemoryStorage {
    /// The payloads of the jobs that hold locks.
    pub(crate) fn lock_holders(&self) -> Vec<Bytes> {
        let state = self.shared.lock();
        let now = self.shared.clock.now();
        let ids = state.locks.by_id.keys();
        let holders: HashSet<Jid> = ids
            .filter_map(|id| Some(state.locks.read(*id, now)?.jid))
            .collect();
        let waiting = state.queues.values().chain(state.inprogress.values());
        let sets = [&state.schedule, &state.retry, &state.dead];
        let members = sets.into_iter().flat_map(|set| set.iter());
        (waiting.flatten().cloned())
            .chain(members.map(|member| member.job))
            .filter(|payload| {
                let job = Job::decode(payload.clone());
                job.is_ok_and(|job| holders.contains(job.jid()))
            })
            .collect()
    }
}

const ENQUEUE: &str = "enqueue a unique job";

#[async_trait]
impl EffectStore for MemoryStorage {
    async fn enqueue_locked(&self, jobs: &[LockedJob]) -> Vec<Locked> {
        let failed = |error| Locked::Failed(error);
        let stored = self.write(ENQUEUE, |state| {
            let each = |job| {
                let answer = state.enqueue_locked(job);
                answer.unwrap_or_else(|fault| failed(StorageError::not_applied(ENQUEUE, fault)))
            };
            Ok(jobs.iter().map(each).collect::<Vec<_>>())
        });
        stored.unwrap_or_else(|error| vec![failed(error); jobs.len()])
    }

    async fn begin(&self, inprogress: &Inprogress, held: &Bytes, effects: &[Effect]) -> Settled {
        let begun = self.write("begin a job", |state| {
            state
                .faults
                .check_key(Key::Inprogress(inprogress.clone()))?;
            let mut jobs = state.inprogress.get(inprogress).into_iter().flatten();
            if !jobs.any(|job| job == held) {
                return Ok(Settled::NotHeld);
            }
            state.look_at(effects)?;
            state.apply(effects, None);
            Ok(Settled::Done)
        });
        begun.unwrap_or_else(Settled::Failed)
    }

    async fn locks(&self, page: Page) -> Result<LockPage, StorageError> {
        let now = self.shared.clock.now();
        self.read("read the locks", |state| {
            let all = &state.locks.by_id;
            let last = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u32::MAX.into());
            let mut ids: Vec<_> = all
                .iter()
                .map(|(id, lock)| (lock.stored.until.unwrap_or(last), *id))
                .collect();
            ids.sort_unstable();
            let ids: Vec<_> = ids.into_iter().skip(page.offset).take(page.limit).collect();
            Ok(LockPage {
                looked_at: ids.len(),
                locks: (ids.into_iter())
                    .filter_map(|(_, id)| state.locks.read(id, now))
                    .collect(),
                len: all.len(),
            })
        })
    }

    async fn lock(&self, id: LockId) -> Result<Option<StoredLock>, StorageError> {
        let now = self.shared.clock.now();
        self.read("read a lock", |state| {
            state.faults.check_key(Key::Lock(id))?;
            Ok(state.locks.read(id, now))
        })
    }

    async fn free_lock(&self, lock: &StoredLock) -> Result<bool, StorageError> {
        self.write("free a lock", |state| {
            state.faults.check_key(Key::Lock(lock.id))?;
            let now = state.locks.clock.now();
            let is_same = |found: StoredLock| {
                found.jid == lock.jid && found.revision == lock.revision && found.next == lock.next
            };
            if !state.locks.read(lock.id, now).is_some_and(is_same) {
                return Ok(false);
            }
            let queue = match &lock.next {
                Some((_, queue)) => queue.clone(),
                None => return Ok(state.locks.by_id.remove(&lock.id).is_some()),
            };
            state.unlock(&LockRef {
                id: lock.id,
                jid: lock.jid.clone(),
                queue,
            });
            Ok(true)
        })
    }

    async fn suspect(&self) -> Result<Option<StoredLock>, StorageError> {
        self.write("look for a suspect lock", |state| {
            while let Some(id) = state.locks.suspects.first().copied() {
                if let Some(lock) = state.locks.read(id, state.locks.clock.now()) {
                    return Ok(Some(lock));
                }
                state.locks.suspects.remove(&id);
            }
            Ok(None)
        })
    }

    async fn clear_suspect(&self, id: LockId) -> Result<(), StorageError> {
        self.write("clear a suspect lock", |state| {
            state.locks.suspects.remove(&id);
            Ok(())
        })
    }
}
