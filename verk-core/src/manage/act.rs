//! What an operator does to waiting jobs: [`Action`].

use std::{sync::atomic::Ordering, time::SystemTime};

use bytes::Bytes;

use super::{Entry, Jobs};
use crate::{
    effects,
    error::SelectionError,
    job::{Form, Job},
    log,
    names::QueueName,
    services::Essentials,
    storage::{DeadLimits, Due, DueSet, JobSet, Move, MoveTarget, Settled, Source},
};

/// What is done to waiting jobs: by [`Entry::act`], [`Jobs::act_on`] and
/// [`Selection::act`](super::Selection::act).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// As [`Entry::delete`].
    Delete,
    /// As [`Entry::requeue`].
    Requeue,
    /// As [`Requeue`](Self::Requeue), but a unique job gives up its lock for good: a dead job can
    /// run although another job holds its lock, and both may run at once.
    RequeueWithoutLock,
    /// As [`Entry::kill`].
    Kill,
    /// As [`Entry::reschedule`].
    Reschedule(SystemTime),
}

/// The result of [`Jobs::act_on`]: each entry is one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acted {
    /// How many were moved or deleted.
    pub done: usize,
    /// How many were no longer in their place, or already had that time.
    pub gone: usize,
    /// How many dead jobs stay where they are, because another job holds their unique lock.
    pub conflicts: usize,
    /// How many the action does not apply to: a requeue of a payload that is no job, or names no
    /// queue, or is in one; a kill of a dead job; an entry of another place.
    pub skipped: usize,
}

impl Jobs {
    /// Does one thing to chosen entries of this place, in steps of at most 100 jobs and 1 MiB. Each
    /// is changed only if it is still there.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{Job, Verk};
    /// # use verk_testing::MemoryStorage;
    /// # use verk_core::manage::{Action, Query};
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// # for number in 0..3 {
    /// #     verk.enqueue(Job::new("Welcome", "mailers".parse()?, format!("[{number}]"))?).await?;
    /// # }
    /// let mailers = verk.admin().queue("mailers")?;
    /// let listed = mailers.list(&Query::new().limit(2)).await?;
    /// let chosen: Vec<_> = listed.entries.iter().collect();
    /// let acted = mailers.act_on(&chosen, Action::Kill).await?;
    /// assert_eq!((acted.done, acted.gone, acted.skipped), (2, 0, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`SelectionError`], after every entry that could be reached was changed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, some jobs are changed and others are not. You can call it again.
    pub async fn act_on(
        &self,
        entries: &[&Entry],
        action: Action,
    ) -> Result<Acted, SelectionError> {
        let here = entries.iter().copied();
        let here: Vec<&Entry> = here
            .filter(|entry| entry.source() == &self.source)
            .collect();
        let mut acted = Acted::default();
        let mut failed = None;
        let settled = action.apply(self, &here).await;
        acted.skipped = entries.len() - settled.len();
        for settled in settled {
            match settled {
                Settled::Done | Settled::Merged | Settled::Superseded => acted.done += 1,
                Settled::NotHeld => acted.gone += 1,
                Settled::Conflict { .. } => acted.conflicts += 1,
                Settled::Failed(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            None => Ok(acted),
            Some(source) => Err(SelectionError {
                done: acted.done,
                source,
            }),
        }
    }
}

impl Action {
    /// Applies the operation to entries of `jobs`. Returns one result, in their order, for each
    /// entry that it can change.
    pub(super) async fn apply(self, jobs: &Jobs, entries: &[&Entry]) -> Vec<Settled> {
        let client = &jobs.client;
        let essentials = client.essentials();
        let Essentials { config, .. } = essentials;
        let (now, limits, form) = (client.now(), config.dead_limits(), config.form());
        let (entries, moves): (Vec<&Entry>, Vec<Move>) = entries
            .iter()
            .filter_map(|&entry| {
                let held = entry.payload.clone();
                let to = self.target(entry, now, limits, form)?;
                let effects = entry.job().map(|job| match self {
                    // A dead job may hold it for a time.
                    Self::RequeueWithoutLock => {
                        effects::of_move(job, &jobs.source, &MoveTarget::Delete)
                    }
                    _ => effects::of_move(job, &jobs.source, &to),
                });
                let effects = effects.unwrap_or_default();
                Some((entry, Move { held, to, effects }))
            })
            .unzip();
        if moves.is_empty() {
            return Vec::new();
        }
        let settled = client.storage().move_jobs(&jobs.source, &moves, None).await;
        for (entry, settled) in entries.iter().zip(&settled) {
            match settled {
                Settled::Done | Settled::NotHeld | Settled::Superseded => {}
                Settled::Conflict { .. } => continue,
                Settled::Merged => {
                    log::warn!(source = ?jobs.source, ?self, "a job equals one in the set that it goes to: merged");
                }
                Settled::Failed(_) => continue,
            }
            entry.gone.fetch_add(1, Ordering::Relaxed);
        }
        match self {
            Self::Reschedule(at) => essentials.due_somewhere(at, client.now()),
            Self::Requeue | Self::RequeueWithoutLock => {
                client
                    .tell_test(|| {
                        let done = |settled: &Settled| matches!(settled, Settled::Done);
                        let requeued = entries.iter().zip(&settled).filter(|(_, to)| done(to));
                        requeued
                            .filter_map(|(entry, _)| Some(entry.job().ok()?.jid().clone()))
                            .collect()
                    })
                    .await;
            }
            Self::Delete | Self::Kill => {}
        }
        settled
    }

    /// The new place of the job; `None` when nothing has to be done, or it cannot be done.
    fn target(
        self,
        entry: &Entry,
        now: SystemTime,
        limits: DeadLimits,
        form: Form,
    ) -> Option<MoveTarget> {
        let as_it_is = || entry.payload.clone();
        Some(match (self, entry.source()) {
            (Self::Delete, _) => MoveTarget::Delete,
            (Self::Requeue | Self::RequeueWithoutLock, Source::Queue(_))
            | (Self::Kill, Source::Set(JobSet::Dead)) => {
                return None;
            }
            (Self::Requeue | Self::RequeueWithoutLock, Source::Set(set)) => {
                let mut job = entry.job.clone().ok()?;
                if self == Self::RequeueWithoutLock {
                    effects::forget_lock(&mut job);
                }
                let queue = job.queue()?.clone();
                if let JobSet::Retry | JobSet::Dead = set {
                    job.uncount_retry();
                }
                job.write_as(form);
                job.set_enqueued_at(Some(now));
                MoveTarget::Queue {
                    queue,
                    job: job.encode(),
                }
            }
            (Self::Kill, source) => {
                let job = match source {
                    Source::Queue(queue) => out_of(queue, entry, |_| ()),
                    Source::Set(_) => as_it_is(),
                };
                let job = Due { at: now, job };
                MoveTarget::Dead { job, limits }
            }
            (Self::Reschedule(at), source) => {
                let (set, job) = match source {
                    Source::Queue(queue) => {
                        let job = out_of(queue, entry, |job| job.set_enqueued_at(None));
                        (DueSet::Schedule, job)
                    }
                    Source::Set(JobSet::Schedule) => (DueSet::Schedule, as_it_is()),
                    Source::Set(JobSet::Retry | JobSet::Dead) => (DueSet::Retry, as_it_is()),
                };
                MoveTarget::Set {
                    set,
                    job: Due { at, job },
                }
            }
        })
    }
}

/// The payload of a job that leaves its queue for a set. It names that queue, so that the job comes
/// back to it.
fn out_of(queue: &QueueName, entry: &Entry, change: impl FnOnce(&mut Job)) -> Bytes {
    match entry.job.clone() {
        Ok(mut job) => {
            change(&mut job);
            job.set_queue(queue.clone());
            job.encode()
        }
        Err(_) => entry.payload.clone(),
    }
}
