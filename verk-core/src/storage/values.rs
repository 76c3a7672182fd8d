//! Values that several parts of a storage use.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use crate::{
    error::StorageError,
    names::{Jid, QueueName},
    storage::DueSet,
};

/// A payload with the time that it is due (or, in the `dead` set, died).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// When it is due, or died.
    pub at: SystemTime,
    /// The payload to store.
    pub job: Bytes,
}

/// The limits of the `dead` set, which other programs share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLimits {
    /// The most jobs to keep: the oldest are removed first.
    pub max_jobs: usize,
    /// How long a dead job is kept.
    pub timeout: Duration,
}

/// The result of one [`Settlement`](super::Settlement) or [`Move`](super::Move).
#[derive(Clone, Debug)]
pub enum Settled {
    /// It took effect.
    Done,
    /// It took effect, and the target set already had an equal member (same bytes): it has one now,
    /// with the new time.
    Merged,
    /// It had no effect, because the job is not in its place any more.
    NotHeld,
    /// The job was discarded instead, and a newer job that waited for its lock is in its queue.
    Superseded,
    /// It had no effect: another job holds the lock of the job.
    Conflict {
        /// The job that holds the lock.
        jid: Jid,
    },
    /// Nothing happened, or nobody knows: see [`StorageError::applied`].
    Failed(StorageError),
}

/// The sorted sets of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobSet {
    /// Jobs for later.
    Schedule,
    /// Jobs that failed and run again.
    Retry,
    /// Jobs that will not run again by themselves.
    Dead,
}

impl From<DueSet> for JobSet {
    fn from(set: DueSet) -> Self {
        match set {
            DueSet::Schedule => Self::Schedule,
            DueSet::Retry => Self::Retry,
        }
    }
}

/// Where jobs wait: a queue or a sorted set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The jobs that wait in a queue.
    Queue(QueueName),
    /// The members of a set.
    Set(JobSet),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(queue) => write!(f, "queue {queue}"),
            Self::Set(JobSet::Schedule) => f.write_str("the schedule set"),
            Self::Set(JobSet::Retry) => f.write_str("the retry set"),
            Self::Set(JobSet::Dead) => f.write_str("the dead set"),
        }
    }
}

/// A slice of a list or a set: `limit` entries from `offset`, or as many as fit into
/// [`MAX_BATCH_BYTES`], but at least one. The next slice starts as many entries later as were read;
/// it is empty at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many entries to skip.
    pub offset: usize,
    /// The most entries to read.
    pub limit: usize,
}

/// The most jobs in one batch.
pub const MAX_BATCH_JOBS: usize = 100;

/// The most payload bytes in one batch, which has at least one job in any case: 1 MiB.
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// The most jobs that one death cuts from the `dead` set: see
/// [`DueStore::trim_dead`](crate::storage::DueStore::trim_dead). A batch of deaths cuts no more
/// than one step of that.
pub const MAX_CUT_BY_DEATH: usize = super::MAX_CUT_BY_TRIM / MAX_BATCH_JOBS;
