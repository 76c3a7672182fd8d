//! Sends enqueued jobs: while a push is in flight, further calls queue up and are sent together.

use std::{
    fmt,
    iter::repeat_n,
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::{Mutex, MutexGuard};
use tokio::{runtime::Handle, sync::oneshot};
use verk_core::{QueueName, StorageError, guard, storage::MAX_BATCH_BYTES};

use crate::{
    connect::{
        pool::{Connection, Pool},
        primaries::AtPrimary,
        push::{Part, Push, send},
        runtimes::Local,
    },
    error::Failure,
};

/// Appends `jobs` to the back of `queue`, all or none.
///
/// A call that finds no request in flight makes one. While a push is in flight, further calls queue
/// up and are sent together on the next scheduler turn. Batches grow with load.
///
/// The cells of a cluster do this together if they are at the same primary:
///
/// 1. A call queues up at the primary of its cell ([`AtPrimary`]), and remembers its cell.
/// 2. A request takes the calls that wait at a primary. When the replies come, it answers each
///    call, except those of a cell whose slot is not at that primary.
/// 3. Only those are sent again, and this counts as a request of their cell alone. Meanwhile, and
///    while the primary of the cell is not known, new calls queue up for the cell alone. So a slot
///    that moves delays no other cell.
pub(crate) async fn enqueue(
    local: Arc<Local>,
    queue: &QueueName,
    jobs: &[Bytes],
) -> Result<(), StorageError> {
    match Joined::of(local).wait(queue, jobs) {
        // The request that took the call may be dropped while it is in flight.
        Ok(stored) => stored
            .await
            .unwrap_or_else(|_| Err(StorageError::unknown(OP, RUNTIME_ENDED))),
        Err(request) => request.send_one(queue, jobs).await,
    }
}

/// The requests in flight, and the calls that wait.
pub(crate) struct Enqueues {
    state: Mutex<State>,
    /// Whether the last request got no reply in time. Waiting calls have waited for that reply,
    /// too.
    silent: AtomicBool,
    /// How many requests of this cell are being sent again, because no server has taken them.
    pub(crate) repeating: AtomicUsize,
    /// The one that the calls come from.
    runtime: Handle,
}

#[derive(Default)]
struct State {
    /// How many requests are in flight, with the one that waits for more calls.
    requests: usize,
    /// Whether a request will soon take the waiting calls.
    gathering: bool,
    /// Calls in the order in which they came; empty if no request is in flight.
    waiting: Vec<Call>,
}

/// A waiting call.
struct Call {
    local: Arc<Local>,
    queue: QueueName,
    jobs: Vec<Bytes>,
    answer: Answer,
}

/// The answer to a waiting call, which gets it when this is dropped.
#[derive(Default)]
struct Answer {
    result: Option<Result<(), StorageError>>,
    stored: Option<oneshot::Sender<Result<(), StorageError>>>,
}

impl Answer {
    fn give(mut self, result: Result<(), StorageError>) {
        self.result = Some(result);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let (result, stored) = (self.result.take(), self.stored.take());
        // Wakes the caller, whose waker may panic, while others still need their answers.
        guard::call(|| {
            if let (Some(result), Some(stored)) = (result, stored) {
                // Nobody may wait for it any more.
                let _ = stored.send(result);
            }
        });
    }
}

impl Call {
    /// Lets the call wait for a request of its cell alone, which goes wherever the slot is.
    fn wait_alone(self) {
        let joined = Joined::alone(Arc::clone(&self.local));
        let mut state = joined.enqueues().state();
        state.waiting.push(self);
        joined.gather(state);
    }
}

impl Enqueues {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self {
            state: Mutex::default(),
            silent: AtomicBool::new(false),
            repeating: AtomicUsize::new(0),
            runtime,
        }
    }

    /// A connection of the pool.
    pub(crate) async fn connection(&self, pool: &Pool) -> Result<Connection, Failure> {
        match self.silent.load(Ordering::Relaxed) {
            false => pool.get().await,
            true => pool.get_soon().await,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl fmt::Debug for Enqueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = self.state().requests;
        f.debug_struct("Enqueues")
            .field("requests", &requests)
            .finish_non_exhaustive()
    }
}

impl State {
    /// The first of the waiting calls, as many as are sent at once.
    fn take(&mut self) -> Vec<Call> {
        let (mut jobs, mut bytes) = (0, 0);
        let fits = |call: &&Call| {
            jobs += call.jobs.len();
            bytes += call.jobs.iter().map(Bytes::len).sum::<usize>();
            jobs <= MOST_JOBS && bytes <= MAX_BATCH_BYTES
        };
        let count = self.waiting.iter().take_while(fits).count().max(1);
        let count = count.min(self.waiting.len());
        self.waiting.drain(..count).collect()
    }
}

/// What a call is joined with.
#[derive(Clone)]
struct Joined {
    local: Arc<Local>,
    /// The calls of all cells at one primary; `None` for those of this storage alone.
    at: Option<Arc<AtPrimary>>,
}

impl Joined {
    fn of(local: Arc<Local>) -> Self {
        let at = local.pool.at_primary();
        let at = at.filter(|_| local.enqueues.repeating.load(Ordering::Relaxed) == 0);
        Self { local, at }
    }

    fn alone(local: Arc<Local>) -> Self {
        Self { local, at: None }
    }

    fn enqueues(&self) -> &Enqueues {
        match &self.at {
            Some(at) => &at.enqueues,
            None => &self.local.enqueues,
        }
    }

    /// Adds a call to the waiting ones. If no request is in flight, it must make one.
    fn wait(
        self,
        queue: &QueueName,
        jobs: &[Bytes],
    ) -> Result<oneshot::Receiver<Result<(), StorageError>>, Request> {
        let mut state = self.enqueues().state();
        if state.requests == 0 {
            state.requests = 1;
            drop(state);
            return Err(Request::new(self));
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.push(Call {
            local: Arc::clone(&self.local),
            queue: queue.clone(),
            jobs: jobs.to_vec(),
            answer: Answer {
                result: None,
                stored: Some(sender),
            },
        });
        self.gather(state);
        Ok(receiver)
    }

    /// Lets the waiting calls be sent soon, unless that is already under way, or too many requests
    /// are in flight.
    fn gather(&self, mut state: MutexGuard<'_, State>) {
        if state.waiting.is_empty() || state.gathering || state.requests >= MOST_REQUESTS {
            return;
        }
        state.gathering = true;
        state.requests += 1;
        drop(state);
        let mut request = Request::new(self.clone());
        request.gathers = true;
        self.enqueues().runtime.spawn(request.send());
    }
}

/// A request that counts in [`State::requests`], until it is dropped. Then others may be sent.
struct Request {
    joined: Joined,
    /// Whether it still has to take the waiting calls.
    gathers: bool,
}

impl Request {
    fn new(joined: Joined) -> Self {
        Self {
            joined,
            gathers: false,
        }
    }

    /// Counts what is sent again for one cell.
    fn again(local: &Arc<Local>) -> Self {
        local.enqueues.state().requests += 1;
        Self::new(Joined::alone(Arc::clone(local)))
    }

    /// Sends a call that waited for no other.
    async fn send_one(mut self, queue: &QueueName, jobs: &[Bytes]) -> Result<(), StorageError> {
        let local = Arc::clone(&self.joined.local);
        let connection = match local.pool.get().await {
            Ok(connection) => connection,
            Err(failure) => return Err(failure.during(OP)),
        };
        let pushes = [Push {
            local: &local,
            queue,
            jobs: vec![jobs],
        }];
        let part = Part::of(&pushes);
        let silent = &self.joined.enqueues().silent;
        let sent = send(connection, silent, &[part]).await.remove(0);
        if self.joined.at.is_some() && !sent.is_settled() {
            self = Self::again(&local);
        }
        let result = part.finish(sent).await.remove(0);
        drop(self);
        result
    }

    /// Takes the waiting calls, and sends them.
    async fn send(mut self) {
        // The program may enqueue more on its next turn.
        tokio::task::yield_now().await;
        // Before the calls are taken, so that every call that is taken is sent.
        let connection = match &self.joined.at {
            None => {
                let local = &self.joined.local;
                Some(local.enqueues.connection(&local.pool).await)
            }
            Some(at) => at.connection().await,
        };
        let mut calls = {
            let mut state = self.joined.enqueues().state();
            self.gathers = false;
            state.gathering = false;
            match connection {
                Some(Ok(_)) => state.take(),
                // None of them has to wait for the same again.
                _ => mem::take(&mut state.waiting),
            }
        };
        let connection = match connection {
            Some(Ok(connection)) => connection,
            Some(Err(failure)) => {
                let error = failure.during(OP);
                return calls
                    .into_iter()
                    .for_each(|call| call.answer.give(Err(error.clone())));
            }
            None => return calls.into_iter().for_each(Call::wait_alone),
        };
        // Not all may fit.
        self.joined.gather(self.joined.enqueues().state());
        // The sort is stable, so the jobs of one queue stay in order.
        let place = |call: &Call| Arc::as_ptr(&call.local);
        calls.sort_by(|one, other| {
            let queues = || one.queue.cmp(&other.queue);
            place(one).cmp(&place(other)).then_with(queues)
        });
        let answers = calls.iter_mut().map(|call| mem::take(&mut call.answer));
        let answers: Vec<_> = answers.collect();
        let same = |one: &Call, other: &Call| {
            Arc::ptr_eq(&one.local, &other.local) && one.queue == other.queue
        };
        let pushes: Vec<Push<'_>> = calls
            .chunk_by(same)
            .map(|calls| Push {
                local: &calls[0].local,
                queue: &calls[0].queue,
                jobs: calls.iter().map(|call| &call.jobs[..]).collect(),
            })
            .collect();
        let parts: Vec<_> = Part::each(&pushes).collect();
        let sent = send(connection, &self.joined.enqueues().silent, &parts).await;

        let (mut answers, mut again) = (answers.into_iter(), Vec::new());
        for (part, sent) in parts.into_iter().zip(sent) {
            if sent.is_settled() {
                give(&mut answers, part, part.results(sent));
            } else {
                let answers: Vec<_> = answers.by_ref().take(part.calls()).collect();
                let counted = self.joined.at.as_ref().map(|_| Self::again(part.local));
                again.push(async move {
                    give(answers.into_iter(), part, part.finish(sent).await);
                    drop(counted);
                });
            }
        }
        // What is sent again counts for its cell, not for the primary.
        let _counted = Some(self).filter(|request| request.joined.at.is_none());
        join_all(again).await;
    }
}

/// Gives the calls of a part their answers.
fn give(
    answers: impl Iterator<Item = Answer>,
    part: Part<'_>,
    results: Vec<Result<(), StorageError>>,
) {
    let results = results.into_iter().zip(part.pushes);
    let results = results.flat_map(|(result, push)| repeat_n(result, push.jobs.len()));
    for (result, answer) in results.zip(answers) {
        answer.give(result);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut state = self.joined.enqueues().state();
        state.requests -= 1;
        if self.gathers {
            // The runtime ended first: no task will ever take the waiting calls.
            state.gathering = false;
            let waiting = mem::take(&mut state.waiting);
            drop(state);
            for call in waiting {
                call.answer
                    .give(Err(StorageError::not_applied(OP, RUNTIME_ENDED)));
            }
        } else {
            self.joined.gather(state);
        }
    }
}

pub(crate) const OP: &str = "enqueue jobs";
const RUNTIME_ENDED: &str = "the tokio runtime of the call has ended";

/// While so many requests are in flight, others wait.
const MOST_REQUESTS: usize = 2;
/// How many jobs are sent at once, if they are of several calls.
const MOST_JOBS: usize = 1000;
