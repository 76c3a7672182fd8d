//! Jobs on their way to queues: those that come while others are on their way are sent together.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bb8_redis::redis::{self, Cmd};
use bytes::Bytes;
use tokio::{runtime::Handle, sync::oneshot};
use verk_core::{QueueName, StorageError, log, storage::MAX_BATCH_BYTES};

use crate::{error::Failure, shared::Shared};

/// Appends `jobs` to the back of `queue`, all or none.
///
/// A call that finds no request on its way makes one. Others wait until the program has done what else it had to do, and go together by then: the
/// busier it is, the fewer the requests.
pub(crate) async fn enqueue(
    shared: &Arc<Shared>,
    queue: &QueueName,
    jobs: &[Bytes],
) -> Result<(), StorageError> {
    let Some(stored) = shared.enqueues.wait(queue, jobs) else {
        let _request = Request::new(shared);
        let push = Push {
            queue,
            jobs: vec![jobs],
        };
        return send(shared, &[push]).await.remove(0);
    };
    gather(shared);
    stored.await.unwrap_or_else(|_| {
        // It may have been sent by then.
        Err(StorageError::unknown(
            OP,
            "the runtime of the storage has ended",
        ))
    })
}

/// What is on its way, and what waits.
pub(crate) struct Enqueues {
    state: Mutex<State>,
    /// The one that the connections are in.
    runtime: Handle,
}

#[derive(Default)]
struct State {
    /// How many requests are on their way, with the one that waits for company.
    requests: usize,
    /// Whether a request takes up those that wait, soon.
    gathering: bool,
    /// Calls in the order in which they came; empty without a request.
    waiting: Vec<Call>,
}

/// A call that waits.
struct Call {
    queue: QueueName,
    jobs: Vec<Bytes>,
    stored: oneshot::Sender<Result<(), StorageError>>,
}

impl Enqueues {
    /// For the storage that is connected in this runtime.
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            runtime: Handle::current(),
        }
    }

    /// Adds a call to those that wait; `None` if it is to make a request of its own.
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
            stored: sender,
        });
        Some(receiver)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// The first of those that wait, as many as are sent at once.
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

/// Lets those that wait go soon, unless that is under way, or too many requests are.
fn gather(shared: &Arc<Shared>) {
    let mut state = shared.enqueues.state();
    if state.waiting.is_empty() || state.gathering || state.requests >= MOST_REQUESTS {
        return;
    }
    state.gathering = true;
    state.requests += 1;
    drop(state);
    let mut request = Request::new(shared);
    request.gathers = true;
    shared.enqueues.runtime.spawn(request.send());
}

/// One that is counted in [`State::requests`], until it is dropped. Then others may go.
struct Request {
    shared: Arc<Shared>,
    /// Whether it has not taken up those that wait.
    gathers: bool,
}

impl Request {
    fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            gathers: false,
        }
    }

    async fn send(mut self) {
        // What the program does first may be to enqueue more.
        tokio::task::yield_now().await;
        let mut calls = {
            let mut state = self.shared.enqueues.state();
            self.gathers = false;
            state.gathering = false;
            state.take()
        };
        // Not all may fit.
        gather(&self.shared);
        // The sort is stable: what goes to one queue stays in order.
        calls.sort_by(|one, other| one.queue.cmp(&other.queue));
        let same_queue = |one: &Call, other: &Call| one.queue == other.queue;
        let pushes: Vec<Push<'_>> = calls
            .chunk_by(same_queue)
            .map(|calls| Push {
                queue: &calls[0].queue,
                jobs: calls.iter().map(|call| &call.jobs[..]).collect(),
            })
            .collect();
        let results = send(&self.shared, &pushes).await;
        let results: Vec<_> = results
            .into_iter()
            .zip(&pushes)
            .flat_map(|(result, push)| vec![result; push.jobs.len()])
            .collect();
        for (call, result) in calls.into_iter().zip(results) {
            // Nobody may wait for it any more.
            let _ = call.stored.send(result);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut state = self.shared.enqueues.state();
        state.requests -= 1;
        if self.gathers {
            // The runtime ended first: nobody will ever take up those that wait.
            state.gathering = false;
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            drop(waiting);
        } else {
            drop(state);
            gather(&self.shared);
        }
    }
}

/// What goes to one queue.
struct Push<'a> {
    queue: &'a QueueName,
    /// Of each call.
    jobs: Vec<&'a [Bytes]>,
}

impl Push<'_> {
    fn command(&self, shared: &Shared) -> Cmd {
        let jobs = || self.jobs.iter().copied().flatten();
        let key = shared.keys.queue(self.queue);
        let bytes = jobs().map(Bytes::len).sum::<usize>() + key.len() + LPUSH.len();
        let mut command = Cmd::with_capacity(jobs().count() + 2, bytes);
        command.arg(LPUSH).arg(key);
        for job in jobs() {
            command.arg(&job[..]);
        }
        command
    }
}

/// Sends pushes in one request. Each has its own answer.
async fn send(shared: &Shared, pushes: &[Push<'_>]) -> Vec<Result<(), StorageError>> {
    let mut name = redis::cmd("SADD");
    name.arg(shared.keys.queues());
    let mut commands = redis::Pipeline::with_capacity(pushes.len() + 1);
    for push in pushes {
        name.arg(push.queue.as_str());
    }
    commands.add_command(name);
    for push in pushes {
        commands.add_command(push.command(shared));
    }
    let replies = async { shared.pool.get().await?.query_all(&commands).await };
    let mut replies = match replies.await {
        Ok(replies) => replies.into_iter(),
        Err(failure) => return vec![Err(failure.during(OP)); pushes.len()],
    };
    let unnamed = replies.next().and_then(Result::err);
    let results: Vec<_> = replies
        .map(|reply| reply.map(drop).map_err(|failure| failure.during(OP)))
        .collect();
    if let Some(failure) = unnamed {
        tell_unnamed(pushes, &results, failure);
    }
    results
}

fn tell_unnamed(pushes: &[Push<'_>], results: &[Result<(), StorageError>], failure: Failure) {
    let error = failure.during("add queues to the list of queues");
    for (push, _) in pushes.iter().zip(results).filter(|(_, it)| it.is_ok()) {
        let queue = push.queue;
        log::warn!(%queue, error = ?error, "jobs are enqueued, but their queue may not be listed");
    }
}

const OP: &str = "enqueue jobs";
const LPUSH: &str = "LPUSH";

/// While so many requests are on their way, others wait.
const MOST_REQUESTS: usize = 2;
/// So many jobs are sent at once, if they are of several calls.
const MOST_JOBS: usize = 1000;
