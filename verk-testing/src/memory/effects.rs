//! Unique locks: how they change with the steps of their jobs.

mod enqueue;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use verk_core::{
    Jid, Job, QueueName, StorageError,
    storage::{
        Effect, EffectStore, HolderPlace, Inprogress, LockId, LockPage, LockRef, Locked, LockedJob,
        Once, OnceAnswer, OnceJob, Page, Settled, Source, StoredLock,
    },
    time::{Clock, SystemClock},
};

use super::{
    MemoryStorage,
    faults::{Fault, Key, Operation},
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
    pub(super) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    fn get(&mut self, id: LockId) -> Option<&mut Lock> {
        let now = self.now();
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

    /// Keeps a lock that another storage had, unless it is held here.
    fn adopt(&mut self, lock: &StoredLock, lasts: Option<Duration>) -> bool {
        let now = self.now();
        if self.get(lock.id).is_some() {
            return false;
        }
        let stored = StoredLock {
            until: lasts.and_then(|lasts| now.checked_add(lasts)),
            conflicts: 0,
            next: None,
            revision: 1,
            ..lock.clone()
        };
        let lock = Lock {
            stored,
            touched: now,
            payload: None,
            next: None,
        };
        self.by_id.insert(lock.stored.id, lock);
        true
    }

    /// The time of a lock that has one has passed.
    pub(super) fn expire(&mut self, id: LockId, now: SystemTime) {
        if let Some(until) = self
            .by_id
            .get_mut(&id)
            .and_then(|lock| lock.stored.until.as_mut())
        {
            *until = now;
        }
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
        let now = self.locks.now();
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
                let before = self.locks.get(lock.id);
                let (revision, conflicts) =
                    before.map_or((0, 0), |held| (held.stored.revision, held.stored.conflicts));
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
                            conflicts,
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
        let now = self.locks.now();
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
                answer.unwrap_or_else(|fault| failed(fault.during(ENQUEUE)))
            };
            Ok(jobs.iter().map(each).collect::<Vec<_>>())
        });
        stored.unwrap_or_else(|error| vec![failed(error); jobs.len()])
    }

    async fn enqueue_once(&self, once: &Once, job: &OnceJob) -> OnceAnswer {
        const OP: &str = "enqueue a job once";
        let failed = |error| OnceAnswer::First(Locked::Failed(error));
        let stored = self.write(OP, |state| {
            let answer = state.enqueue_once(once, job)?;
            Ok((answer, state.faults.loses_reply(Operation::EnqueueOnce)))
        });
        match stored {
            Ok((answer, false)) => answer,
            Ok((_, true)) => failed(StorageError::unknown(OP, Fault::ReplyLost)),
            Err(error) => failed(error),
        }
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
            let last = SystemTime::UNIX_EPOCH + Duration::from_secs(u32::MAX.into());
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
            let now = state.locks.now();
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
            state.faults.check_key(Key::Queue(queue.clone()))?;
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
                if let Some(lock) = state.locks.read(id, state.locks.now()) {
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

    async fn adopt_lock(
        &self,
        lock: &StoredLock,
        lasts: Option<Duration>,
    ) -> Result<bool, StorageError> {
        self.write("adopt a lock", |state| {
            state.faults.check_key(Key::Lock(lock.id))?;
            state.faults.check_room()?;
            Ok(state.locks.adopt(lock, lasts))
        })
    }

    async fn seen(&self, key: &str) -> Result<Option<(Jid, String)>, StorageError> {
        self.read("read what was enqueued with a key", |state| {
            Ok(state.seen(key))
        })
    }
}
