//! The jobs that become due, and which node moves them.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::{
    names::QueueName,
    storage::{DeadLimits, Due},
};

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

/// The answer to [`Storage::poll_schedule`](crate::Storage::poll_schedule).
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

/// The answer to [`Storage::due`](crate::Storage::due).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DuePage {
    /// The due members, the earliest first.
    pub jobs: Vec<Bytes>,
    /// When the first member after these is due; `None` when there is none. In the past when more are due.
    pub next: Option<SystemTime>,
}

/// The most jobs that one call of [`Storage::trim_dead`](crate::Storage::trim_dead) cuts.
pub const MAX_CUT_BY_TRIM: usize = 1000;
