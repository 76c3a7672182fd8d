//! One job that waits, and what can be done with it: [`Entry`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;

use super::Jobs;
use crate::{
    error::StorageError,
    job::{Form, Job, MalformedJob},
    log,
    names::QueueName,
    storage::{DeadLimits, Due, DueSet, JobSet, Move, MoveTarget, Settled, Source},
    time::clock::from_unix_seconds,
};

/// A job that waited in a queue or a set when it was read.
///
/// Its operations take effect only if just this payload is still there: of two that are asked for at once, one does. They answer
/// whether something happened. `Display` and `Debug` show it in one line, never the arguments.
#[derive(Clone)]
pub struct Entry {
    jobs: Jobs,
    payload: Bytes,
    pub(super) job: Result<Job, MalformedJob>,
    score: Option<f64>,
    /// How many of the entries that were read with this one turned out to be gone from their queue.
    gone: Arc<AtomicUsize>,
}

impl Entry {
    pub(super) fn waiting(jobs: &Jobs, payload: Bytes, score: Option<f64>) -> Self {
        Self::scanned(jobs, payload, score, Arc::default())
    }

    pub(super) fn scanned(
        jobs: &Jobs,
        payload: Bytes,
        score: Option<f64>,
        gone: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            jobs: jobs.clone(),
            job: Job::decode(payload.clone()),
            payload,
            score,
            gone,
        }
    }

    /// The payload as it is stored.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The job, or why the payload is none. Other programs may have put anything there; what is no job can be deleted, killed and
    /// rescheduled, but not requeued.
    ///
    /// # Errors
    ///
    /// When the payload is no job.
    pub fn job(&self) -> Result<&Job, MalformedJob> {
        self.job.as_ref().map_err(Clone::clone)
    }

    /// The queue or set that it was read from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.jobs.source
    }

    /// In a set, the score: seconds since 1970, or any number that another program wrote.
    #[must_use]
    pub fn score(&self) -> Option<f64> {
        self.score
    }

    /// When the job is due or, in the `dead` set, died; `None` in a queue.
    #[must_use]
    pub fn at(&self) -> Option<SystemTime> {
        self.score.map(from_unix_seconds)
    }

    /// Deletes the job. Returns whether it was there; of equal payloads in a queue, one is deleted.
    ///
    /// # Errors
    ///
    /// When the storage fails: the job is where it was, unless [`applied`](StorageError::applied) says that it may be deleted.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves the job where it was, or deleted.
    pub async fn delete(&self) -> Result<bool, StorageError> {
        self.act(Action::Delete).await
    }

    /// Runs the job now: moves it to the back of its queue. Returns whether it did: not if it is gone, is in a queue already, or
    /// names no queue.
    ///
    /// From `retry` and `dead`, a job that counts like Sidekiq gets one off its `retry_count`, as with Sidekiq's "retry now"; so the
    /// retry that an operator asked for does not use one up. A job of Elixir's Verk keeps its count, as there. `enqueued_at` is
    /// set; all else stays as it is, byte for byte.
    ///
    /// # Errors
    ///
    /// When the storage fails: the job is where it was, unless [`applied`](StorageError::applied) says that it may be requeued.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves the job where it was, or in its queue.
    pub async fn requeue(&self) -> Result<bool, StorageError> {
        self.act(Action::Requeue).await
    }

    /// Moves the job, as it is, to the `dead` set, which is then cut to its limits. Returns whether it did: not if it is gone, or
    /// in that set already. Even a job that says `dead: false` is kept.
    ///
    /// A job that waited in another queue than it names, because that was renamed, then names the one it waited in.
    ///
    /// # Errors
    ///
    /// When the storage fails: the job is where it was, unless [`applied`](StorageError::applied) says that it may be dead.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves the job where it was, or in the `dead` set.
    pub async fn kill(&self) -> Result<bool, StorageError> {
        self.act(Action::Kill).await
    }

    /// Gives the job another time: it stays in `schedule` or `retry`; from `dead` it goes to `retry`, from a queue to `schedule`.
    /// Returns whether that changed anything: not if it is gone, or has that time.
    ///
    /// Its payload stays as it is. Only a job that leaves its queue loses `enqueued_at`, and names that queue.
    ///
    /// # Errors
    ///
    /// When the storage fails: the job is where it was, unless [`applied`](StorageError::applied) says that it may be moved.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves the job as it was, or rescheduled.
    pub async fn reschedule(&self, at: SystemTime) -> Result<bool, StorageError> {
        self.act(Action::Reschedule(at)).await
    }

    async fn act(&self, action: Action) -> Result<bool, StorageError> {
        let settled = action.apply(&self.jobs, &[self]).await;
        match settled.into_iter().next() {
            Some(Settled::Done | Settled::Merged) => Ok(true),
            Some(Settled::NotHeld) | None => Ok(false),
            Some(Settled::Failed(error)) => Err(error),
        }
    }
}

/// What is done to jobs that wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Delete,
    Requeue,
    Kill,
    Reschedule(SystemTime),
}

impl Action {
    /// Does it to entries of `jobs`. Answers one result for each that it means something for, in their order.
    pub(super) async fn apply(self, jobs: &Jobs, entries: &[&Entry]) -> Vec<Settled> {
        let client = &jobs.client;
        let (now, limits, form) = (client.now(), client.dead_limits(), client.form());
        let (entries, moves): (Vec<&Entry>, Vec<Move>) = entries
            .iter()
            .filter_map(|&entry| {
                let held = entry.payload.clone();
                let to = self.target(entry, now, limits, form)?;
                Some((entry, Move { held, to }))
            })
            .unzip();
        if moves.is_empty() {
            return Vec::new();
        }
        let settled = client.storage().move_jobs(&jobs.source, &moves).await;
        for (entry, settled) in entries.iter().zip(&settled) {
            match settled {
                Settled::Done | Settled::NotHeld => {}
                Settled::Merged => {
                    log::warn!(source = ?jobs.source, ?self, "a job equals one in the set that it goes to: merged");
                }
                Settled::Failed(_) => continue,
            }
            entry.gone.fetch_add(1, Ordering::Relaxed);
        }
        match self {
            Self::Reschedule(at) => client.wake().due_at(at, client.now()),
            Self::Requeue => {
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

    /// Where the job goes; `None` when there is nothing to do, or it cannot be done.
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
            (Self::Requeue, Source::Queue(_)) | (Self::Kill, Source::Set(JobSet::Dead)) => {
                return None;
            }
            (Self::Requeue, Source::Set(set)) => {
                let mut job = entry.job.clone().ok()?;
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

/// The payload of a job that leaves its queue for a set. It names that queue, so that it comes back to it.
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
