//! The fetching side and the heartbeat of a [`MemoryStorage`].

use std::{collections::BTreeSet, pin::pin, time::Duration};

use async_trait::async_trait;
use tokio::sync::watch;
use verk_core::{
    QueueName, StorageError,
    names::NodeId,
    storage::{
        Beat, DequeueRequest, Dequeued, Heartbeat, Inprogress, PauseListener, QueueConnection,
        Settled, Settlement,
    },
};

use super::{
    MemoryStorage, each_failed,
    faults::{Fault, Key, Operation},
    nodes::DEATHS_LAST,
    state::State,
};

/// The longest wait for a job, so that a deadline can always be computed.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

const DEQUEUE: &str = "dequeue";
const SETTLE_AND_DEQUEUE: &str = "settle jobs and dequeue others";
const BEAT: &str = "send a heartbeat";

#[derive(Debug)]
pub(super) struct MemoryConnection {
    storage: MemoryStorage,
    inprogress: Inprogress,
}

impl MemoryConnection {
    pub(super) fn new(storage: MemoryStorage, inprogress: Inprogress) -> Self {
        Self {
            storage,
            inprogress,
        }
    }

    /// Fetches once. It wakes no one: it brings no job, and two waiting calls would wake each other
    /// forever.
    fn fetch(&self, request: &DequeueRequest) -> Result<Dequeued, StorageError> {
        let now = self.storage.shared.clock.instant();
        let mut state = self.storage.shared.lock();
        state
            .faults
            .check_reachable()
            .and_then(|()| {
                if !state.is_alive(&self.inprogress.node, now) {
                    return Ok(Dequeued::NodeGone);
                }
                if state.is_paused(&self.inprogress.queue)? {
                    return Ok(Dequeued::Paused(Vec::new()));
                }
                let (allowed, prefetched) = state.allowed(&self.inprogress.queue, request, now);
                state.check_fetch(&self.inprogress, allowed)?;
                state.touch(&self.inprogress);
                let max_jobs = state.gate.limit(&self.inprogress, allowed);
                let jobs = match max_jobs {
                    0 => Vec::new(),
                    _ => state.fetch(&self.inprogress, max_jobs, request.max_bytes),
                };
                // A wait that follows may bring one.
                let fewer = allowed.saturating_sub(jobs.len().max(1));
                match prefetched.saturating_sub(fewer) {
                    0 => state.prefetched.remove(&self.inprogress),
                    some => {
                        let until = now + DEATHS_LAST;
                        state
                            .prefetched
                            .insert(self.inprogress.clone(), (some, until))
                    }
                };
                if jobs.is_empty() {
                    return Ok(Dequeued::Jobs(jobs));
                }
                if state.gate.fetched(&self.inprogress, &jobs) {
                    return Ok(Dequeued::Jobs(jobs));
                }
                self.storage.shared.changed.notify_waiters();
                Ok(Dequeued::Jobs(Vec::new()))
            })
            .map_err(|fault| StorageError::not_applied(DEQUEUE, fault))
    }

    /// Fetches until there is a job, the wait is over or an interrupt comes.
    async fn fetch_or_wait(&self, request: &DequeueRequest) -> Result<Dequeued, StorageError> {
        let shared = &self.storage.shared;
        let deadline = shared.clock.instant() + request.wait.min(MAX_WAIT);
        let mut time_is_up = pin!(shared.clock.sleep_until(deadline));
        loop {
            let mut changed = pin!(shared.changed.notified());
            changed.as_mut().enable();
            let answer = self.fetch(request)?;
            if answer != Dequeued::Jobs(Vec::new()) {
                return Ok(answer);
            }
            let _waiting = Waiting::new(&shared.waiting);
            tokio::select! {
                biased;
                () = request.interrupt.cancelled() => return Ok(answer),
                () = &mut time_is_up => return Ok(answer),
                () = changed => {}
            }
        }
    }
}

#[async_trait]
impl QueueConnection for MemoryConnection {
    async fn dequeue(&mut self, request: DequeueRequest) -> Result<Dequeued, StorageError> {
        let answer = self.fetch_or_wait(&request).await?;
        let mut state = self.storage.shared.lock();
        if state.faults.loses_reply(Operation::Dequeue) {
            return Err(StorageError::unknown(DEQUEUE, Fault::ReplyLost));
        }
        Ok(answer)
    }

    async fn settle_and_dequeue(
        &mut self,
        settlements: &[Settlement],
        request: &DequeueRequest,
    ) -> (Vec<Settled>, Result<Dequeued, StorageError>) {
        let settled = match self.storage.settle_jobs(&self.inprogress, settlements) {
            Ok(settled) => settled,
            Err(error) => return (each_failed(settlements.len(), &error), Err(error)),
        };
        // If the list is broken, nothing is read after it.
        let broken = {
            let key = Key::Inprogress(self.inprogress.clone());
            self.storage.shared.lock().faults.check_key(key)
        };
        let dequeued = match broken {
            Err(fault) if !settlements.is_empty() => Err(StorageError::not_applied(DEQUEUE, fault)),
            _ => self.fetch(request),
        };
        let lost = {
            let faults = &mut self.storage.shared.lock().faults;
            // Both are checked, so that neither loses the next reply as well.
            faults.loses_reply(Operation::Settle) | faults.loses_reply(Operation::Dequeue)
        };
        if lost {
            let lost = StorageError::unknown(SETTLE_AND_DEQUEUE, Fault::ReplyLost);
            return (each_failed(settlements.len(), &lost), Err(lost));
        }
        (settled, dequeued)
    }

    async fn reset(&mut self) -> Result<(), StorageError> {
        // Nothing moves outside of a call here, so only reaching the storage can fail.
        self.storage.read("reset a queue connection", |_| Ok(()))
    }
}

#[derive(Debug)]
pub(super) struct MemoryPauseListener {
    storage: MemoryStorage,
    /// What was read last.
    seen: BTreeSet<QueueName>,
}

impl MemoryPauseListener {
    pub(super) fn new(storage: MemoryStorage) -> Self {
        Self {
            storage,
            seen: BTreeSet::new(),
        }
    }

    fn read(&self) -> Result<BTreeSet<QueueName>, StorageError> {
        self.storage
            .read("read which queues are paused", State::paused_queues)
    }
}

#[async_trait]
impl PauseListener for MemoryPauseListener {
    async fn paused(&mut self) -> Result<BTreeSet<QueueName>, StorageError> {
        self.seen = self.read()?;
        Ok(self.seen.clone())
    }

    async fn changed(&mut self) -> Result<(), StorageError> {
        loop {
            let mut changed = pin!(self.storage.shared.changed.notified());
            changed.as_mut().enable();
            if self.read()? != self.seen {
                return Ok(());
            }
            changed.await;
        }
    }
}

#[derive(Debug)]
pub(super) struct MemoryHeartbeat {
    storage: MemoryStorage,
    node: NodeId,
    ttl: Duration,
}

impl MemoryHeartbeat {
    pub(super) fn new(storage: MemoryStorage, node: NodeId, ttl: Duration) -> Self {
        Self { storage, node, ttl }
    }
}

#[async_trait]
impl Heartbeat for MemoryHeartbeat {
    async fn beat(&mut self) -> Result<Beat, StorageError> {
        let clock = &self.storage.shared.clock;
        let (now, server_time) = (clock.instant(), clock.now());
        let beat = self.storage.write(BEAT, |state| {
            if state.faults.losing_heartbeats {
                return Ok(None);
            }
            Ok(Some(Beat {
                alive: state.beat(&self.node, self.ttl, now),
                server_time,
                server: String::new(),
                all_alive: state.nodes(now).iter().all(|node| node.alive),
                paused: state.paused_queues().ok(),
            }))
        })?;
        beat.ok_or_else(|| StorageError::unknown(BEAT, Fault::ReplyLost))
    }
}

/// Counts a dequeue that waits, until dropped.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
