//! The client: [`Client`] puts jobs into storage, and nothing else does.

mod bulk;
pub(crate) mod current;
mod encoded;
pub(crate) mod middleware;
pub(crate) mod new_job;
mod once;
mod unique;

pub use self::{
    current::{AlreadyInstalled, Installed},
    new_job::{IntoJob, NewJob},
};

use std::{fmt, slice, sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures_util::future::{self, BoxFuture};

use crate::{
    cells::Cells,
    client::{
        current::Life,
        encoded::{EncodedJob, Place},
        middleware::{ClientMiddleware, ClientStack, Enqueued, Store},
        new_job::When,
    },
    config::Config,
    effects::unique::Unique,
    error::{ConfigError, EnqueueAllError, EnqueueError, StorageError},
    job::Job,
    log,
    names::{Jid, QueueName},
    services::Essentials,
    storage::{Due, MAX_BATCH_BYTES, Storage},
    test_seam::TestSeam,
    time::clock::{Clock, SystemClock},
};

/// The most jobs that are stored at once, of at most [`MAX_BATCH_BYTES`]. One push of so many
/// blocks the server for less than a millisecond, and more jobs save little.
const MAX_CHUNK_JOBS: usize = 500;

/// Enqueues jobs. Cheap to clone.
///
/// [`Verk::client`](crate::Verk::client) returns the client of a Verk. A program that only enqueues
/// can build a Verk without queues, or make a client over a storage directly.
#[derive(Clone)]
pub struct Client {
    inner: Arc<ClientData>,
    /// The test that this client belongs to, unless a running job uses it.
    test: Option<Arc<dyn TestSeam>>,
}

/// What a client is made of.
#[derive(Clone)]
pub(crate) struct ClientData {
    pub(crate) essentials: Arc<Essentials>,
    pub(crate) middleware: ClientStack,
    /// Where it was made, and whether its Verk lives.
    pub(crate) life: Arc<Life>,
    /// In a test, the classes that two workers claim.
    pub(crate) duplicates: Vec<ConfigError>,
}

impl Client {
    /// Makes a client over `storage`, with the default limits and the system's clock. The client of
    /// a [`Verk`](crate::Verk) uses the storage's time of day instead.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        let essentials = Essentials::new(
            Cells::new(storage),
            Arc::new(SystemClock),
            Config::default(),
        );
        Self::bare(Arc::new(essentials))
    }

    /// A client without middleware.
    fn bare(essentials: Arc<Essentials>) -> Self {
        Self::with(ClientData {
            essentials,
            middleware: ClientStack::default(),
            life: Life::begin(),
            duplicates: Vec::new(),
        })
    }

    pub(crate) fn with(inner: ClientData) -> Self {
        Self {
            inner: Arc::new(inner),
            test: None,
        }
    }

    /// Returns this client with one more [`ClientMiddleware`], inside of those that it has. The
    /// client of a Verk gets its middleware from
    /// [`VerkBuilder::client_middleware`](crate::VerkBuilder::client_middleware).
    #[must_use]
    pub fn client_middleware(mut self, middleware: impl ClientMiddleware) -> Self {
        Arc::make_mut(&mut self.inner).middleware.push(middleware);
        self
    }

    /// A client for one cell, which takes no middleware along.
    pub(crate) fn of_cell(&self, cell: usize) -> Self {
        Self::bare(self.inner.essentials.of_cell(cell))
    }

    /// This client, for the test itself.
    pub(crate) fn of_test(&self, test: Arc<dyn TestSeam>) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            test: Some(test),
        }
    }

    pub(crate) fn life(&self) -> &Arc<Life> {
        &self.inner.life
    }

    /// Whether both are clones of one client.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Stores one job: at the back of its queue or, when it has a time in the future, in the
    /// `schedule` set.
    ///
    /// Once this returns `Ok`, the job is as safe as the storage is.
    ///
    /// # Errors
    ///
    /// [`EnqueueError::may_be_stored`] says whether the job may be stored although the call failed,
    /// because a reply was lost. Otherwise nothing was stored. Nothing is sent twice. The error is
    /// [`EnqueueError::Stopped`] when a [`ClientMiddleware`] stopped the job.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the job may or may not be stored.
    pub async fn enqueue(&self, job: impl IntoJob) -> Result<Jid, EnqueueError> {
        let ready = {
            let NewJob { job, when, unique } = job.into_job();
            let mut job = job?;
            if unique.is_some() || !self.inner.middleware.is_empty() {
                // In a box, so that other enqueues need no space for it.
                let stored = Box::pin(self.enqueue_through(job, when, unique, None)).await?;
                return Ok(stored.jid().clone());
            }
            self.prepare(&mut job, when, None, None)?
        };
        if let Err(source) = self.store_one(&ready).await {
            return Err(EnqueueError::Storage {
                jid: ready.jid,
                source,
            });
        }
        if let Place::Queue(_) = ready.place {
            self.tell_test(|| vec![ready.jid.clone()]).await;
        }
        Ok(ready.jid)
    }

    /// Stores many jobs in few round trips, in chunks. A chunk has neighbouring jobs that go to the
    /// same place, and is stored whole or not at all.
    ///
    /// Takes the jobs from the iterator as the chunks fill, and holds at most two chunks at a time.
    /// Returns the ids in order, without those of jobs that a [`ClientMiddleware`] stopped.
    ///
    /// With client middleware, each job passes it by itself and then waits for its chunk. A chunk
    /// is sent when it is full, or when no middleware can continue. Jobs of one queue are stored in
    /// the order of the iterator, unless a middleware lets a later job pass an earlier one.
    ///
    /// # Errors
    ///
    /// Stops at the first failure. The error says which jobs are stored, and has the cause. When a
    /// middleware refuses a job after it waited for something, later jobs may be stored already:
    /// the error has their ids.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, up to one chunk may or may not be stored, and the jobs after it
    /// are not. The middleware of each job that was taken is dropped at its current `.await`.
    // Not an `async fn`: the compiler would not find it `Send` because of the iterator's closures.
    pub fn enqueue_all<I>(
        &self,
        jobs: I,
    ) -> impl Future<Output = Result<Vec<Jid>, EnqueueAllError>> + Send
    where
        I: IntoIterator<Item: IntoJob, IntoIter: Send>,
    {
        let jobs = jobs.into_iter().map(IntoJob::into_job);
        async move {
            if self.inner.middleware.is_empty() {
                self.enqueue_each(jobs).await
            } else {
                let stored = Box::pin(self.enqueue_each_through(jobs)).await?;
                Ok(stored.iter().map(|stored| stored.jid().clone()).collect())
            }
        }
    }

    async fn enqueue_each(
        &self,
        mut jobs: impl Iterator<Item = NewJob> + Send,
    ) -> Result<Vec<Jid>, EnqueueAllError> {
        let mut stored = Vec::new();
        let mut left_over = None;
        let mut chunk = self.next_chunk(&mut jobs, &mut left_over);
        loop {
            if let Some(source) = chunk.failed {
                self.store_chunk(chunk.jobs, &mut stored).await?;
                return Err(EnqueueAllError { stored, source });
            }
            if chunk.jobs.is_empty() {
                return Ok(stored);
            }
            // The next chunk is made while this one is in flight, after one turn of the runtime.
            let next = async {
                tokio::task::yield_now().await;
                self.next_chunk(&mut jobs, &mut left_over)
            };
            let result;
            (result, chunk) = future::join(self.store_chunk(chunk.jobs, &mut stored), next).await;
            result?;
        }
    }

    /// Takes as many jobs as are stored at once. The first is `left_over` by the chunk before.
    fn next_chunk(
        &self,
        jobs: &mut (impl Iterator<Item = NewJob> + Send),
        left_over: &mut Option<EncodedJob>,
    ) -> Chunk {
        let at_least = jobs.size_hint().0.min(MAX_CHUNK_JOBS);
        let mut chunk = Chunk {
            jobs: Vec::with_capacity(at_least),
            failed: None,
        };
        // As with Sidekiq, all have one time.
        let now = self.now();
        let mut bytes = 0;
        if let Some(ready) = left_over.take() {
            bytes += ready.payload.len();
            chunk.jobs.push(ready);
        }
        for NewJob { job, when, unique } in jobs {
            let unique = unique.as_deref();
            let ready = job.and_then(|mut job| self.prepare(&mut job, when, Some(now), unique));
            let ready = match ready {
                Ok(ready) => ready,
                Err(failed) => {
                    chunk.failed = Some(failed);
                    return chunk;
                }
            };
            bytes += ready.payload.len();
            let fits = chunk.jobs.len() < MAX_CHUNK_JOBS && bytes <= MAX_BATCH_BYTES;
            let joins = |first: &EncodedJob| fits && first.joins(&ready);
            if !chunk.jobs.first().is_none_or(joins) {
                *left_over = Some(ready);
                return chunk;
            }
            chunk.jobs.push(ready);
        }
        chunk
    }

    /// The clock of this client.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.inner.essentials.clock
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.inner.essentials.storage
    }

    /// The time of day of the storage, as far as this client knows.
    pub(crate) fn now(&self) -> SystemTime {
        self.inner.essentials.now()
    }

    pub(crate) fn essentials(&self) -> &Essentials {
        &self.inner.essentials
    }

    async fn store_chunk(
        &self,
        chunk: Vec<EncodedJob>,
        stored: &mut Vec<Jid>,
    ) -> Result<(), EnqueueAllError> {
        let Some(first) = chunk.first() else {
            return Ok(());
        };
        if first.lock.is_some() {
            return self.store_locked_chunk(&chunk, stored).await;
        }
        let place = first.place.clone();
        let mut jids: Vec<Jid> = chunk.iter().map(|ready| ready.jid.clone()).collect();
        match self.store(&place, chunk).await {
            Ok(()) => {
                if let Place::Queue(_) = place {
                    self.tell_test(|| jids.clone()).await;
                }
                stored.extend(jids);
                Ok(())
            }
            Err(source) => Err(EnqueueAllError {
                stored: std::mem::take(stored),
                source: EnqueueError::Storage {
                    jid: jids.swap_remove(0),
                    source,
                },
            }),
        }
    }

    async fn store_locked_chunk(
        &self,
        chunk: &[EncodedJob],
        stored: &mut Vec<Jid>,
    ) -> Result<(), EnqueueAllError> {
        let (mut queued, mut failed) = (Vec::new(), None);
        for (ready, answer) in chunk.iter().zip(self.store_locked(chunk).await) {
            match answer {
                Ok(answer) => {
                    if ready.is_queued_by(&answer) {
                        queued.push(ready.jid.clone());
                    }
                    stored.push(answer.jid().clone());
                }
                Err(source) => {
                    failed.get_or_insert(source);
                }
            }
        }
        self.tell_test(|| queued).await;
        match failed {
            None => Ok(()),
            Some(source) => Err(EnqueueAllError {
                stored: std::mem::take(stored),
                source,
            }),
        }
    }

    /// Reports to the test that jobs are in their queue.
    pub(crate) async fn tell_test(&self, jids: impl FnOnce() -> Vec<Jid>) {
        if let Some(test) = &self.test {
            test.stored(jids()).await;
        }
    }

    /// Stores jobs that go to the same place.
    async fn store(&self, place: &Place, jobs: Vec<EncodedJob>) -> Result<(), StorageError> {
        match place {
            Place::Queue(queue) => {
                let payloads: Vec<Bytes> = jobs.into_iter().map(|ready| ready.payload).collect();
                self.store_in_queue(queue, &payloads).await
            }
            Place::Schedule(..) => {
                let (jobs, queues): (Vec<Due>, Vec<QueueName>) = jobs
                    .into_iter()
                    .filter_map(|ready| match ready.place {
                        Place::Schedule(at, queue) => {
                            let job = ready.payload;
                            Some((Due { at, job }, queue))
                        }
                        Place::Queue(_) => None,
                    })
                    .unzip();
                self.store_in_schedule(&jobs, &queues).await
            }
        }
    }

    /// Stores one job, without a list for it.
    async fn store_one(&self, ready: &EncodedJob) -> Result<(), StorageError> {
        match &ready.place {
            Place::Queue(queue) => {
                let payload = slice::from_ref(&ready.payload);
                self.store_in_queue(queue, payload).await
            }
            Place::Schedule(at, queue) => {
                let job = ready.payload.clone();
                self.store_in_schedule(&[Due { at: *at, job }], slice::from_ref(queue))
                    .await
            }
        }
    }

    async fn store_in_queue(
        &self,
        queue: &QueueName,
        payloads: &[Bytes],
    ) -> Result<(), StorageError> {
        let Essentials {
            storage, tallies, ..
        } = &*self.inner.essentials;
        let result = storage.enqueue(queue, payloads).await;
        self.note(result.as_ref().err());
        if result.is_ok() {
            let stored = payloads.len() as u64;
            tallies.enqueued.add(|| queue.clone(), stored);
        }
        result
    }

    /// Stores jobs for later, which go to these queues when they are due.
    async fn store_in_schedule(
        &self,
        jobs: &[Due],
        queues: &[QueueName],
    ) -> Result<(), StorageError> {
        let essentials = &*self.inner.essentials;
        let result = essentials.storage.schedule(jobs).await;
        let now = essentials.now();
        for (due, queue) in jobs.iter().zip(queues) {
            essentials.due_at(queue, due.at, now);
        }
        self.note(result.as_ref().err());
        let merged = result?;
        for queue in queues {
            essentials.tallies.enqueued.add(|| queue.clone(), 1);
        }
        if merged > 0 {
            log::warn!(
                merged,
                "scheduled jobs that equal others in the set: merged with them"
            );
        }
        Ok(())
    }

    /// Notes how an enqueue went.
    fn note(&self, error: Option<&StorageError>) {
        let Essentials {
            enqueues, clock, ..
        } = &*self.inner.essentials;
        match error {
            None => enqueues.well(),
            Some(error) => enqueues.failed(error, clock.instant()),
        }
    }

    /// Encodes a job. A job without `now` is enqueued alone.
    fn prepare(
        &self,
        job: &mut Job,
        when: When,
        now: Option<SystemTime>,
        unique: Option<&Unique>,
    ) -> Result<EncodedJob, EnqueueError> {
        let claimed_twice = |error: &&ConfigError| matches!(error, ConfigError::DuplicateClass { class, .. } if *class == job.class());
        if let Some(error) = self.inner.duplicates.iter().find(claimed_twice) {
            return Err(EnqueueError::DuplicateClass(error.clone()));
        }
        #[cfg(feature = "otel")]
        job.trace_enqueue();
        let now = now.unwrap_or_else(|| self.now());
        EncodedJob::new(job, when, now, &self.inner.essentials.config, unique)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("storage", &self.inner.essentials.storage)
            .finish_non_exhaustive()
    }
}

/// Neighbours of an `enqueue_all` that are stored at once, and the error of the job after them.
struct Chunk {
    jobs: Vec<EncodedJob>,
    failed: Option<EnqueueError>,
}

/// Stores a job by itself, after its middleware.
struct StoreOne<'a> {
    client: &'a Client,
    when: When,
    unique: Option<Box<Unique>>,
    /// Present if it happens once.
    once: Option<once::Key>,
}

impl Store for StoreOne<'_> {
    fn store<'a>(&'a self, job: &'a mut Job) -> BoxFuture<'a, Result<Enqueued, EnqueueError>> {
        Box::pin(async move {
            let unique = self.unique.as_deref();
            let ready = self.client.prepare(job, self.when, None, unique)?;
            if let Some(key) = &self.once {
                return self.client.store_once(&ready, key).await;
            }
            if ready.lock.is_some() {
                let mut answers = self.client.store_locked(slice::from_ref(&ready)).await;
                return answers.remove(0);
            }
            let result = self.client.store_one(&ready).await;
            let jid = ready.jid;
            match result {
                Ok(()) => Ok(Enqueued::New(jid)),
                Err(source) => Err(EnqueueError::Storage { jid, source }),
            }
        })
    }
}
