//! What an operator does with waiting jobs: searches, moves, clears.

use std::time::SystemTime;

use bytes::Bytes;
use verk_core::{
    StorageError,
    storage::{Cleared, JobSet, MAX_CUT_BY_DEATH, Move, MoveTarget, Settled, Source, WaitingJob},
    time::unix_seconds,
};

use super::{
    effects::Verdict,
    faults::{Fault, Key},
    state::{JobList, State, done},
};
use crate::conformance::ScoredJob;

impl State {
    pub(super) fn len(&self, source: &Source) -> Result<usize, Fault> {
        self.faults.check_key(key(source))?;
        Ok(match source {
            Source::Queue(queue) => self.queues.get(queue).map_or(0, JobList::len),
            Source::Set(set) => self.set(*set).len(),
        })
    }

    pub(super) fn move_jobs(
        &mut self,
        from: &Source,
        moves: &[Move],
        due_by: Option<SystemTime>,
        op: &'static str,
    ) -> Vec<Settled> {
        moves
            .iter()
            .map(|step| {
                self.move_one(from, step, due_by)
                    .unwrap_or_else(|fault| Settled::Failed(StorageError::not_applied(op, fault)))
            })
            .collect()
    }

    fn move_one(
        &mut self,
        from: &Source,
        step: &Move,
        due_by: Option<SystemTime>,
    ) -> Result<Settled, Fault> {
        self.faults.check_key(key(from))?;
        let Move { held, to, effects } = step;
        if !self.holds(from, held, due_by) {
            return Ok(Settled::NotHeld);
        }
        match self.look_at(effects)? {
            Verdict::Go => {}
            Verdict::Conflict(jid) => return Ok(Settled::Conflict { jid }),
            Verdict::Superseded => {
                self.take(from, held);
                self.supersede(effects);
                return Ok(Settled::Superseded);
            }
        }
        let settled = self.move_held(from, held, to)?;
        if matches!(settled, Settled::Done | Settled::Merged) {
            let place = match to {
                MoveTarget::Delete => None,
                MoveTarget::Replace { .. } => Some(from.clone()),
                MoveTarget::Queue { queue, .. } => Some(Source::Queue(queue.clone())),
                MoveTarget::Set { set, .. } => Some(Source::Set((*set).into())),
                MoveTarget::Dead { .. } => Some(Source::Set(JobSet::Dead)),
            };
            self.apply(effects, place.as_ref());
        }
        Ok(settled)
    }

    /// Moves a job that exists.
    fn move_held(
        &mut self,
        from: &Source,
        held: &Bytes,
        to: &MoveTarget,
    ) -> Result<Settled, Fault> {
        let (set, job, limits) = match to {
            MoveTarget::Delete => {
                self.take(from, held);
                return Ok(Settled::Done);
            }
            MoveTarget::Replace { job } => return Ok(self.replace(from, held, job)),
            MoveTarget::Queue { queue, job } => {
                self.faults.check_key(Key::Queue(queue.clone()))?;
                self.queue_names.insert(queue.clone());
                let list = self.queues.entry(queue.clone()).or_default();
                list.push_back(job.clone());
                self.take(from, held);
                return Ok(Settled::Done);
            }
            MoveTarget::Set { set, job } => (JobSet::from(*set), job, None),
            MoveTarget::Dead { job, limits } => (JobSet::Dead, job, Some(*limits)),
        };
        let stays = *from == Source::Set(set) && job.job == *held;
        let unchanged = self.set(set).score(held) == Some(unix_seconds(job.at));
        let merged = self.insert(set, job)?;
        if !stays {
            self.take(from, held);
        }
        // Only now: a job that is buried again does not count twice.
        if let Some(limits) = limits {
            self.cut_dead(job.at, limits, MAX_CUT_BY_DEATH);
        }
        Ok(match stays {
            true if unchanged => Settled::NotHeld,
            true => Settled::Done,
            false => done(merged),
        })
    }

    pub(super) fn clear(&mut self, source: &Source) -> Result<Cleared, Fault> {
        let is_empty = self.len(source)? == 0;
        if self.locks.must_page(source, is_empty) {
            return Ok(Cleared::HasEffects);
        }
        Ok(Cleared::Jobs(match source {
            Source::Queue(queue) => {
                self.queue_names.remove(queue);
                self.queues.remove(queue).map_or(0, |jobs| jobs.len())
            }
            Source::Set(set) => std::mem::take(self.set_mut(*set)).len(),
        }))
    }

    fn holds(&self, source: &Source, job: &Bytes, due_by: Option<SystemTime>) -> bool {
        match source {
            Source::Queue(queue) => self
                .queues
                .get(queue)
                .is_some_and(|jobs| jobs.contains(job)),
            Source::Set(set) => {
                let due_by = due_by.map_or(f64::INFINITY, unix_seconds);
                let score = self.set(*set).score(job);
                score.is_some_and(|score| score <= due_by)
            }
        }
    }

    /// Gives the place of a job, which is there, to another.
    fn replace(&mut self, source: &Source, held: &Bytes, job: &Bytes) -> Settled {
        match source {
            Source::Queue(queue) => {
                let mut jobs = self.queues.get_mut(queue).into_iter().flatten();
                if let Some(place) = jobs.find(|waiting| *waiting == held) {
                    place.clone_from(job);
                }
                Settled::Done
            }
            Source::Set(set) => {
                let set = self.set_mut(*set);
                let score = set.score(held).unwrap_or_default();
                set.remove(held);
                done(set.insert(score, job.clone()))
            }
        }
    }

    /// Takes out one job; of equal ones the next to be fetched, if that is the first of the queue,
    /// else the one that came last.
    fn take(&mut self, source: &Source, job: &Bytes) {
        match source {
            Source::Queue(queue) => {
                if let Some(jobs) = self.queues.get_mut(queue) {
                    let is_next = jobs.iter().next() == Some(job);
                    let place = jobs.iter().rposition(|other| other == job);
                    if let Some(place) = if is_next { Some(0) } else { place } {
                        jobs.remove(place);
                    }
                    if jobs.is_empty() {
                        self.queues.remove(queue);
                    }
                }
            }
            Source::Set(set) => self.set_mut(*set).remove(job),
        }
    }
}

pub(super) fn key(source: &Source) -> Key {
    match source {
        Source::Queue(queue) => Key::Queue(queue.clone()),
        Source::Set(set) => Key::Set(*set),
    }
}

pub(super) fn queued(job: &Bytes) -> WaitingJob {
    WaitingJob {
        job: job.clone(),
        score: None,
        index: None,
    }
}

pub(super) fn scored(member: ScoredJob) -> WaitingJob {
    WaitingJob {
        job: member.job,
        score: Some(member.score),
        index: None,
    }
}
