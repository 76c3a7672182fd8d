//! What a step does besides moving its job, in the same atomic step: [`Effect`].

use std::{
    fmt,
    ops::Deref,
    str::FromStr,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{CronPush, Inprogress, Settled};
use crate::{
    error::StorageError,
    job::HolderPlace,
    names::{Jid, QueueName},
};

/// Enqueues that take a unique lock, and the locks.
///
/// A lock is held by a job from the enqueue that takes it to the step that frees it. No time frees
/// it, unless the lock has a time: a job that is stored anywhere holds its lock. The locks of one
/// storage and their jobs change in the same atomic steps.
///
/// A part of [`Storage`](super::Storage), whose page has the rules for errors and dropped futures.
#[async_trait]
pub trait EffectStore: fmt::Debug + Send + Sync + 'static {
    /// Stores each job and takes its lock, in one atomic step for each job; or does neither and
    /// returns who holds the lock.
    ///
    /// Answers are in the order of the jobs, one each: a batch never fails as a whole. A job sees
    /// the locks of the jobs before it. It accepts any number of jobs; the backend bounds its
    /// batches. A job that already holds its lock is not stored again: the answer is
    /// [`Locked::New`], as when it was stored.
    async fn enqueue_locked(&self, jobs: &[LockedJob]) -> Vec<Locked>;

    /// Stores a job, unless one was stored with this key before; in one atomic step.
    ///
    /// The key is remembered for its time, together with the id of the job, once a job is stored or
    /// waits for its lock. So after [`Unknown`](crate::error::Applied::Unknown) the caller can call
    /// this again. A job that another one keeps from its lock is not remembered.
    async fn enqueue_once(&self, once: &Once, job: &OnceJob) -> OnceAnswer;

    /// Applies effects to a job that is about to run: nothing happens unless it is still in
    /// `inprogress`, where it stays.
    async fn begin(&self, inprogress: &Inprogress, held: &Bytes, effects: &[Effect]) -> Settled;

    /// Reads a page of the locks: first those with a time, by that time, then the others by id.
    async fn locks(&self, page: super::Page) -> Result<LockPage, StorageError>;

    /// Reads one lock; `None` if it is free.
    async fn lock(&self, id: LockId) -> Result<Option<StoredLock>, StorageError>;

    /// Frees a lock, if nothing changed it since it was read: the same job holds it, and no step of
    /// that job came after. A job that waits for the lock is pushed to its queue, and gets it.
    ///
    /// Returns whether it was freed.
    async fn free_lock(&self, lock: &StoredLock) -> Result<bool, StorageError>;

    /// Reads a lock whose job should be looked for, because an enqueue met the lock when no step
    /// had touched it for [`SUSPECT_AFTER`]. `None` if there is none.
    async fn suspect(&self) -> Result<Option<StoredLock>, StorageError>;

    /// Removes a lock from the suspects, until the next enqueue that meets it.
    async fn clear_suspect(&self, id: LockId) -> Result<(), StorageError>;

    /// Keeps a lock whose job is done, as another storage had it; `lasts` is what is left of its
    /// time, if it has one. Returns whether the lock was free here.
    ///
    /// The lock keeps its job, its class, its place, and since when it is held.
    async fn adopt_lock(
        &self,
        lock: &StoredLock,
        lasts: Option<Duration>,
    ) -> Result<bool, StorageError>;

    /// Reads what [`enqueue_once`](Self::enqueue_once) stored with this key, if it is remembered:
    /// the id of the job, and the request.
    async fn seen(&self, key: &str) -> Result<Option<(Jid, String)>, StorageError>;
}

/// For how long no step touched a lock that an enqueue reports as a suspect: 1 minute.
pub const SUSPECT_AFTER: Duration = Duration::from_secs(60);

/// How many of the newest jobs of a queue are searched for a job that is replaced: 10 000.
pub const MAX_REPLACE_SEARCH: usize = 10_000;

/// The id of a unique lock: 128 bits, written as 32 lower-case hex digits.
///
/// ```
/// use verk_core::storage::LockId;
///
/// let id: LockId = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
/// assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0e0f");
/// assert!("00".parse::<LockId>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LockId(u128);

impl LockId {
    /// The id with these bits.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not a [`LockId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a lock has 32 lower-case hex digits")]
pub struct InvalidLockId;

impl FromStr for LockId {
    type Err = InvalidLockId;

    fn from_str(text: &str) -> Result<Self, InvalidLockId> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(is_hex) {
            return Err(InvalidLockId);
        }
        let bits = u128::from_str_radix(text, 16).map_err(|_| InvalidLockId)?;
        Ok(Self(bits))
    }
}

/// What a [`Settlement`](super::Settlement) or a [`Move`](super::Move) does besides moving its job.
///
/// An effect happens only if the job is moved, in the same atomic step. It names the job for which
/// it acts. If another job holds the lock, the effect does nothing. So an effect that comes twice
/// happens once.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// Frees the lock. A job that waits for it is pushed to the queue, and gets the lock.
    Unlock(LockRef),
    /// Records the new place of the job in its lock. If a job waits for the lock, the step does not
    /// move its job but discards it: see [`Settled::Superseded`].
    Relock {
        /// The lock, and its job.
        lock: LockRef,
        /// The new place; `None` if it stays.
        place: Option<HolderPlace>,
        /// The new payload, for a lock that keeps it.
        payload: Option<Bytes>,
    },
    /// The job is dead and keeps its lock for a time. If a job waits for the lock, as `Relock`.
    Hold {
        /// The lock, and its job.
        lock: LockRef,
        /// When it died.
        died_at: SystemTime,
        /// For how long.
        lasts: Duration,
    },
    /// Takes the lock for a job that leaves the dead set. If another job holds it, nothing happens:
    /// [`Settled::Conflict`].
    Lock {
        /// The lock, and its job.
        lock: LockRef,
        /// The new place.
        place: HolderPlace,
        /// What else the lock keeps.
        new: NewLock,
    },
}

/// The effects of one step, as a slice: none, for most steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects(Option<Box<[Effect]>>);

impl Effects {
    /// No effects.
    pub const NONE: Self = Self(None);
}

impl Deref for Effects {
    type Target = [Effect];

    #[inline]
    fn deref(&self) -> &[Effect] {
        match &self.0 {
            None => &[],
            Some(effects) => effects,
        }
    }
}

impl From<Vec<Effect>> for Effects {
    fn from(effects: Vec<Effect>) -> Self {
        Self((!effects.is_empty()).then(|| effects.into_boxed_slice()))
    }
}

impl From<Effect> for Effects {
    fn from(effect: Effect) -> Self {
        vec![effect].into()
    }
}

impl From<Option<Effect>> for Effects {
    fn from(effect: Option<Effect>) -> Self {
        effect.map(Self::from).unwrap_or_default()
    }
}

impl Effect {
    /// The lock that it changes.
    #[must_use]
    pub fn lock(&self) -> &LockRef {
        match self {
            Self::Unlock(lock)
            | Self::Relock { lock, .. }
            | Self::Hold { lock, .. }
            | Self::Lock { lock, .. } => lock,
        }
    }

    /// How many payload bytes it sends.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Relock {
                payload: Some(payload),
                ..
            } => payload.len(),
            _ => 0,
        }
    }
}

/// A lock, and the job for which an [`Effect`] acts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LockRef {
    /// The lock.
    pub id: LockId,
    /// The job.
    pub jid: Jid,
    /// The queue to which a job goes that waits for the lock: the queue of its holder.
    pub queue: QueueName,
}

/// What a lock keeps of the job that takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewLock {
    /// The class of the job, for people.
    pub class: String,
    /// The payload, if the lock keeps it.
    pub payload: Option<Bytes>,
    /// After what time the lock is free in any case; `None` for never.
    pub lasts: Option<Duration>,
}

/// A job to store together with its lock.
#[derive(Clone, Debug, PartialEq)]
pub struct LockedJob {
    /// The lock, the id of the job and its queue.
    pub lock: LockRef,
    /// The payload to store.
    pub job: Bytes,
    /// When it is due; `None` to store it in its queue.
    pub at: Option<SystemTime>,
    /// The class of the job.
    pub class: String,
    /// After what time the lock is free in any case; `None` for never.
    pub lasts: Option<Duration>,
    /// What happens if another job holds the lock.
    pub on_conflict: Conflict,
}

/// What an enqueue does if another job holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// Stores nothing.
    Skip,
    /// Takes the place of that job, which is discarded, if it waits in a set, or among the newest
    /// [`MAX_REPLACE_SEARCH`] of its queue. A running or dead job is not replaced: as `Skip`.
    Replace {
        /// If that job was scheduled: the new job is due at the latest so long after the first of
        /// the jobs that replaced each other.
        max_wait: Option<Duration>,
    },
    /// Waits for the lock, if that job is in its queue or runs; a job that waited before is
    /// discarded. Otherwise as `Replace`.
    ///
    /// The lock is the only place of a job that waits, so a lock has a time or such a job, never
    /// both. Nobody waits for a lock that has a time, nor does a job whose lock would have one: as
    /// `Skip`. Such a job does not replace the holder of a lock for which another waits, either.
    KeepLast,
    /// Waits for the lock, if that job is in the same queue or runs, no other job waits, and no
    /// lock would have a time, as with `KeepLast`. Otherwise as `Skip`.
    QueueOne,
}

/// The answer to one job of [`EffectStore::enqueue_locked`].
#[derive(Clone, Debug)]
pub enum Locked {
    /// The job is stored, and has the lock; or waits for it.
    New,
    /// Nothing was stored: this job holds the lock.
    Duplicate {
        /// The job that holds the lock.
        jid: Jid,
        /// Its place.
        place: HolderPlace,
    },
    /// The job is stored instead of this one.
    Replaced {
        /// The job that was discarded.
        old: Jid,
    },
    /// Nothing happened, or nobody knows: see [`StorageError::applied`].
    Failed(StorageError),
}

/// The key of an enqueue that happens once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// The id of the key: letters and digits.
    pub key: String,
    /// The id of what is enqueued, by which two requests are compared: letters and digits.
    pub request: String,
    /// The id of the job.
    pub jid: Jid,
    /// Its queue, whose [`Gate`](super::Gate) counts; `None` if the payload names none.
    pub queue: Option<QueueName>,
    /// How long the key is remembered.
    pub lasts: Duration,
}

/// A job for [`EffectStore::enqueue_once`].
#[derive(Clone, Debug, PartialEq)]
pub enum OnceJob {
    /// It has no lock.
    Free(CronPush),
    /// As [`enqueue_locked`](EffectStore::enqueue_locked) stores it.
    Locked(LockedJob),
}

/// The answer to [`EffectStore::enqueue_once`].
#[derive(Clone, Debug)]
pub enum OnceAnswer {
    /// No job was stored with the key before: this became of the job. One without a lock is
    /// [`Locked::New`] or [`Locked::Failed`].
    First(Locked),
    /// Nothing was stored: a job was stored with the key before.
    Seen {
        /// That job.
        jid: Jid,
        /// What was enqueued then.
        request: String,
    },
}

/// A lock as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredLock {
    /// The lock.
    pub id: LockId,
    /// The job that holds it.
    pub jid: Jid,
    /// Its class; empty if that is not known.
    pub class: String,
    /// Its place after its last step.
    pub place: HolderPlace,
    /// When the job took the lock.
    pub since: SystemTime,
    /// When the lock is free in any case.
    pub until: Option<SystemTime>,
    /// How many enqueues met the lock.
    pub conflicts: u64,
    /// The job that waits for the lock, and its queue.
    pub next: Option<(Jid, QueueName)>,
    /// How many steps changed the lock.
    pub revision: u64,
}

/// The answer to [`EffectStore::locks`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LockPage {
    /// The locks, in order.
    pub locks: Vec<StoredLock>,
    /// How many entries of the list of locks were read, those of locks that are free included.
    pub looked_at: usize,
    /// About how many locks there are.
    pub len: usize,
}

/// The answer to [`WaitingStore::clear`](super::WaitingStore::clear).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleared {
    /// So many jobs were removed.
    Jobs(usize),
    /// Nothing was removed, because some of the jobs may have effects: delete them one by one.
    HasEffects,
}
