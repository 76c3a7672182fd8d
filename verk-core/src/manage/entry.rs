//! One waiting job, and what an operator can do with it: [`Entry`].

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::SystemTime,
};

use bytes::Bytes;

use super::{Action, Jobs};
use crate::{
    error::{StorageError, StorageErrorKind},
    job::{Job, MalformedJob},
    storage::{Settled, Source, WaitingJob},
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
    pub(super) payload: Bytes,
    pub(super) job: Result<Job, MalformedJob>,
    score: Option<f64>,
    index: Option<u64>,
    /// How many of the entries that were read with this one were later found missing in their
    /// queue.
    pub(super) gone: Arc<AtomicU64>,
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

    /// Does one of the things above, as its method does.
    ///
    /// # Errors
    ///
    /// When the storage fails: as with the method.
    ///
    /// # Cancel safety
    ///
    /// As the method.
    pub async fn act(&self, action: Action) -> Result<bool, StorageError> {
        let settled = action.apply(&self.jobs, &[self]).await;
        match settled.into_iter().next() {
            Some(Settled::Done | Settled::Merged | Settled::Superseded) => Ok(true),
            Some(Settled::NotHeld) | None => Ok(false),
            Some(Settled::Conflict { jid }) => Err(StorageError::not_applied(
                "move a dead job",
                format!("job {jid} holds its unique lock"),
            )
            .with_kind(StorageErrorKind::Conflict)),
            Some(Settled::Failed(error)) => Err(error),
        }
    }
}
