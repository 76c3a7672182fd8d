//! Unique locks.

use serde::Serialize;
use verk_core::{job::HolderPlace, manage::StoredLock};

use super::time;

/// A unique lock that a job holds.
#[derive(Debug, Serialize)]
pub struct LockValue<'a> {
    lock: String,
    /// The job that holds it.
    jid: &'a str,
    /// Its class; `null` if that is not known.
    class: Option<&'a str>,
    /// `queue`, `scheduled`, `retries` or `dead`: where the job was after its last step. A job
    /// that runs counts as in its queue.
    place: &'static str,
    /// The queue, if it is in one or runs.
    queue: Option<&'a str>,
    /// When it is due, or died.
    at: Option<String>,
    /// When it took the lock.
    since: String,
    /// When the lock is free in any case.
    until: Option<String>,
    /// How many enqueues met the lock.
    conflicts: u64,
    /// The job that waits for the lock.
    next: Option<NextValue<'a>>,
    /// What a release sends to meet exactly this state of the lock.
    revision: u64,
}

#[derive(Debug, Serialize)]
struct NextValue<'a> {
    jid: &'a str,
    queue: &'a str,
}

impl<'a> LockValue<'a> {
    /// The lock.
    #[must_use]
    pub fn new(lock: &'a StoredLock) -> Self {
        let (place, queue, at) = match &lock.place {
            HolderPlace::Waiting { queue } => ("queue", Some(queue.as_str()), None),
            HolderPlace::Scheduled(at) => ("scheduled", None, Some(*at)),
            HolderPlace::Retrying(at) => ("retries", None, Some(*at)),
            HolderPlace::Dead(at) => ("dead", None, Some(*at)),
        };
        Self {
            lock: lock.id.to_string(),
            jid: lock.jid.as_str(),
            class: (!lock.class.is_empty()).then_some(&lock.class),
            place,
            queue,
            at: at.map(time),
            since: time(lock.since),
            until: lock.until.map(time),
            conflicts: lock.conflicts,
            next: lock.next.as_ref().map(|(jid, queue)| NextValue {
                jid: jid.as_str(),
                queue: queue.as_str(),
            }),
            revision: lock.revision,
        }
    }
}
