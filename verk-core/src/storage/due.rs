//! Due jobs, and the node that moves them.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::StorageError,
    names::{NodeId, QueueName},
    storage::{DeadLimits, Due, Page, Settled},
};

/// Due jobs, and the dead set. One node of the fleet moves and cuts them.
///
/// A part of [`Storage`](super::Storage), whose page has the rules for errors and dropped futures.
#[async_trait]
pub trait DueStore: fmt::Debug + Send + Sync + 'static {
    /// Reads a page of the members of `set` that are due at `now`, the earliest first and at most
    /// [`MAX_BATCH_BYTES`](super::MAX_BATCH_BYTES), and when the next one after them is due.
    /// Changes nothing.
    async fn due(&self, set: DueSet, now: SystemTime, page: Page) -> Result<DuePage, StorageError>;

    /// Takes the lease on moving due jobs for `node`, or renews it, until `ttl` passes, unless
    /// another node holds it. Also returns when the first member of each set is due. Changes no
    /// job.
    ///
    /// The lease only saves work: one node of many moves due jobs. [`due`](Self::due) and
    /// [`promote`](Self::promote) do not check it. Called again, it renews. A set that cannot be
    /// read counts as due, and `due` returns the error.
    async fn poll_schedule(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<SchedulePoll, StorageError>;

    /// Moves due members of `set`: each [`Promotion`] takes effect only if its member is still in
    /// the set and due at `now`, in one atomic step that adds before it removes.
    ///
    /// Results are in the order of the promotions, one each, as with
    /// [`settle`](super::JobStore::settle). Called twice, the second call returns
    /// [`Settled::NotHeld`].
    async fn promote(&self, set: DueSet, now: SystemTime, promotions: &[Promotion])
    -> Vec<Settled>;

    /// Cuts the `dead` set to `limits`, by at most [`MAX_CUT_BY_TRIM`] jobs: those that died longer
    /// than the time-out before `now`, and the oldest above the most jobs. Returns whether more
    /// must be cut.
    ///
    /// A death cuts the set as well, but only by [`MAX_CUT_BY_DEATH`](super::MAX_CUT_BY_DEATH)
    /// jobs, so that it never waits for a set that is far over its limits. Called again, it
    /// continues. After [`Unknown`](crate::Applied::Unknown) it may be sent again.
    async fn trim_dead(&self, now: SystemTime, limits: DeadLimits) -> Result<bool, StorageError>;
}

/// A step of a due job out of a [`DueSet`].
#[derive(Clone, Debug, PartialEq)]
pub struct Promotion {
    /// The member as it was read.
    pub held: Bytes,
    /// Where it goes.
    pub to: PromotionTarget,
}

/// Where a [`Promotion`] takes a job.
#[derive(Clone, Debug, PartialEq)]
pub enum PromotionTarget {
    /// To the back of a queue.
    Queue {
        /// The queue.
        queue: QueueName,
        /// The payload to store.
        job: Bytes,
    },
    /// To the `dead` set: it names no queue.
    Dead {
        /// The time of death, and the payload to bury.
        job: Due,
        /// The caps of the set.
        limits: DeadLimits,
    },
}

/// The sets whose members become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DueSet {
    /// Jobs for later.
    Schedule,
    /// Jobs that failed and run again.
    Retry,
}

/// The answer to [`DueStore::poll_schedule`](crate::storage::DueStore::poll_schedule).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulePoll {
    /// Who moves due jobs.
    pub lease: Lease,
    /// When the first member of `schedule` is due; `None` when there is none.
    pub schedule: Option<SystemTime>,
    /// When the first member of `retry` is due; `None` when there is none.
    pub retry: Option<SystemTime>,
}

impl SchedulePoll {
    /// When the first member of `set` is due.
    #[must_use]
    pub fn next(&self, set: DueSet) -> Option<SystemTime> {
        match set {
            DueSet::Schedule => self.schedule,
            DueSet::Retry => self.retry,
        }
    }
}

/// Which node moves due jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// The one that asked.
    Granted,
    /// Another one.
    Held {
        /// How long its lease lasts if it is not renewed.
        ttl: Duration,
    },
}

/// The answer to [`DueStore::due`](crate::storage::DueStore::due).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DuePage {
    /// The due members, the earliest first.
    pub jobs: Vec<Bytes>,
    /// When the first member after these is due; `None` when there is none. In the past when more
    /// are due.
    pub next: Option<SystemTime>,
}

/// The most jobs that one call of [`DueStore::trim_dead`](crate::storage::DueStore::trim_dead)
/// cuts.
pub const MAX_CUT_BY_TRIM: usize = 1000;
