//! Enqueues that happen once.

use std::{collections::BTreeMap, time::SystemTime};

use verk_core::{
    Jid,
    storage::{CronPush, Gate, JobSet, Locked, Once, OnceAnswer, OnceJob},
};

use super::{
    faults::{Fault, Key},
    state::State,
};

/// What was enqueued with a key.
#[derive(Debug)]
pub(super) struct Seen {
    jid: Jid,
    request: String,
    until: SystemTime,
}

/// What was enqueued, by the key.
pub(super) type AllSeen = BTreeMap<String, Seen>;

impl State {
    pub(super) fn enqueue_once(&mut self, once: &Once, job: &OnceJob) -> Result<OnceAnswer, Fault> {
        self.check_moved(once.queue.as_ref(), Some(Gate::Arriving))?;
        let now = self.locks.now();
        self.seen.retain(|_, seen| seen.until > now);
        if let Some((jid, request)) = self.seen(&once.key) {
            return Ok(OnceAnswer::Seen { jid, request });
        }
        let stored = match job {
            OnceJob::Locked(job) => self.enqueue_locked_here(job)?,
            OnceJob::Free(push) => {
                self.push_free(push)?;
                Locked::New
            }
        };
        if matches!(stored, Locked::New | Locked::Replaced { .. }) {
            let seen = Seen {
                jid: once.jid.clone(),
                request: once.request.clone(),
                until: now + once.lasts,
            };
            self.seen.insert(once.key.clone(), seen);
        }
        Ok(OnceAnswer::First(stored))
    }

    /// What was enqueued with a key, if it is remembered.
    pub(super) fn seen(&self, key: &str) -> Option<(Jid, String)> {
        let seen = self.seen.get(key)?;
        let is_over = seen.until <= self.locks.now();
        (!is_over).then(|| (seen.jid.clone(), seen.request.clone()))
    }

    fn push_free(&mut self, push: &CronPush) -> Result<(), Fault> {
        match push {
            CronPush::Queue { queue, job } => {
                self.faults.check_key(Key::Queue(queue.clone()))?;
                self.enqueue(queue, std::slice::from_ref(job))
            }
            CronPush::Later(due) => {
                self.faults.check_room()?;
                self.insert(JobSet::Schedule, due).map(drop)
            }
        }
    }
}
