//! What one process sees of a cell: [`FaultyStorage`].

mod features;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use verk_core::{
    Jid, QueueName, StorageError,
    names::NodeId,
    stats::{Day, DayStats},
    storage::{
        AuditStore, Beat, CellStore, Cleared, DeadLimits, DequeueRequest, Dequeued, Due, DuePage,
        DueSet, DueStore, ExecutionStep, ForeignPage, Heartbeat, HeldCount, Histogram, Inprogress,
        JobStore, ListRequest, Listing, Minute, Move, MovedQueue, NameClaim, Node, NodeStore, Page,
        PauseListener, PauseStore, ProcessReport, ProcessSignal, ProcessStore, QueueConnection,
        Scan, SchedulePoll, Server, ServerFacts, Settled, Settlement, Source, StatsReport,
        StatsStore, StoredExecutions, StoredNodeInfo, StoredPause, StoredStats, WaitingStore,
        WorkPage, WorkPlace,
    },
};
use verk_testing::MemoryStorage;

use crate::{
    link::{Fate, Link, LinkError},
    plan::Cell,
};

/// The storage as one process sees it, over a link that may fail. It tells the ledger what the
/// storage did.
#[derive(Clone, Debug)]
pub(crate) struct FaultyStorage {
    cell: Cell,
    inner: MemoryStorage,
    link: Arc<Link>,
}

impl FaultyStorage {
    pub(crate) fn new(cell: Cell, link: Arc<Link>) -> Self {
        let inner = cell.storage.clone();
        Self { cell, inner, link }
    }

    /// Lets `work` reach the storage, or not.
    async fn call<T>(
        &self,
        op: &'static str,
        work: impl Future<Output = Result<T, StorageError>> + Send,
    ) -> Result<T, StorageError> {
        let no_reply = || StorageError::unknown(op, LinkError::NoReply);
        let fate = self.link.fate(op).await?;
        if fate == Fate::Lost {
            return Err(no_reply());
        }
        let answer = work.await;
        if fate == Fate::DeadAfter {
            self.link.kill();
        }
        // A reply that comes while the process stands still is read later.
        self.link.thaw().await;
        if fate == Fate::ReplyLost || self.link.is_dead() {
            return Err(no_reply());
        }
        answer
    }

    /// The same for a batch.
    async fn call_each(
        &self,
        op: &'static str,
        jobs: usize,
        work: impl Future<Output = Vec<Settled>> + Send,
    ) -> Vec<Settled> {
        let work = async { Ok(work.await) };
        match self.call(op, work).await {
            Ok(answers) => answers,
            Err(error) => vec![Settled::Failed(error); jobs],
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl JobStore for FaultyStorage {
    async fn enqueue(&self, queue: &QueueName, jobs: &[Bytes]) -> Result<(), StorageError> {
        self.call("enqueue", async {
            self.inner.enqueue(queue, jobs).await?;
            self.link.ledger().stored(jobs.iter());
            Ok(())
        })
        .await
    }

    async fn schedule(&self, jobs: &[Due]) -> Result<usize, StorageError> {
        self.call("schedule", async {
            let merged = self.inner.schedule(jobs).await?;
            self.link.ledger().stored(jobs.iter().map(|due| &due.job));
            Ok(merged)
        })
        .await
    }

    async fn open_queue(
        &self,
        list: &Inprogress,
    ) -> Result<Box<dyn QueueConnection>, StorageError> {
        let inner = self.call("open", self.inner.open_queue(list)).await?;
        let storage = self.clone();
        let list = list.clone();
        Ok(Box::new(FaultyQueue {
            list,
            inner,
            storage,
        }))
    }

    async fn settle(&self, list: &Inprogress, settlements: &[Settlement]) -> Vec<Settled> {
        self.call_each("settle", settlements.len(), async {
            let answers = self.inner.settle(list, settlements).await;
            let ledger = self.link.ledger();
            ledger.settled((self.link.cell(), list), false, settlements, &answers);
            answers
        })
        .await
    }

    async fn inprogress(&self, list: &Inprogress, page: Page) -> Result<Vec<Bytes>, StorageError> {
        self.call("read", self.inner.inprogress(list, page)).await
    }

    async fn prefetched(&self, list: &Inprogress) -> Result<usize, StorageError> {
        self.call("read", self.inner.prefetched(list)).await
    }

    async fn held_counts(&self, lists: &[Inprogress]) -> Result<Vec<HeldCount>, StorageError> {
        self.call("read", self.inner.held_counts(lists)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl DueStore for FaultyStorage {
    async fn due(&self, set: DueSet, now: SystemTime, page: Page) -> Result<DuePage, StorageError> {
        self.call("read", self.inner.due(set, now, page)).await
    }

    async fn poll_schedule(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<SchedulePoll, StorageError> {
        self.call("poll", self.inner.poll_schedule(node, ttl)).await
    }

    async fn trim_dead(&self, now: SystemTime, limits: DeadLimits) -> Result<bool, StorageError> {
        self.call("trim", self.inner.trim_dead(now, limits)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl NodeStore for FaultyStorage {
    async fn claim_name(&self, node: &NodeId, ttl: Duration) -> Result<NameClaim, StorageError> {
        self.call("claim", self.inner.claim_name(node, ttl)).await
    }

    async fn register(
        &self,
        node: &NodeId,
        queues: &[QueueName],
        ttl: Duration,
        info: &StoredNodeInfo,
    ) -> Result<(), StorageError> {
        self.link.registered(node);
        self.call("register", self.inner.register(node, queues, ttl, info))
            .await
    }

    async fn node_infos(
        &self,
        nodes: &[NodeId],
    ) -> Result<Vec<Option<StoredNodeInfo>>, StorageError> {
        self.call("read", self.inner.node_infos(nodes)).await
    }

    async fn open_heartbeat(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Box<dyn Heartbeat>, StorageError> {
        if self.link.is_dead() {
            return Ok(Box::new(FaultyHeartbeat {
                inner: self.inner.open_heartbeat(node, ttl).await?,
                storage: self.clone(),
            }));
        }
        let inner = self
            .call("open", self.inner.open_heartbeat(node, ttl))
            .await?;
        let storage = self.clone();
        Ok(Box::new(FaultyHeartbeat { inner, storage }))
    }

    async fn deregister(&self, node: &NodeId) -> Result<bool, StorageError> {
        self.call("deregister", self.inner.deregister(node)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, StorageError> {
        self.call("read", self.inner.nodes()).await
    }

    async fn silent_nodes(&self) -> Result<Vec<Node>, StorageError> {
        self.call("silent nodes", self.inner.silent_nodes()).await
    }

    async fn restore(&self, list: &Inprogress, settlements: &[Settlement]) -> Vec<Settled> {
        self.call_each("restore", settlements.len(), async {
            let answers = self.inner.restore(list, settlements).await;
            let ledger = self.link.ledger();
            ledger.settled((self.link.cell(), list), true, settlements, &answers);
            answers
        })
        .await
    }

    async fn count_deaths(
        &self,
        node: &NodeId,
        started: &[Jid],
    ) -> Result<HashMap<Jid, u32>, StorageError> {
        self.call("count", self.inner.count_deaths(node, started))
            .await
    }

    async fn foreign_lists(&self, cursor: u64) -> Result<ForeignPage, StorageError> {
        self.call("read", self.inner.foreign_lists(cursor)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl PauseStore for FaultyStorage {
    async fn pause(&self, queue: &QueueName, note: &Bytes) -> Result<bool, StorageError> {
        self.call("pause", self.inner.pause(queue, note)).await
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, StorageError> {
        self.call("pause", self.inner.resume(queue)).await
    }

    async fn pauses(&self) -> Result<Vec<StoredPause>, StorageError> {
        self.call("read", self.inner.pauses()).await
    }

    async fn paused_queues(&self) -> Result<Vec<QueueName>, StorageError> {
        self.call("read", self.inner.paused_queues()).await
    }

    async fn open_pause_listener(&self) -> Result<Box<dyn PauseListener>, StorageError> {
        self.call("open", self.inner.open_pause_listener()).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl StatsStore for FaultyStorage {
    async fn record_stats(
        &self,
        node: &NodeId,
        sequence: u64,
        report: &StatsReport,
    ) -> Result<bool, StorageError> {
        self.call("count", self.inner.record_stats(node, sequence, report))
            .await
    }

    async fn stats(&self, queues: &[QueueName]) -> Result<StoredStats, StorageError> {
        self.call("read", self.inner.stats(queues)).await
    }

    async fn day_stats(&self, days: &[Day]) -> Result<Vec<DayStats>, StorageError> {
        self.call("read", self.inner.day_stats(days)).await
    }

    async fn executions(
        &self,
        step: ExecutionStep,
        times: &[Minute],
        class: Option<&str>,
    ) -> Result<Vec<StoredExecutions>, StorageError> {
        self.call("read", self.inner.executions(step, times, class))
            .await
    }

    async fn histograms(
        &self,
        class: &str,
        minutes: &[Minute],
    ) -> Result<Vec<Histogram>, StorageError> {
        self.call("read", self.inner.histograms(class, minutes))
            .await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ProcessStore for FaultyStorage {
    async fn report_process(
        &self,
        report: &ProcessReport,
    ) -> Result<Vec<ProcessSignal>, StorageError> {
        self.call("process", self.inner.report_process(report))
            .await
    }

    async fn forget_process(&self, identity: &str) -> Result<(), StorageError> {
        self.call("process", self.inner.forget_process(identity))
            .await
    }

    async fn processes(&self) -> Result<Vec<ProcessReport>, StorageError> {
        self.call("read", self.inner.processes()).await
    }

    async fn process(&self, identity: &str) -> Result<Option<ProcessReport>, StorageError> {
        self.call("read", self.inner.process(identity)).await
    }

    async fn work(&self, from: Option<&WorkPlace>, limit: usize) -> Result<WorkPage, StorageError> {
        self.call("read", self.inner.work(from, limit)).await
    }

    async fn signal_process(
        &self,
        identity: &str,
        signal: ProcessSignal,
    ) -> Result<bool, StorageError> {
        self.call("process", self.inner.signal_process(identity, signal))
            .await
    }

    async fn prune_processes(&self) -> Result<usize, StorageError> {
        self.call("process", self.inner.prune_processes()).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl WaitingStore for FaultyStorage {
    async fn queues(&self) -> Result<Vec<QueueName>, StorageError> {
        self.call("read", self.inner.queues()).await
    }

    async fn len(&self, source: &Source) -> Result<usize, StorageError> {
        self.call("read", self.inner.len(source)).await
    }

    async fn list(&self, source: &Source, request: &ListRequest) -> Result<Listing, StorageError> {
        self.call("read", self.inner.list(source, request)).await
    }

    async fn scan(
        &self,
        source: &Source,
        cursor: u64,
        texts: &[String],
    ) -> Result<Scan, StorageError> {
        self.call("read", self.inner.scan(source, cursor, texts))
            .await
    }

    async fn move_jobs(
        &self,
        from: &Source,
        moves: &[Move],
        due_by: Option<SystemTime>,
    ) -> Vec<Settled> {
        let op = if due_by.is_some() { "promote" } else { "move" };
        let work = async {
            let answers = self.inner.move_jobs(from, moves, due_by).await;
            for (step, answer) in moves.iter().zip(&answers) {
                if let Settled::Superseded = answer {
                    self.link.ledger().superseded(&step.held);
                }
            }
            answers
        };
        self.call_each(op, moves.len(), work).await
    }

    async fn clear(&self, source: &Source) -> Result<Cleared, StorageError> {
        self.call("clear", self.inner.clear(source)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl AuditStore for FaultyStorage {
    async fn record_action(&self, entry: &Bytes) -> Result<(), StorageError> {
        self.call("record", self.inner.record_action(entry)).await
    }

    async fn actions(&self, page: Page) -> Result<Vec<Bytes>, StorageError> {
        self.call("read", self.inner.actions(page)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CellStore for FaultyStorage {
    async fn claim_layout(&self, layout: &str) -> Result<String, StorageError> {
        self.call("claim", self.inner.claim_layout(layout)).await
    }

    async fn moved_queues(&self) -> Result<Vec<MovedQueue>, StorageError> {
        self.call("read", self.inner.moved_queues()).await
    }

    async fn record_move(&self, moved: &MovedQueue, seen: u64) -> Result<bool, StorageError> {
        self.call("move", self.inner.record_move(moved, seen)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Server for FaultyStorage {
    async fn server_time(&self) -> Result<SystemTime, StorageError> {
        self.call("read", self.inner.server_time()).await
    }

    async fn server_facts(&self) -> Result<ServerFacts, StorageError> {
        self.call("server facts", self.inner.server_facts()).await
    }

    fn lost_connections(&self) -> u64 {
        self.inner.lost_connections()
    }

    fn address(&self) -> String {
        self.inner.address()
    }
}

#[derive(Debug)]
struct FaultyQueue {
    list: Inprogress,
    inner: Box<dyn QueueConnection>,
    storage: FaultyStorage,
}

#[async_trait]
impl QueueConnection for FaultyQueue {
    async fn dequeue(&mut self, request: DequeueRequest) -> Result<Dequeued, StorageError> {
        self.storage
            .call("dequeue", self.inner.dequeue(request))
            .await
    }

    async fn settle_and_dequeue(
        &mut self,
        settlements: &[Settlement],
        request: &DequeueRequest,
    ) -> (Vec<Settled>, Result<Dequeued, StorageError>) {
        let (link, list) = (&self.storage.link, &self.list);
        let _on_its_way = link.exchange(list);
        let inner = &mut self.inner;
        let both = self.storage.call("settle", async {
            let answers = inner.settle_and_dequeue(settlements, request).await;
            let place = (link.cell(), list);
            link.ledger().settled(place, false, settlements, &answers.0);
            Ok(answers)
        });
        match both.await {
            Ok(answers) => answers,
            Err(error) => {
                let failed = Settled::Failed(error.clone());
                (vec![failed; settlements.len()], Err(error))
            }
        }
    }

    async fn reset(&mut self) -> Result<(), StorageError> {
        self.storage.call("reset", self.inner.reset()).await
    }
}

#[derive(Debug)]
struct FaultyHeartbeat {
    inner: Box<dyn Heartbeat>,
    storage: FaultyStorage,
}

#[async_trait]
impl Heartbeat for FaultyHeartbeat {
    async fn beat(&mut self) -> Result<Beat, StorageError> {
        let link = &self.storage.link;
        if link.is_dead() {
            // So that the task of a process that has ended does not stay.
            return Ok(Beat {
                alive: false,
                server_time: link.clock().now(),
                server: String::new(),
                all_alive: false,
                paused: None,
            });
        }
        if link.loses_heartbeats() {
            return Err(StorageError::unknown("beat", LinkError::NoReply));
        }
        let beat = self.storage.call("beat", self.inner.beat()).await?;
        Ok(Beat {
            server: self.storage.cell.server(),
            ..beat
        })
    }
}
