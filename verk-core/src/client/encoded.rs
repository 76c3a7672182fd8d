//! A job as it is stored, and the place that it goes to. Pure, but for the log.

use std::time::SystemTime;

use bytes::Bytes;

use crate::{
    client::{
        middleware::Enqueued,
        new_job::When,
        unique::{self, LockOfJob},
    },
    config::Config,
    effects::unique::Unique,
    error::EnqueueError,
    job::Job,
    log,
    names::{Jid, QueueName},
    time::clock::time_after,
};

/// The payload size above which an enqueue logs a warning: 100 KiB.
const LARGE_PAYLOAD_BYTES: usize = 100 * 1024;

/// A job that is encoded, and the place that it goes to.
#[derive(Debug)]
pub(super) struct EncodedJob {
    pub(super) jid: Jid,
    pub(super) payload: Bytes,
    pub(super) place: Place,
    /// Present if the job is unique.
    pub(super) lock: Option<Box<LockOfJob>>,
}

impl EncodedJob {
    /// Encodes a job that is enqueued at `now`. It waits in `schedule` if its time is in the
    /// future.
    #[inline]
    pub(super) fn new(
        job: &mut Job,
        when: When,
        now: SystemTime,
        config: &Config,
        unique: Option<&Unique>,
    ) -> Result<Self, EnqueueError> {
        let (lock, when) = match unique {
            None => (None, when),
            Some(unique) => {
                let lock = LockOfJob::put(job, unique)?;
                (Some(Box::new(lock)), unique::when(when, unique))
            }
        };
        let at = match when {
            When::Now => now,
            When::At(at) => at,
            When::In(delay) => time_after(now, delay),
        };
        let queue = job.queue().cloned().ok_or_else(|| EnqueueError::NoQueue {
            jid: job.jid().clone(),
        })?;
        job.write_as(config.form());
        let place = if at > now {
            job.set_created_at(now);
            job.set_enqueued_at(None);
            Place::Schedule(at, queue)
        } else {
            job.set_enqueued_now(now);
            Place::Queue(queue)
        };
        let payload = job.encode();
        let (size, limit) = (payload.len(), config.max_payload_bytes);
        if size > limit {
            return Err(EnqueueError::TooLarge {
                jid: job.jid().clone(),
                size,
                limit,
            });
        }
        if size > LARGE_PAYLOAD_BYTES {
            log::warn!(class = job.class(), jid = %job.jid(), size, "large payload: pass a reference instead of the data");
        }
        Ok(Self {
            jid: job.jid().clone(),
            payload,
            place,
            lock,
        })
    }
}

impl EncodedJob {
    /// Whether the job came to a queue, if this became of it.
    pub(super) fn is_queued_by(&self, answer: &Enqueued) -> bool {
        matches!(self.place, Place::Queue(_)) && answer.is_stored()
    }

    /// Whether both can be stored by one call: both have locks, or both go to one place.
    #[inline]
    pub(super) fn joins(&self, other: &Self) -> bool {
        self.goes_with(other.lock.is_some(), &other.place)
    }

    /// As [`Self::joins`], for a job that has a lock, or goes to this place.
    pub(super) fn goes_with(&self, has_lock: bool, place: &Place) -> bool {
        self.lock.is_some() == has_lock && (has_lock || self.place.joins(place))
    }
}

/// Where a job goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Queue(QueueName),
    /// The set of jobs for later, and then this queue.
    Schedule(SystemTime, QueueName),
}

impl Place {
    /// The queue, now or when the job is due.
    pub(super) fn queue(&self) -> &QueueName {
        match self {
            Self::Queue(queue) | Self::Schedule(_, queue) => queue,
        }
    }

    fn joins(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Queue(a), Self::Queue(b)) => a == b,
            (Self::Schedule(..), Self::Schedule(..)) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
