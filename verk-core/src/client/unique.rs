//! How a unique job is enqueued.

use std::time::SystemTime;

use super::{Client, NewJob, StoreOne};
use crate::{
    client::{
        encoded::{EncodedJob, Place},
        middleware::Enqueued,
        new_job::{IntoJob, When},
        once::Key,
    },
    effects::{
        self, Claim,
        unique::{OnConflict, Unique},
    },
    error::{EnqueueAllError, EnqueueError},
    job::Job,
    storage::{Conflict, LockRef, Locked, LockedJob},
};

/// The lock of a job that is about to be stored.
#[derive(Clone, Debug)]
pub(super) struct LockOfJob {
    pub(super) claim: Claim,
    class: String,
    conflict: Conflict,
    fails: bool,
}

impl LockOfJob {
    /// The lock of a job, which is written into the job.
    pub(super) fn put(job: &mut Job, unique: &Unique) -> Result<Self, EnqueueError> {
        let queue = job.queue().ok_or_else(|| EnqueueError::NoQueue {
            jid: job.jid().clone(),
        })?;
        let claim = Claim::new(unique, job.class(), queue, job.args());
        claim.put(job);
        Ok(Self {
            claim,
            class: job.class().to_owned(),
            conflict: effects::conflict(unique),
            fails: unique.debounce.is_none() && unique.on_conflict == OnConflict::Error,
        })
    }

    pub(super) fn job(&self, ready: &EncodedJob) -> LockedJob {
        let at = match &ready.place {
            Place::Queue(_) => None,
            Place::Schedule(at, _) => Some(*at),
        };
        LockedJob {
            lock: LockRef {
                id: self.claim.lock(),
                jid: ready.jid.clone(),
                queue: ready.place.queue().clone(),
            },
            job: ready.payload.clone(),
            at,
            class: self.class.clone(),
            lasts: self.claim.lasts(),
            on_conflict: self.conflict,
        }
    }
}

/// When a job is due that may be debounced.
pub(super) fn when(when: When, unique: &Unique) -> When {
    match (when, unique.debounce) {
        (When::Now, Some(wait)) => When::In(wait),
        (when, _) => when,
    }
}

impl Client {
    /// Stores one job as [`enqueue`](Self::enqueue) does, and returns the outcome: with
    /// [`Unique`], another job with the same arguments may hold the lock. A job without `Unique` is
    /// always [`Enqueued::New`].
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use verk_core::{Enqueued, EnqueueExt as _, Unique};
    /// # use verk_core::{Client, Job, client::IntoJob as _};
    /// # let client = Client::new(std::sync::Arc::new(verk_testing::MemoryStorage::default()));
    ///
    /// let sync = || -> Result<_, Box<dyn std::error::Error>> {
    ///     let job = Job::new("Sync", "default".parse()?, "[7]".to_owned())?;
    ///     Ok(job.into_job().unique(Unique::new()))
    /// };
    /// let first = client.enqueue_unique(sync()?).await?;
    /// let Enqueued::New(jid) = first else { panic!("no other job was stored") };
    /// let second = client.enqueue_unique(sync()?).await?;
    /// assert!(matches!(second, Enqueued::Duplicate { jid: holder, .. } if holder == jid));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As `enqueue`; [`EnqueueError::Duplicate`] with [`OnConflict::Error`].
    ///
    /// # Cancel safety
    ///
    /// As `enqueue`.
    pub async fn enqueue_unique(&self, job: impl IntoJob) -> Result<Enqueued, EnqueueError> {
        let NewJob { job, when, unique } = job.into_job();
        Box::pin(self.enqueue_through(job?, when, unique, None)).await
    }

    /// Stores many jobs as [`enqueue_all`](Self::enqueue_all) does, and returns the outcome of
    /// each, in order. A job may be the duplicate of one before it.
    ///
    /// # Errors
    ///
    /// As `enqueue_all`. It also stops at the first [`EnqueueError::Duplicate`], but the jobs that
    /// were sent in the same chunk may be stored.
    ///
    /// # Cancel safety
    ///
    /// As `enqueue_all`.
    pub fn enqueue_all_unique<I>(
        &self,
        jobs: I,
    ) -> impl Future<Output = Result<Vec<Enqueued>, EnqueueAllError>> + Send
    where
        I: IntoIterator<Item: IntoJob, IntoIter: Send>,
    {
        let jobs = jobs.into_iter().map(IntoJob::into_job);
        async move { Box::pin(self.enqueue_each_through(jobs)).await }
    }

    /// Takes one job through the middleware.
    pub(super) async fn enqueue_through(
        &self,
        mut job: Job,
        when: When,
        unique: Option<Box<Unique>>,
        once: Option<Key>,
    ) -> Result<Enqueued, EnqueueError> {
        let store = StoreOne {
            client: self,
            when,
            unique,
            once,
        };
        let stored = self.inner.middleware.pass(&mut job, &store).await?;
        let is_queued = job.enqueued_at().is_some();
        if is_queued && stored.is_stored() {
            let jid = stored.jid().clone();
            self.tell_test(|| vec![jid]).await;
        }
        Ok(stored)
    }

    /// Stores jobs that have locks. Each has its own answer.
    pub(super) async fn store_locked(
        &self,
        jobs: &[EncodedJob],
    ) -> Vec<Result<Enqueued, EnqueueError>> {
        let locked: Vec<LockedJob> = jobs
            .iter()
            .filter_map(|ready| Some(ready.lock.as_ref()?.job(ready)))
            .collect();
        let answers = self.storage().enqueue_locked(&locked).await;
        let now = self.now();
        let each = jobs.iter().zip(answers);
        each.map(|(ready, answer)| self.answer(ready, answer, now))
            .collect()
    }

    pub(super) fn answer(
        &self,
        ready: &EncodedJob,
        answer: Locked,
        now: SystemTime,
    ) -> Result<Enqueued, EnqueueError> {
        let jid = ready.jid.clone();
        let essentials = self.essentials();
        if let Locked::Failed(source) = answer {
            self.note(Some(&source));
            return Err(EnqueueError::Storage { jid, source });
        }
        self.note(None);
        let queue = ready.place.queue();
        if let (Place::Schedule(at, _), false) =
            (&ready.place, matches!(answer, Locked::Duplicate { .. }))
        {
            essentials.due_at(queue, *at, now);
        }
        match answer {
            Locked::Duplicate { jid: holder, place } => {
                let lock = ready.lock.as_ref();
                let class = || lock.map_or_else(String::new, |lock| lock.class.clone());
                essentials.tallies.duplicates.add(class, 1);
                if lock.is_some_and(|lock| lock.fails) {
                    return Err(EnqueueError::Duplicate { jid, holder, place });
                }
                Ok(Enqueued::Duplicate { jid: holder, place })
            }
            Locked::Replaced { old } => {
                essentials.tallies.enqueued.add(|| queue.clone(), 1);
                Ok(Enqueued::Replaced { jid, old })
            }
            Locked::New | Locked::Failed(_) => {
                essentials.tallies.enqueued.add(|| queue.clone(), 1);
                Ok(Enqueued::New(jid))
            }
        }
    }
}
