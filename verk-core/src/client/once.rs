//! Enqueues with a key of the caller.

use std::time::Duration;

use hmac_sha256::Hash;

use super::{Client, NewJob};
use crate::{
    client::{
        encoded::{EncodedJob, Place},
        middleware::Enqueued,
        new_job::IntoJob,
    },
    effects::{digest, unique::Unique},
    error::EnqueueError,
    job::Job,
    storage::{CronPush, Due, Once, OnceAnswer, OnceJob},
};

/// How long a key is remembered: 24 hours.
const LASTS: Duration = Duration::from_secs(24 * 60 * 60);

/// The key of an enqueue that happens once, and what is enqueued.
pub(super) struct Key {
    key: String,
    request: String,
}

impl Key {
    fn new(key: &str, job: &Job) -> Result<Self, EnqueueError> {
        let queue = job.queue().ok_or_else(|| EnqueueError::NoQueue {
            jid: job.jid().clone(),
        })?;
        let request = digest::digest(&Unique::new(), job.class(), queue, job.args());
        let hash = Hash::hash(key.as_bytes());
        Ok(Self {
            key: hash[..16]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            request: format!("{request:032x}"),
        })
    }
}

/// # Enqueues with a key
impl Client {
    /// Stores a job as [`enqueue`](Self::enqueue) does, unless one was stored with this key in the
    /// last 24 hours. Then it returns [`Enqueued::Seen`] with that job, wherever the job is now.
    ///
    /// So a caller that does not know whether an enqueue took effect can call this again with the
    /// same key: after a lost reply, a crash, or a message that arrives twice. The storage compares
    /// the key and stores the job in one step. It keeps only a hash of the key. A key belongs to
    /// all programs that share the storage: begin it with a name of your own, such as `order-17`.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use verk_core::{Enqueued, Job};
    /// # use verk_core::Client;
    /// # let client = Client::new(std::sync::Arc::new(verk_testing::MemoryStorage::default()));
    ///
    /// let receipt = || Job::new("Receipt", "default".parse().unwrap(), "[17]".to_owned()).unwrap();
    /// let first = client.enqueue_once("order-17", receipt()).await?;
    /// let again = client.enqueue_once("order-17", receipt()).await?;
    /// assert_eq!(again, Enqueued::Seen(first.jid().clone()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// A [unique](Unique) job whose lock another job holds is a duplicate, and the key is not
    /// remembered.
    ///
    /// # Errors
    ///
    /// As `enqueue`, and [`EnqueueError::KeyReused`] if the earlier job had another class, queue or
    /// arguments.
    ///
    /// # Cancel safety
    ///
    /// As `enqueue`; call it again with the same key.
    pub async fn enqueue_once(
        &self,
        key: &str,
        job: impl IntoJob,
    ) -> Result<Enqueued, EnqueueError> {
        let NewJob { job, when, unique } = job.into_job();
        let job = job?;
        let key = Key::new(key, &job)?;
        Box::pin(self.enqueue_through(job, when, unique, Some(key))).await
    }

    /// Stores a job that has a key.
    pub(super) async fn store_once(
        &self,
        ready: &EncodedJob,
        key: &Key,
    ) -> Result<Enqueued, EnqueueError> {
        let once = Once {
            key: key.key.clone(),
            request: key.request.clone(),
            jid: ready.jid.clone(),
            queue: Some(ready.place.queue().clone()),
            lasts: LASTS,
        };
        let payload = ready.payload.clone();
        let job = match (&ready.lock, &ready.place) {
            (Some(lock), _) => OnceJob::Locked(lock.job(ready)),
            (None, Place::Queue(queue)) => OnceJob::Free(CronPush::Queue {
                queue: queue.clone(),
                job: payload,
            }),
            (None, Place::Schedule(at, _)) => OnceJob::Free(CronPush::Later(Due {
                at: *at,
                job: payload,
            })),
        };
        match self.storage().enqueue_once(&once, &job).await {
            OnceAnswer::First(answer) => self.answer(ready, answer, self.now()),
            OnceAnswer::Seen { jid, request } if request == key.request => Ok(Enqueued::Seen(jid)),
            OnceAnswer::Seen { jid: earlier, .. } => Err(EnqueueError::KeyReused {
                jid: ready.jid.clone(),
                earlier,
            }),
        }
    }
}
