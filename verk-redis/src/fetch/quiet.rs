//! Queues that share one look: [`QuietQueues`].

use std::{collections::HashMap, sync::Arc, time::Duration};

use bb8_redis::redis;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::{
    connect::{link::Link, reply},
    error::Failure,
    fetch::{OpenQueues, blocking::QueueId},
    keys::Key,
};

/// The pause between two polls: how long a job of a quiet queue may wait, in addition to the poll
/// itself.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How many queues one command asks for.
const MOST_KEYS: usize = 1000;

/// The queues that wait for a job without a connection of their own. While there are any, one task
/// polls for all of them.
#[derive(Debug, Default)]
pub(crate) struct QuietQueues(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<QueueId, Waiting>,
    /// Whether the task runs.
    looking: bool,
}

#[derive(Debug)]
struct Waiting {
    key: Key,
    tell: oneshot::Sender<Result<(), Failure>>,
}

impl QuietQueues {
    /// Waits until the list `key` of a queue is not empty. It may already be empty again.
    pub(crate) async fn until_filled(
        queues: &Arc<OpenQueues>,
        queue: QueueId,
        key: &Key,
    ) -> Result<(), Failure> {
        let (tell, told) = oneshot::channel();
        let waiting = Waiting {
            key: key.clone(),
            tell,
        };
        let _leave = Leave { queues, queue };
        {
            let mut state = queues.quiet.state();
            state.waiting.insert(queue, waiting);
            if !std::mem::replace(&mut state.looking, true) {
                tokio::spawn(look(Looking {
                    queues: Arc::clone(queues),
                    done: false,
                }));
            }
        }
        told.await
            .unwrap_or_else(|gone| Err(Failure::not_sent(gone)))
    }

    fn tell(&self, queue: QueueId, result: Result<(), Failure>) {
        let waiting = self.state().waiting.remove(&queue);
        if let Some(waiting) = waiting {
            // An error means that the caller does not wait any more.
            let _ = waiting.tell.send(result);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

/// Removes a queue from the list when it does not wait any more.
struct Leave<'a> {
    queues: &'a OpenQueues,
    queue: QueueId,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.queues.quiet.state().waiting.remove(&self.queue);
    }
}

/// The task. When it panics, or its runtime ends, the waiting calls get an error, and the next call
/// starts another.
struct Looking {
    queues: Arc<OpenQueues>,
    /// Whether nobody waited any more.
    done: bool,
}

impl Looking {
    /// The calls that wait now. If there are none, the task ends, and the next call starts another.
    fn waiting(&mut self) -> Vec<(QueueId, Key)> {
        let mut state = self.queues.quiet.state();
        state.looking = !state.waiting.is_empty();
        self.done = !state.looking;
        let waiting = state.waiting.iter();
        waiting.map(|(id, it)| (*id, it.key.clone())).collect()
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        if !self.done {
            let mut state = self.queues.quiet.state();
            state.looking = false;
            state.waiting.clear();
        }
    }
}

/// Looks until nobody waits.
async fn look(mut looking: Looking) {
    loop {
        looking.queues.link.clock.sleep(LOOK_EVERY).await;
        let waiting = looking.waiting();
        if waiting.is_empty() {
            return;
        }
        let OpenQueues { link, quiet, .. } = &*looking.queues;
        for waiting in waiting.chunks(MOST_KEYS) {
            match filled(link, waiting).await {
                Ok(filled) => {
                    for queue in filled {
                        quiet.tell(queue, Ok(()));
                    }
                }
                Err(failure) => {
                    let failure = Arc::new(failure.during("look for jobs"));
                    for (queue, _) in waiting {
                        let failure = Failure::not_sent(Arc::clone(&failure));
                        quiet.tell(*queue, Err(failure));
                    }
                }
            }
        }
    }
}

/// Which of these lists are not empty: one command if all are empty.
async fn filled(link: &Link, queues: &[(QueueId, Key)]) -> Result<Vec<QueueId>, Failure> {
    let mut any = redis::cmd("EXISTS");
    for (_, key) in queues {
        any.arg(key);
    }
    if reply::count(link.ask(&any).await?)? == 0 {
        return Ok(Vec::new());
    }
    let mut each = redis::pipe();
    for (_, key) in queues {
        each.cmd("EXISTS").arg(key);
    }
    let replies = link.ask_all(&each).await?;
    let mut filled = Vec::new();
    for ((queue, _), reply) in queues.iter().zip(replies) {
        if reply::count(reply?)? > 0 {
            filled.push(*queue);
        }
    }
    Ok(filled)
}
