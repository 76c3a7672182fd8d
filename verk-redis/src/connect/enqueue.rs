//! Sends enqueued jobs: while a push is in flight, further calls queue up and are sent together.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::{runtime::Handle, sync::oneshot};
use verk_core::{QueueName, StorageError, guard, storage::MAX_BATCH_BYTES};

use crate::connect::{
    push::{Push, send},
    runtimes::Local,
};

/// Appends `jobs` to the back of `queue`, all or none.
///
/// A call that finds no request in flight makes one. While a push is in flight, further calls queue
/// up and are sent together on the next scheduler turn. Batches grow with load.
pub(crate) async fn enqueue(
    local: Arc<Local>,
    queue: &QueueName,
    jobs: &[Bytes],
) -> Result<(), StorageError> {
    let Some(stored) = local.enqueues.wait(queue, jobs) else {
        let request = Request::new(local);
        let local = &request.local;
        let push = Push {
            queue,
            jobs: vec![jobs],
        };
        return match local.pool.get().await {
            Ok(connection) => send(local, connection, &[push]).await.remove(0),
            Err(failure) => Err(failure.during(OP)),
        };
    };
    gather(&local);
    // The request that took the call may be dropped while it is in flight.
    stored
        .await
        .unwrap_or_else(|_| Err(StorageError::unknown(OP, RUNTIME_ENDED)))
}

/// The requests in flight, and the calls that wait.
pub(crate) struct Enqueues {
    state: Mutex<State>,
    /// Whether the last request got no reply in time. Waiting calls have waited for that reply,
    /// too.
    pub(crate) silent: AtomicBool,
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

/// A waiting call. It gets its answer when this is dropped.
struct Call {
    queue: QueueName,
    jobs: Vec<Bytes>,
    answer: Option<Result<(), StorageError>>,
    stored: Option<oneshot::Sender<Result<(), StorageError>>>,
}

impl Call {
    fn answer(mut self, result: Result<(), StorageError>) {
        self.answer = Some(result);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let (answer, stored) = (self.answer.take(), self.stored.take());
        // Wakes the caller, whose waker may panic, while others still need their answers.
        guard::call(|| {
            if let (Some(answer), Some(stored)) = (answer, stored) {
                // Nobody may wait for it any more.
                let _ = stored.send(answer);
            }
        });
    }
}

impl Enqueues {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self {
            state: Mutex::default(),
            silent: AtomicBool::new(false),
            runtime,
        }
    }

    /// Adds a call to the waiting ones; `None` if it must make a request of its own.
    fn wait(
        &self,
        queue: &QueueName,
        jobs: &[Bytes],
    ) -> Option<oneshot::Receiver<Result<(), StorageError>>> {
        let mut state = self.state();
        if state.requests == 0 {
            state.requests = 1;
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.push(Call {
            queue: queue.clone(),
            jobs: jobs.to_vec(),
            answer: None,
            stored: Some(sender),
        });
        Some(receiver)
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

/// Lets the waiting calls be sent soon, unless that is already under way, or too many requests are
/// in flight.
fn gather(local: &Arc<Local>) {
    let mut state = local.enqueues.state();
    if state.waiting.is_empty() || state.gathering || state.requests >= MOST_REQUESTS {
        return;
    }
    state.gathering = true;
    state.requests += 1;
    drop(state);
    let mut request = Request::new(Arc::clone(local));
    request.gathers = true;
    local.enqueues.runtime.spawn(request.send());
}

/// A request that counts in [`State::requests`], until it is dropped. Then others may be sent.
struct Request {
    local: Arc<Local>,
    /// Whether it still has to take the waiting calls.
    gathers: bool,
}

impl Request {
    fn new(local: Arc<Local>) -> Self {
        Self {
            local,
            gathers: false,
        }
    }

    async fn send(mut self) {
        // The program may enqueue more on its next turn.
        tokio::task::yield_now().await;
        // Before the calls are taken, so that every call that is taken is sent.
        let connection = match self.local.enqueues.silent.load(Ordering::Relaxed) {
            false => self.local.pool.get().await,
            true => self.local.pool.get_soon().await,
        };
        let mut calls = {
            let mut state = self.local.enqueues.state();
            self.gathers = false;
            state.gathering = false;
            match connection {
                Ok(_) => state.take(),
                // None of them has to wait for the same error again.
                Err(_) => std::mem::take(&mut state.waiting),
            }
        };
        let connection = match connection {
            Ok(connection) => connection,
            Err(failure) => {
                let error = failure.during(OP);
                return calls
                    .into_iter()
                    .for_each(|call| call.answer(Err(error.clone())));
            }
        };
        // Not all may fit.
        gather(&self.local);
        // The sort is stable, so the jobs of one queue stay in order.
        calls.sort_by(|one, other| one.queue.cmp(&other.queue));
        let same_queue = |one: &Call, other: &Call| one.queue == other.queue;
        let pushes: Vec<Push<'_>> = calls
            .chunk_by(same_queue)
            .map(|calls| Push {
                queue: &calls[0].queue,
                jobs: calls.iter().map(|call| &call.jobs[..]).collect(),
            })
            .collect();
        let results = send(&self.local, connection, &pushes).await;
        let results: Vec<_> = results
            .into_iter()
            .zip(&pushes)
            .flat_map(|(result, push)| vec![result; push.jobs.len()])
            .collect();
        for (call, result) in calls.into_iter().zip(results) {
            call.answer(result);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut state = self.local.enqueues.state();
        state.requests -= 1;
        if self.gathers {
            // The runtime ended first: no task will ever take the waiting calls.
            state.gathering = false;
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            for call in waiting {
                call.answer(Err(StorageError::not_applied(OP, RUNTIME_ENDED)));
            }
        } else {
            drop(state);
            gather(&self.local);
        }
    }
}

pub(crate) const OP: &str = "enqueue jobs";
const RUNTIME_ENDED: &str = "the tokio runtime of the call has ended";

/// While so many requests are in flight, others wait.
const MOST_REQUESTS: usize = 2;
/// How many jobs are sent at once, if they are of several calls.
const MOST_JOBS: usize = 1000;
