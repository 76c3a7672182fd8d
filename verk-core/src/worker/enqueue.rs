//! How a worker's job is enqueued: [`EnqueueExt`].

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::{
    client::{
        Client,
        middleware::Enqueued,
        new_job::{IntoJob, NewJob, When},
    },
    effects::unique::Unique,
    error::EnqueueError,
    job::{Job, PARTITION_KEY, RetryLimit},
    names::{Jid, QueueName, is_name},
    worker::Worker,
};

/// Options of the call site, and the enqueue with the current client.
///
/// It is not implemented for an untyped [`Job`], which has setters of its own and is enqueued by
/// [`Client::enqueue`].
pub trait EnqueueExt: IntoJob {
    /// Puts the job into this queue instead of its worker's.
    fn queue(self, queue: &str) -> NewJob {
        self.into_job().edit(|job| {
            if job.queue().is_none_or(|its| its.as_str() != queue) {
                job.set_queue(QueueName::new(queue)?);
            }
            Ok(())
        })
    }

    /// Runs the job at this time, or now if the time has passed.
    fn schedule_at(self, at: SystemTime) -> NewJob {
        NewJob {
            when: When::At(at),
            ..self.into_job()
        }
    }

    /// Runs the job after this time.
    fn schedule_in(self, delay: Duration) -> NewJob {
        NewJob {
            when: When::In(delay),
            ..self.into_job()
        }
    }

    /// Sets how often a failed job is retried. With 0 it goes to the `dead` set at once.
    fn max_retry_count(self, count: u32) -> NewJob {
        self.into_job().edit(|job| {
            job.set_max_retry_count(count);
            Ok(())
        })
    }

    /// Sets how often a failed job is retried, or that it never is: [`RetryLimit::Never`] also
    /// keeps it out of the `dead` set.
    fn retry_limit(self, limit: RetryLimit) -> NewJob {
        self.into_job().edit(|job| {
            job.set_retry_limit(limit);
            Ok(())
        })
    }

    /// Retries the job for this long after its first failure, however often that is: see
    /// [`Job::retry_for`].
    fn retry_for(self, retry_for: Duration) -> NewJob {
        self.into_job().edit(|job| {
            job.set_retry_for(retry_for);
            Ok(())
        })
    }

    /// Retries the job in this queue instead of its own.
    fn retry_queue(self, queue: &str) -> NewJob {
        let queue = QueueName::new(queue);
        self.into_job().edit(|job| {
            job.set_retry_queue(&queue?);
            Ok(())
        })
    }

    /// Gives the job a key of your own or of Sidekiq's, such as `expires_in` or `locale`: see
    /// [`Job::set`].
    fn set(self, key: &str, value: &(impl Serialize + ?Sized)) -> NewJob {
        self.into_job().edit(|job| Ok(job.set(key, value)?))
    }

    /// Lets all jobs with this key that go to a queue which is spread over several cells lie in one
    /// of them, in their order: see
    /// [`spread_queue`](crate::VerkBuilder::spread_queue). Any other queue lies in one cell anyway.
    /// The job has the key as its `partition_key`.
    ///
    /// Jobs are fetched in their order. They may still run at the same time, and a job that fails
    /// runs again after those behind it.
    fn partition_key(self, key: &str) -> NewJob {
        self.set(PARTITION_KEY, key)
    }

    /// Sets the labels that dashboards show.
    fn tags<T: Into<String>>(self, tags: impl IntoIterator<Item = T>) -> NewJob {
        let tags: Vec<String> = tags.into_iter().map(Into::into).collect();
        self.into_job().edit(|job| {
            job.set_tags(&tags);
            Ok(())
        })
    }

    /// Makes this job unique, or changes how it is: see [`Unique`].
    fn unique(self, unique: Unique) -> NewJob {
        NewJob {
            unique: Some(Box::new(unique)),
            ..self.into_job()
        }
    }

    /// Runs the job this long after the last enqueue of the same job: see [`Unique::debounce`]. It
    /// keeps the other options of the worker's `unique`, such as `by`.
    fn debounce(self, wait: Duration) -> NewJob {
        let new = self.into_job();
        let unique = new.unique.as_deref().copied().unwrap_or_default();
        new.unique(unique.debounce(wait))
    }

    /// Enqueues with [the current client](Client::current), and returns the outcome: see
    /// [`Client::enqueue_unique`].
    ///
    /// # Errors
    ///
    /// As `Client::enqueue_unique`; [`EnqueueError::NoClient`] when there is no current client.
    fn enqueue_unique(self) -> impl Future<Output = Result<Enqueued, EnqueueError>> + Send {
        let new = self.into_job();
        async move { Client::current()?.enqueue_unique(new).await }
    }

    /// Enqueues with [the current client](Client::current). If another job holds the lock of a
    /// unique job, it returns the id of that job.
    ///
    /// # Errors
    ///
    /// As [`Client::enqueue`]; [`EnqueueError::NoClient`] when there is none.
    fn enqueue(self) -> impl Future<Output = Result<Jid, EnqueueError>> + Send {
        let new = self.into_job();
        async move { Client::current()?.enqueue(new).await }
    }
}

impl<W: Worker> EnqueueExt for W {}

impl EnqueueExt for NewJob {}

impl<W: Worker> IntoJob for W {
    fn into_job(self) -> NewJob {
        NewJob {
            job: new_job(&self),
            when: When::Now,
            unique: W::OPTIONS.unique.map(Box::new),
        }
    }
}

#[inline]
fn new_job<W: Worker>(worker: &W) -> Result<Job, EnqueueError> {
    let options = W::OPTIONS;
    let args = worker.encode_args().map_err(|source| EnqueueError::Args {
        class: W::CLASS,
        source,
    })?;
    // Its name is checked when the program is compiled.
    let queue = QueueName::checked(options.queue, const { is_name(W::OPTIONS.queue) })?;
    let mut job = Job::new(W::CLASS, queue, args)?;
    if let Some(count) = options.max_retry_count {
        job.set_max_retry_count(count);
    }
    if !options.dead {
        job.set_dead(false);
    }
    if !options.tags.is_empty() {
        let tags: Vec<String> = options.tags.iter().map(|&tag| tag.to_owned()).collect();
        job.set_tags(&tags);
    }
    Ok(job)
}
