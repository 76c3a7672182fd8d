//! Due jobs, and the node that moves them.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::StorageError,
    names::NodeId,
    storage::{DeadLimits, Page},
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
    /// another node holds it. Also returns when the first member of each set is due, and the first
    /// entry of the timetable. Changes no job.
    ///
    /// The lease only saves work: one node of many moves due jobs. [`due`](Self::due) and
    /// [`move_jobs`](super::WaitingStore::move_jobs) do not check it. Called again, it renews. A
    /// set that cannot be read counts as due, and `due` returns the error.
    async fn poll_schedule(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<SchedulePoll, StorageError>;

    /// Cuts the `dead` set to `limits`, by at most [`MAX_CUT_BY_TRIM`] jobs: those that died longer
    /// than the time-out before `now`, and the oldest above the most jobs. Returns whether more
    /// must be cut.
    ///
    /// A death cuts the set as well, but only by [`MAX_CUT_BY_DEATH`](super::MAX_CUT_BY_DEATH)
    /// jobs, so that it never waits for a set that is far over its limits. Called again, it
    /// continues. After [`Unknown`](crate::error::Applied::Unknown) it may be sent again.
    async fn trim_dead(&self, now: SystemTime, limits: DeadLimits) -> Result<bool, StorageError>;
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
    /// When the first [entry of the timetable](super::CronStore) is due; `None` when there is none.
    pub cron: Option<SystemTime>,
    /// Whether there are locks whose jobs should be looked for: see
    /// [`suspect`](super::EffectStore::suspect).
    pub has_suspects: bool,
    /// How many jobs the `dead` set has, or more if the backend does not know.
    pub dead: usize,
    /// When the first of them died; `None` when there is none.
    pub first_death: Option<SystemTime>,
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
