//! One waiting job, and what an operator can do with it: [`Entry`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
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
    services::Essentials,
    storage::{DeadLimits, Due, DueSet, JobSet, Move, MoveTarget, Settled, Source, WaitingJob},
    time::clock::from_unix_seconds,
};

/// A job that waited in a queue or a set when it was read.
///
/// Its operations take effect only if exactly this payload is still in its place: of two at the
/// same time, one takes effect. They return whether they did. `Display` and `Debug` show it in one
/// line, never the arguments.
#[derive(Clone)]
pub struct Entry {
    jobs: Jobs,
    payload: Bytes,
    pub(super) job: Result<Job, MalformedJob>,
    score: Option<f64>,
    index: Option<u64>,
    /// How many of the entries that were read with this one were later found missing in their
    /// queue.
    gone: Arc<AtomicU64>,
}

impl Entry {
    pub(super) fn waiting(jobs: &Jobs, waiting: WaitingJob) -> Self {
        Self::scanned(jobs, waiting, Arc::default())
    }

    pub(super) fn scanned(jobs: &Jobs, waiting: WaitingJob, gone: Arc<AtomicU64>) -> Self {
        Self {
            jobs: jobs.clone(),
            job: Job::decode(waiting.job.clone()),
            payload: waiting.job,
            score: waiting.score,
            index: waiting.index,
            gone,
        }
    }

    /// The payload as it is stored.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Returns the job, or why the payload is none. Other programs may have put any bytes into the
    /// place. A payload that is no job can be deleted, killed and rescheduled, but not requeued.
    ///
    /// # Errors
    ///
    /// When the payload is no job.
    pub fn job(&self) -> Result<&Job, MalformedJob> {
        self.job.as_ref().map_err(Clone::clone)
    }

    /// Returns the queue or set that it was read from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.jobs.source
    }

    /// Returns the score of a member of a set: seconds since 1970, or any number that another
    /// program wrote.
    #[must_use]
    pub fn score(&self) -> Option<f64> {
        self.score
    }

    /// Returns how many jobs of its queue were to be fetched before it, when it was read in a list:
    /// by [`Jobs::list`] and the methods that use it. `None` in a set, and in a
    /// [selection](Jobs::select).
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        self.index
    }

    /// Returns when the job is due or, in the `dead` set, died; `None` in a queue.
    #[must_use]
    pub fn at(&self) -> Option<SystemTime> {
        self.score.map(from_unix_seconds)
    }

    /// Deletes the job. Returns whether it was still in its place. If a queue has equal payloads,
    /// one is deleted.
    ///
    /// # Errors
    ///
    /// When the storage fails: the job is in its old place, unless
    /// [`applied`](StorageError::applied) says that it may be deleted.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the job is in its old place, or deleted.
    pub async fn delete(&self) -> Result<bool, StorageError> {
        self.act(Action::Delete).await
    }

    /// Runs the job now: moves it to the back of its queue. Returns whether it did. It does not if
    /// the job is gone, is already in a queue, or names no queue.
    ///
    /// From `retry` and `dead`, a job that counts like Sidekiq loses one from its `retry_count`, as
    /// with Sidekiq's "retry now". So the retry that an operator asked for uses none of the job's
    /// own. A job of Elixir's Verk keeps its count, as in Verk. It sets `enqueued_at`; everything
    /// else stays byte for byte.
    ///
    /// # Errors
    ///
    /// When the storage fails: the job is in its old place, unless
    /// [`applied`](StorageError::applied) says that it may be requeued.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the job is in its old place, or in its queue.
    pub async fn requeue(&self) -> Result<bool, StorageError> {
        self.act(Action::Requeue).await
    }

    /// Moves the job, byte for byte, to the `dead` set, which is then cut to its limits. Returns
    /// whether it did. It does not if the job is gone, or already in that set. It keeps even a job
    /// with `dead: false`.
    ///
    /// If a job waited in another queue than it names, because that queue was renamed, it then
    /// names the queue that it waited in.
    ///
    /// # Errors
    ///
    /// When the storage fails: the job is in its old place, unless
    /// [`applied`](StorageError::applied) says that it may be dead.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the job is in its old place, or in the `dead` set.
    pub async fn kill(&self) -> Result<bool, StorageError> {
        self.act(Action::Kill).await
    }

    /// Gives the job another time. It stays in `schedule` or `retry`; from `dead` it goes to
    /// `retry`, from a queue to `schedule`. Returns whether that changed anything. It does not if
    /// the job is gone, or already has that time.
    ///
    /// The payload does not change. Only a job that leaves its queue loses `enqueued_at`, and names
    /// that queue.
    ///
    /// # Errors
    ///
    /// When the storage fails: the job is in its old place, unless
    /// [`applied`](StorageError::applied) says that it may be moved.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the job is unchanged, or rescheduled.
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
    /// Applies the operation to entries of `jobs`. Returns one result, in their order, for each
    /// entry that it can change.
    pub(super) async fn apply(self, jobs: &Jobs, entries: &[&Entry]) -> Vec<Settled> {
        let client = &jobs.client;
        let Essentials { config, wake, .. } = client.essentials();
        let (now, limits, form) = (client.now(), config.dead_limits(), config.form());
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
        let settled = client.storage().move_jobs(&jobs.source, &moves, None).await;
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
            Self::Reschedule(at) => wake.due_at(at, client.now()),
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
