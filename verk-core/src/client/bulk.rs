//! The bulk enqueue of a client that has middleware.
//!
//! 1. Each job has a future. It passes the middleware, and waits at [`StoreInChunk::store`] for its
//!    chunk. The caller's task polls all futures, so none outlives the enqueue.
//! 2. A turn polls the futures that can continue, and takes new jobs, until a chunk is full or two
//!    chunks of jobs exist.
//! 3. A chunk is sent when it is full, or after a turn in which no future continued. At most one
//!    chunk is in flight.
//! 4. The jobs of the chunk get the answer of the storage, and their middleware continues.
//! 5. After a failure no job is taken. If a middleware failed, the jobs before that one are still
//!    sent. The others get [`EnqueueError::BulkFailed`].

use std::{
    future::{pending, poll_fn},
    task::Poll,
};

use futures_util::{
    StreamExt,
    future::{BoxFuture, poll_immediate},
    stream::FuturesUnordered,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::oneshot, task::yield_now};

use super::{Client, MAX_CHUNK_JOBS, NewJob, When};
use crate::{
    client::{
        encoded::{EncodedJob, Place},
        middleware::{Enqueued, Store},
    },
    effects::unique::Unique,
    error::{EnqueueAllError, EnqueueError},
    job::Job,
    log,
    names::Jid,
    storage::MAX_BATCH_BYTES,
};

type Answer = Result<Enqueued, EnqueueError>;

impl Client {
    /// As [`Client::enqueue_all`], with all jobs through the middleware.
    pub(super) async fn enqueue_each_through(
        &self,
        jobs: impl Iterator<Item = NewJob> + Send,
    ) -> Result<Vec<Enqueued>, EnqueueAllError> {
        let lobby = Lobby::default();
        let mut report = Report::new();
        let mut jobs = jobs.enumerate();
        let mut exhausted = false;
        let mut live = FuturesUnordered::new();
        let mut live_bytes = 0;
        let mut sending: Option<BoxFuture<'_, ChunkReply>> = None;
        // Whether a future continued since the last turn of the runtime. Only after a turn in which
        // none did can none continue, because tokio's budget delays futures that could.
        let mut moved = false;
        loop {
            let waited = lobby.len();
            // Step 2.
            loop {
                if let Some(Some(passed)) = poll_immediate(live.next()).await {
                    let JobEnd {
                        index,
                        bytes,
                        answer,
                    } = passed;
                    live_bytes -= bytes;
                    report.passed(index, answer);
                    moved = true;
                    continue;
                }
                let room = live.len() < 2 * MAX_CHUNK_JOBS && live_bytes < 2 * MAX_BATCH_BYTES;
                if exhausted || report.failed.is_some() || !room || lobby.is_full() {
                    break;
                }
                match jobs.next() {
                    Some((
                        index,
                        NewJob {
                            job: Ok(job),
                            when,
                            unique,
                        },
                    )) => {
                        let bytes = job.args().len();
                        live_bytes += bytes;
                        moved = true;
                        live.push(self.pass(
                            job,
                            bytes,
                            StoreInChunk::new(self, &lobby, index, when, unique),
                        ));
                    }
                    Some((
                        index,
                        NewJob {
                            job: Err(error), ..
                        },
                    )) => report.fail(index, error),
                    None => exhausted = true,
                }
            }
            moved |= lobby.len() > waited;
            // Step 5.
            if report.failed.is_some() {
                lobby.refuse_from(report.end);
            }
            // Step 3.
            if sending.is_none() {
                let all_wait = (exhausted || report.failed.is_some()) && lobby.len() == live.len();
                if let Some(chunk) = lobby.take_chunk(moved && !all_wait) {
                    sending = Some(Box::pin(self.send(chunk)));
                }
            }
            if sending.is_none() && live.is_empty() && (exhausted || report.failed.is_some()) {
                break;
            }
            let sent = async {
                match &mut sending {
                    Some(sending) => sending.await,
                    None => pending().await,
                }
            };
            let went_on = poll_fn(|context| {
                let waited = lobby.len();
                match live.poll_next_unpin(context) {
                    Poll::Ready(Some(passed)) => Poll::Ready(Some(passed)),
                    _ if lobby.len() > waited => Poll::Ready(None),
                    _ => Poll::Pending,
                }
            });
            tokio::select! {
                biased;
                // Step 4.
                sent = sent => {
                    sending = None;
                    report.sent(sent);
                    moved = true;
                }
                passed = went_on => {
                    moved = true;
                    if let Some(JobEnd { index, bytes, answer }) = passed {
                        live_bytes -= bytes;
                        report.passed(index, answer);
                    }
                }
                () = yield_now(), if moved => moved = false,
            }
        }
        report.end(self).await
    }

    async fn pass(&self, mut job: Job, bytes: usize, store: StoreInChunk<'_>) -> JobEnd {
        let answer = self.inner.middleware.pass(&mut job, &store).await;
        let index = store.index;
        JobEnd {
            index,
            bytes,
            answer,
        }
    }

    async fn send(&self, chunk: Vec<Waiting>) -> ChunkReply {
        let mut jobs = Vec::with_capacity(chunk.len());
        let mut members = Vec::with_capacity(chunk.len());
        for Waiting {
            index,
            ready,
            reply,
        } in chunk
        {
            let jid = ready.jid.clone();
            members.push(Member { index, jid, reply });
            jobs.push(ready);
        }
        let first = &jobs[0];
        if first.lock.is_some() {
            let answers = self.store_locked(&jobs).await;
            let queued = jobs.iter().zip(&answers);
            let queued = queued.map(|(ready, answer)| {
                let stored = answer.as_ref();
                stored.is_ok_and(|stored| ready.is_queued_by(stored))
            });
            return ChunkReply {
                queued: queued.collect(),
                answers,
                members,
            };
        }
        let place = first.place.clone();
        let result = self.store(&place, jobs).await;
        let answer = |jid: Jid| match &result {
            Ok(()) => Ok(Enqueued::New(jid)),
            Err(source) => Err(EnqueueError::Storage {
                jid,
                source: source.clone(),
            }),
        };
        ChunkReply {
            queued: vec![matches!(place, Place::Queue(_)); members.len()],
            answers: (members.iter().map(|member| answer(member.jid.clone()))).collect(),
            members,
        }
    }
}

/// A job that has passed the middleware, and its result.
struct JobEnd {
    index: usize,
    /// What it counted for while it lived.
    bytes: usize,
    answer: Answer,
}

/// Jobs that were sent together.
struct ChunkReply {
    members: Vec<Member>,
    /// Whether each is in a queue.
    queued: Vec<bool>,
    answers: Vec<Answer>,
}

struct Member {
    index: usize,
    jid: Jid,
    reply: oneshot::Sender<Answer>,
}

/// The storage of one job of the bulk, after its middleware.
struct StoreInChunk<'a> {
    client: &'a Client,
    lobby: &'a Lobby,
    index: usize,
    when: When,
    unique: Option<Box<Unique>>,
}

impl<'a> StoreInChunk<'a> {
    fn new(
        client: &'a Client,
        lobby: &'a Lobby,
        index: usize,
        when: When,
        unique: Option<Box<Unique>>,
    ) -> Self {
        Self {
            client,
            lobby,
            index,
            when,
            unique,
        }
    }
}

impl Store for StoreInChunk<'_> {
    fn store<'a>(&'a self, job: &'a mut Job) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let ready = self
                .client
                .prepare(job, self.when, None, self.unique.as_deref())?;
            let (reply, answer) = oneshot::channel();
            self.lobby.enter(Waiting {
                index: self.index,
                ready,
                reply,
            });
            match answer.await {
                Ok(answer) => answer,
                // The enqueue is being dropped, and this future with it.
                Err(_) => pending().await,
            }
        })
    }
}

/// A job that is past its middleware and waits to be sent.
struct Waiting {
    index: usize,
    ready: EncodedJob,
    reply: oneshot::Sender<Answer>,
}

/// The jobs that wait to be sent.
#[derive(Default)]
struct Lobby(Mutex<Waiters>);

#[derive(Default)]
struct Waiters {
    jobs: Vec<Waiting>,
    bytes: usize,
}

impl Lobby {
    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.0.lock()
    }

    fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Whether there are enough jobs for a chunk, for any target.
    fn is_full(&self) -> bool {
        let waiters = self.lock();
        waiters.jobs.len() >= MAX_CHUNK_JOBS || waiters.bytes >= MAX_BATCH_BYTES
    }

    fn enter(&self, waiting: Waiting) {
        let mut waiters = self.lock();
        waiters.bytes += waiting.ready.payload.len();
        waiters.jobs.push(waiting);
    }

    /// Answers the jobs from this index on that the bulk has failed.
    fn refuse_from(&self, end: usize) {
        let refused: Vec<Waiting> = {
            let mut waiters = self.lock();
            let refused = waiters.jobs.extract_if(.., |waiting| waiting.index >= end);
            let refused = refused.collect();
            waiters.count_bytes();
            refused
        };
        for Waiting { ready, reply, .. } in refused {
            // Nothing receives this if the middleware has dropped its `run`.
            let _ = reply.send(Err(EnqueueError::BulkFailed { jid: ready.jid }));
        }
    }

    /// Takes the jobs to send together: those with the same target as the first, in the order of
    /// the caller. Takes none while the chunk may still grow.
    fn take_chunk(&self, may_become_more: bool) -> Option<Vec<Waiting>> {
        if may_become_more && !self.is_full() {
            return None;
        }
        let mut waiters = self.lock();
        // The middleware has dropped its `run`.
        waiters.jobs.retain(|waiting| !waiting.reply.is_closed());
        waiters.jobs.sort_by_key(|waiting| waiting.index);
        let first = waiters.jobs.first()?;
        let first = (first.ready.lock.is_some(), first.ready.place.clone());
        let (mut count, mut bytes, mut fits) = (0, 0, true);
        let taken = waiters.jobs.extract_if(.., |waiting| {
            if !waiting.ready.goes_with(first.0, &first.1) {
                return false;
            }
            count += 1;
            bytes += waiting.ready.payload.len();
            fits &= count == 1 || count <= MAX_CHUNK_JOBS && bytes <= MAX_BATCH_BYTES;
            fits
        });
        let taken = taken.collect();
        waiters.count_bytes();
        Some(taken)
    }
}

impl Waiters {
    fn count_bytes(&mut self) {
        let sizes = self.jobs.iter().map(|waiting| waiting.ready.payload.len());
        self.bytes = sizes.sum();
    }
}

/// What the enqueue will answer.
struct Report {
    /// With their places among the jobs of the caller, and whether they are in a queue.
    stored: Vec<(usize, Enqueued, bool)>,
    failed: Option<EnqueueError>,
    /// Jobs from this index on are not sent.
    end: usize,
}

impl Report {
    fn new() -> Self {
        Self {
            stored: Vec::new(),
            failed: None,
            end: usize::MAX,
        }
    }

    fn passed(&mut self, index: usize, answer: Answer) {
        match answer {
            // Noted when it was sent.
            Ok(_) => {}
            Err(EnqueueError::Stopped { jid }) => {
                log::debug!(%jid, "stopped by a client middleware");
            }
            Err(error) => self.fail(index, error),
        }
    }

    fn fail(&mut self, index: usize, error: EnqueueError) {
        if self.failed.is_none() {
            self.failed = Some(error);
            self.end = index;
        }
    }

    /// Records the result of a chunk, and answers its jobs.
    fn sent(&mut self, sent: ChunkReply) {
        let ChunkReply {
            members,
            queued,
            answers,
        } = sent;
        for ((member, queued), answer) in members.into_iter().zip(queued).zip(answers) {
            match &answer {
                Ok(stored) => self.stored.push((member.index, stored.clone(), queued)),
                // The first replaces an error of a middleware, because jobs may be stored.
                Err(EnqueueError::Storage { jid, source }) if self.end > 0 => {
                    self.failed = Some(EnqueueError::Storage {
                        jid: jid.clone(),
                        source: source.clone(),
                    });
                    self.end = 0;
                }
                Err(_) => {}
            }
            // Nothing receives this if the middleware has dropped its `run`.
            let _ = member.reply.send(answer);
        }
    }

    async fn end(mut self, client: &Client) -> Result<Vec<Enqueued>, EnqueueAllError> {
        self.stored.sort_by_key(|&(index, ..)| index);
        let in_queues = self.stored.iter().filter(|&&(.., queued)| queued);
        let in_queues = in_queues.map(|(_, stored, _)| stored.jid().clone());
        client.tell_test(|| in_queues.collect()).await;
        let stored = self.stored.into_iter().map(|(_, stored, _)| stored);
        match self.failed {
            None => Ok(stored.collect()),
            Some(source) => Err(EnqueueAllError {
                stored: stored.map(|stored| stored.jid().clone()).collect(),
                source,
            }),
        }
    }
}
