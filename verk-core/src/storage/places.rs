//! Waiting jobs, as an operator reads and moves them.

use std::{fmt, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::StorageError,
    names::QueueName,
    storage::{Cleared, DeadLimits, Due, DueSet, Effects, ListRequest, Listing, Settled, Source},
};

/// Waiting jobs, as an operator reads and moves them.
///
/// A part of [`Storage`](super::Storage), whose page has the rules for errors and dropped futures.
#[async_trait]
pub trait WaitingStore: fmt::Debug + Send + Sync + 'static {
    /// Reads the names of all queues that ever had a job and were not removed, sorted.
    async fn queues(&self) -> Result<Vec<QueueName>, StorageError>;

    /// How many jobs wait in `source`.
    async fn len(&self, source: &Source) -> Result<usize, StorageError>;

    /// Reads some jobs of `source` in order, from a position on: at most as many as the request
    /// asks for, and of these as many as fit into its bytes.
    ///
    /// With texts it returns only jobs that have all of them. It examines at most
    /// [`MAX_LIST_LOOKS`](super::MAX_LIST_LOOKS) jobs and those bytes, but at least one job. So it
    /// may return none and not be at the end.
    ///
    /// Jobs that come and go between two requests shift the positions of a queue. In a set they
    /// shift only the positions among members of the same score. To reach every job that stays, use
    /// [`scan`](Self::scan).
    async fn list(&self, source: &Source, request: &ListRequest) -> Result<Listing, StorageError>;

    /// Reads some jobs of `source`, a step at a time: from `cursor` 0, then from the cursor that
    /// the step before returned. It returns only jobs with the bytes of all `texts`. A step may
    /// return no job and not be the last.
    ///
    /// The members of a set come in no order. A member that is in the set from the first step to
    /// the last is read at least once, whatever changes meanwhile, even its score.
    ///
    /// Of a queue, the newest job comes first. Jobs that are fetched meanwhile leave at the other
    /// end, and shift no step. `cursor` is the number of jobs to pass over: a caller who took some
    /// of them out of the queue subtracts as many.
    async fn scan(
        &self,
        source: &Source,
        cursor: u64,
        texts: &[String],
    ) -> Result<Scan, StorageError>;

    /// Takes jobs out of a queue or a set, or replaces them there: each [`Move`] takes effect only
    /// if its job is still there, in one atomic step that adds to the target before it removes. If
    /// a queue has equal jobs, one is taken: the next to be fetched, if it is one of them, else the
    /// newest. So the jobs of a long queue can be taken out in their order without a search.
    ///
    /// Results are in the order of the moves, one each, as with
    /// [`settle`](super::JobStore::settle). Called twice, the second call returns
    /// [`Settled::NotHeld`] (unless the queue has the same bytes once more). So does a move to the
    /// set that the job is in, with its bytes and the time that it has; with another time, that
    /// becomes its time.
    ///
    /// With `due_by`, a member of a set moves only if it is due by then, which is checked in the
    /// same step. If it is due later, nothing happens: [`Settled::NotHeld`]. A job in a queue is
    /// always due. Due jobs go to their queues this way, after [`due`](super::DueStore::due) found
    /// them.
    async fn move_jobs(
        &self,
        from: &Source,
        moves: &[Move],
        due_by: Option<SystemTime>,
    ) -> Vec<Settled>;

    /// Removes all jobs of a queue or a set, and a queue from the [names](Self::queues) until its
    /// next job, in one atomic step.
    ///
    /// Returns how many they were. Called twice, it returns 0.
    ///
    /// If a job with effects was stored there since the place was last empty at a clear, it removes
    /// nothing: [`Cleared::HasEffects`].
    async fn clear(&self, source: &Source) -> Result<Cleared, StorageError>;
}

/// A step of one job out of a [`Source`](super::Source).
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The payload as it was read.
    pub held: Bytes,
    /// Where the job goes.
    pub to: MoveTarget,
    /// What happens besides, if the job is there.
    pub effects: Effects,
}

impl Move {
    /// A move without effects.
    #[must_use]
    pub const fn new(held: Bytes, to: MoveTarget) -> Self {
        Self {
            held,
            to,
            effects: Effects::NONE,
        }
    }
}

/// Where a [`Move`] takes a job.
#[derive(Clone, Debug, PartialEq)]
pub enum MoveTarget {
    /// Nowhere: it is deleted.
    Delete,
    /// To its own place: another payload gets its place in the queue, or its score. Of equal jobs
    /// in a queue, the next to be fetched is replaced.
    Replace {
        /// The payload to store.
        job: Bytes,
    },
    /// To the back of a queue, which is not the one that it comes from.
    Queue {
        /// The queue.
        queue: QueueName,
        /// The payload to store.
        job: Bytes,
    },
    /// To a set, due then.
    Set {
        /// The set.
        set: DueSet,
        /// The time, and the payload to store.
        job: Due,
    },
    /// To the `dead` set, which is then cut to the limits.
    Dead {
        /// The time of death, and the payload to bury.
        job: Due,
        /// The caps of the set.
        limits: DeadLimits,
    },
}

/// A job that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingJob {
    /// The payload of the job.
    pub job: Bytes,
    /// In a set, its score: seconds since 1970; other programs may have written any number. `None`
    /// in a queue.
    pub score: Option<f64>,
    /// In a queue, how many jobs were to be fetched before it, if it was read by
    /// [`list`](WaitingStore::list). `None` in a set, and after a [`scan`](WaitingStore::scan).
    pub index: Option<u64>,
}

impl WaitingJob {
    /// Whether the payload has the bytes of `text`, as each job has that a
    /// [`scan`](crate::storage::WaitingStore::scan) returns.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        contains(&self.job, text)
    }
}

/// Whether a payload has the bytes of `text`.
pub(crate) fn contains(payload: &[u8], text: &str) -> bool {
    text.is_empty() || (payload.windows(text.len())).any(|part| part == text.as_bytes())
}

/// The answer to [`WaitingStore::scan`](crate::storage::WaitingStore::scan).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// The jobs that this step found.
    pub jobs: Vec<WaitingJob>,
    /// How many jobs were examined.
    pub looked_at: usize,
    /// Where the next step continues; `None` if this was the last.
    pub next: Option<u64>,
}
