//! Enqueues with a lock.

use std::time::SystemTime;

use verk_core::{
    Jid,
    storage::{
        Conflict, HolderPlace, JobSet, LockRef, Locked, LockedJob, MAX_REPLACE_SEARCH,
        SUSPECT_AFTER, Source, StoredLock,
    },
    time::unix_seconds,
};

use super::{Lock, Next};
use crate::memory::{
    faults::{Fault, Key},
    state::State,
};

impl State {
    pub(in crate::memory) fn enqueue_locked(&mut self, job: &LockedJob) -> Result<Locked, Fault> {
        self.check_moved(Some(&job.lock.queue), None)?;
        self.enqueue_locked_here(job)
    }

    /// Whatever the gate of the queue is.
    pub(in crate::memory) fn enqueue_locked_here(
        &mut self,
        job: &LockedJob,
    ) -> Result<Locked, Fault> {
        let LockRef { id, jid, queue } = &job.lock;
        self.faults.check_key(Key::Lock(*id))?;
        self.faults.check_key(Key::Queue(queue.clone()))?;
        self.faults.check_key(Key::Set(JobSet::Schedule))?;
        let (full, now) = (self.faults.check_room(), self.locks.now());
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
                let may_wait = job.lasts.is_none() && held.stored.until.is_none();
                if held.stored.place != waiting || held.next.is_some() || !may_wait {
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
                    // The job that waits is only in the lock, so that must not end by itself.
                    if job.lasts.is_some() || held.stored.until.is_some() {
                        return Ok(duplicate);
                    }
                    full?;
                    return Ok(self.wait_for_lock(job));
                }
                Ok(self.replace_holder(job, None)?.unwrap_or(duplicate))
            }
            (Conflict::Replace { max_wait }, Some(held)) => {
                let latest = max_wait.and_then(|wait| held.stored.since.checked_add(wait));
                Ok(self.replace_holder(job, latest)?.unwrap_or(duplicate))
            }
            _ => Ok(duplicate),
        }
    }

    /// Stores the job of a tick and takes its lock; or returns the job that has the lock.
    pub(in crate::memory) fn push_locked(
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
        let now = self.locks.now();
        self.locks.marked.insert(match &place {
            HolderPlace::Waiting { queue } => Source::Queue(queue.clone()),
            _ => Source::Set(JobSet::Schedule),
        });
        let before = self.locks.by_id.remove(id);
        let (revision, conflicts, next) = before.map_or((0, 0, None), |held| {
            (held.stored.revision, held.stored.conflicts, held.next)
        });
        let stored = StoredLock {
            id: *id,
            jid: jid.clone(),
            class: job.class.clone(),
            place,
            since: since.unwrap_or(now),
            until: job.lasts.and_then(|lasts| now.checked_add(lasts)),
            conflicts,
            next: None,
            revision: revision + 1,
        };
        let keeps = matches!(
            job.on_conflict,
            Conflict::Replace { .. } | Conflict::KeepLast
        );
        let lock = Lock {
            stored,
            touched: now,
            payload: keeps.then(|| job.job.clone()),
            next,
        };
        self.locks.by_id.insert(*id, lock);
    }

    /// Replaces the job that holds the lock of this one, if that waits where it can be found.
    fn replace_holder(
        &mut self,
        job: &LockedJob,
        latest: Option<SystemTime>,
    ) -> Result<Option<Locked>, Fault> {
        let Some(held) = self.locks.by_id.get(&job.lock.id) else {
            return Ok(None);
        };
        let Some(payload) = held.payload.clone() else {
            return Ok(None);
        };
        // The job that waits is only in the lock.
        if held.next.is_some() && job.lasts.is_some() {
            return Ok(None);
        }
        let (old, since) = (held.stored.jid.clone(), held.stored.since);
        match &held.stored.place {
            HolderPlace::Waiting { queue } => {
                let queue = queue.clone();
                if queue != job.lock.queue {
                    return Ok(None);
                }
                let Some(jobs) = self.queues.get_mut(&queue) else {
                    return Ok(None);
                };
                let mut newest = jobs.iter().rev().take(MAX_REPLACE_SEARCH);
                let Some(place) = newest.position(|other| *other == payload) else {
                    return Ok(None);
                };
                let place = jobs.len() - 1 - place;
                if job.at.is_none() {
                    self.faults.check_room()?;
                    // It keeps the place of the other in the queue.
                    jobs[place] = job.job.clone();
                    self.take_lock(job, HolderPlace::Waiting { queue }, Some(since));
                    return Ok(Some(Locked::Replaced { old }));
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
                    return Ok(None);
                }
                let set = self.set_mut(set);
                if set.score(&payload).is_none() {
                    return Ok(None);
                }
                set.remove(&payload);
            }
            HolderPlace::Dead(_) => return Ok(None),
        }
        let place = self.store_locked(job, latest);
        self.take_lock(job, place, Some(since));
        Ok(Some(Locked::Replaced { old }))
    }

    fn wait_for_lock(&mut self, job: &LockedJob) -> Locked {
        let now = self.locks.now();
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
