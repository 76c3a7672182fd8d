//! The view of several cells as a storage of the conformance suite: [`Routed`].

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use verk_core::{
    Jid, Job, QueueName, StorageError,
    cells::Cells,
    names::NodeId,
    stats::{Day, DayStats},
    storage::{
        AuditStore, CellStore, Cleared, CronChange, CronSeen, CronStore, CronTick, CronUpsert,
        DeadLimits, Due, DuePage, DueSet, DueStore, Effect, EffectStore, ExecutionStep,
        ForeignPage, Heartbeat, HeldCount, Histogram, Inprogress, JobSet, JobStore, ListRequest,
        Listing, LockId, LockPage, Locked, LockedJob, Minute, Move, MovedQueue, NameClaim, Node,
        NodeStore, Once, OnceAnswer, OnceJob, Page, PauseListener, PauseStore, ProcessReport,
        ProcessSignal, ProcessStore, QueueConnection, Scan, SchedulePoll, Server, Settled,
        Settlement, Source, StatsReport, StatsStore, Storage, StoredCron, StoredExecutions,
        StoredLock, StoredNodeInfo, StoredPause, StoredStats, Ticked, WaitingStore, WorkPage,
        WorkPlace,
    },
};
use verk_testing::{
    Key, MemoryStorage, Operation,
    conformance::{Dump, Harness, ScoredJob},
};

/// The view, with the steps of a node that cases need to begin: each is made in the cell of its
/// queue, or in all cells. No program works like this: a real node is another one in each cell.
#[derive(Clone, Debug)]
pub(super) struct Routed {
    memories: Vec<MemoryStorage>,
    cells: Cells,
    view: Arc<dyn Storage>,
}

impl Routed {
    pub(super) fn of(count: usize) -> Self {
        let memories = std::iter::repeat_with(MemoryStorage::default).take(count);
        let memories: Vec<MemoryStorage> = memories.collect();
        let cells: Cells = memories.iter().cloned().collect();
        Self {
            memories,
            view: cells.view(),
            cells,
        }
    }

    fn home(&self, queue: &QueueName) -> &MemoryStorage {
        &self.memories[self.cells.of(queue)]
    }
}

#[async_trait]
impl JobStore for Routed {
    async fn enqueue(&self, queue: &QueueName, jobs: &[Bytes]) -> Result<(), StorageError> {
        self.view.enqueue(queue, jobs).await
    }

    async fn schedule(&self, jobs: &[Due]) -> Result<usize, StorageError> {
        self.view.schedule(jobs).await
    }

    async fn open_queue(
        &self,
        list: &Inprogress,
    ) -> Result<Box<dyn QueueConnection>, StorageError> {
        self.home(&list.queue).open_queue(list).await
    }

    async fn settle(&self, list: &Inprogress, settlements: &[Settlement]) -> Vec<Settled> {
        self.home(&list.queue).settle(list, settlements).await
    }

    async fn inprogress(&self, list: &Inprogress, page: Page) -> Result<Vec<Bytes>, StorageError> {
        self.view.inprogress(list, page).await
    }

    async fn prefetched(&self, list: &Inprogress) -> Result<usize, StorageError> {
        self.view.prefetched(list).await
    }

    async fn held_counts(&self, lists: &[Inprogress]) -> Result<Vec<HeldCount>, StorageError> {
        self.view.held_counts(lists).await
    }
}

#[async_trait]
impl DueStore for Routed {
    async fn due(&self, set: DueSet, now: SystemTime, page: Page) -> Result<DuePage, StorageError> {
        self.memories[0].due(set, now, page).await
    }

    async fn poll_schedule(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<SchedulePoll, StorageError> {
        self.memories[0].poll_schedule(node, ttl).await
    }

    async fn trim_dead(&self, now: SystemTime, limits: DeadLimits) -> Result<bool, StorageError> {
        self.memories[0].trim_dead(now, limits).await
    }
}

#[async_trait]
impl NodeStore for Routed {
    async fn claim_name(&self, node: &NodeId, ttl: Duration) -> Result<NameClaim, StorageError> {
        self.memories[0].claim_name(node, ttl).await
    }

    async fn register(
        &self,
        node: &NodeId,
        queues: &[QueueName],
        ttl: Duration,
        info: &StoredNodeInfo,
    ) -> Result<(), StorageError> {
        for cell in &self.memories {
            cell.register(node, queues, ttl, info).await?;
        }
        Ok(())
    }

    async fn node_infos(
        &self,
        nodes: &[NodeId],
    ) -> Result<Vec<Option<StoredNodeInfo>>, StorageError> {
        self.view.node_infos(nodes).await
    }

    async fn open_heartbeat(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Box<dyn Heartbeat>, StorageError> {
        self.memories[0].open_heartbeat(node, ttl).await
    }

    async fn deregister(&self, node: &NodeId) -> Result<bool, StorageError> {
        let mut all = true;
        for cell in &self.memories {
            all &= cell.deregister(node).await?;
        }
        Ok(all)
    }

    async fn nodes(&self) -> Result<Vec<Node>, StorageError> {
        self.view.nodes().await
    }

    async fn silent_nodes(&self) -> Result<Vec<Node>, StorageError> {
        self.view.silent_nodes().await
    }

    async fn restore(&self, list: &Inprogress, settlements: &[Settlement]) -> Vec<Settled> {
        self.home(&list.queue).restore(list, settlements).await
    }

    async fn count_deaths(
        &self,
        node: &NodeId,
        started: &[Jid],
    ) -> Result<HashMap<Jid, u32>, StorageError> {
        self.memories[0].count_deaths(node, started).await
    }

    async fn foreign_lists(&self, cursor: u64) -> Result<ForeignPage, StorageError> {
        self.view.foreign_lists(cursor).await
    }
}

#[async_trait]
impl EffectStore for Routed {
    async fn enqueue_locked(&self, jobs: &[LockedJob]) -> Vec<Locked> {
        self.view.enqueue_locked(jobs).await
    }

    async fn enqueue_once(&self, once: &Once, job: &OnceJob) -> OnceAnswer {
        self.view.enqueue_once(once, job).await
    }

    async fn begin(&self, list: &Inprogress, held: &Bytes, effects: &[Effect]) -> Settled {
        self.home(&list.queue).begin(list, held, effects).await
    }

    async fn locks(&self, page: Page) -> Result<LockPage, StorageError> {
        self.view.locks(page).await
    }

    async fn lock(&self, id: LockId) -> Result<Option<StoredLock>, StorageError> {
        self.view.lock(id).await
    }

    async fn free_lock(&self, lock: &StoredLock) -> Result<bool, StorageError> {
        self.view.free_lock(lock).await
    }

    async fn suspect(&self) -> Result<Option<StoredLock>, StorageError> {
        self.view.suspect().await
    }

    async fn clear_suspect(&self, id: LockId) -> Result<(), StorageError> {
        self.view.clear_suspect(id).await
    }

    async fn adopt_lock(
        &self,
        lock: &StoredLock,
        lasts: Option<Duration>,
    ) -> Result<bool, StorageError> {
        self.view.adopt_lock(lock, lasts).await
    }

    async fn seen(&self, key: &str) -> Result<Option<(Jid, String)>, StorageError> {
        self.view.seen(key).await
    }
}

#[async_trait]
impl WaitingStore for Routed {
    async fn queues(&self) -> Result<Vec<QueueName>, StorageError> {
        self.view.queues().await
    }

    async fn len(&self, source: &Source) -> Result<usize, StorageError> {
        self.view.len(source).await
    }

    async fn list(&self, source: &Source, request: &ListRequest) -> Result<Listing, StorageError> {
        self.view.list(source, request).await
    }

    async fn scan(
        &self,
        source: &Source,
        cursor: u64,
        texts: &[String],
    ) -> Result<Scan, StorageError> {
        self.view.scan(source, cursor, texts).await
    }

    async fn move_jobs(
        &self,
        from: &Source,
        moves: &[Move],
        due_by: Option<SystemTime>,
    ) -> Vec<Settled> {
        self.view.move_jobs(from, moves, due_by).await
    }

    async fn clear(&self, source: &Source) -> Result<Cleared, StorageError> {
        self.view.clear(source).await
    }
}

#[async_trait]
impl CellStore for Routed {
    async fn claim_layout(&self, layout: &str) -> Result<String, StorageError> {
        self.view.claim_layout(layout).await
    }

    async fn moved_queues(&self) -> Result<Vec<MovedQueue>, StorageError> {
        self.view.moved_queues().await
    }

    async fn record_move(&self, moved: &MovedQueue, seen: u64) -> Result<bool, StorageError> {
        self.view.record_move(moved, seen).await
    }
}

#[async_trait]
impl Server for Routed {
    async fn server_time(&self) -> Result<SystemTime, StorageError> {
        self.view.server_time().await
    }
}

#[async_trait]
impl PauseStore for Routed {
    async fn pause(&self, queue: &QueueName, note: &Bytes) -> Result<bool, StorageError> {
        self.view.pause(queue, note).await
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, StorageError> {
        self.view.resume(queue).await
    }

    async fn pauses(&self) -> Result<Vec<StoredPause>, StorageError> {
        self.view.pauses().await
    }

    async fn paused_queues(&self) -> Result<Vec<QueueName>, StorageError> {
        self.view.paused_queues().await
    }

    async fn open_pause_listener(&self) -> Result<Box<dyn PauseListener>, StorageError> {
        self.view.open_pause_listener().await
    }
}

#[async_trait]
impl StatsStore for Routed {
    async fn record_stats(
        &self,
        node: &NodeId,
        sequence: u64,
        report: &StatsReport,
    ) -> Result<bool, StorageError> {
        self.memories[0].record_stats(node, sequence, report).await
    }

    async fn stats(&self, queues: &[QueueName]) -> Result<StoredStats, StorageError> {
        self.view.stats(queues).await
    }

    async fn day_stats(&self, days: &[Day]) -> Result<Vec<DayStats>, StorageError> {
        self.view.day_stats(days).await
    }

    async fn executions(
        &self,
        step: ExecutionStep,
        times: &[Minute],
        class: Option<&str>,
    ) -> Result<Vec<StoredExecutions>, StorageError> {
        self.view.executions(step, times, class).await
    }

    async fn histograms(
        &self,
        class: &str,
        minutes: &[Minute],
    ) -> Result<Vec<Histogram>, StorageError> {
        self.view.histograms(class, minutes).await
    }
}

#[async_trait]
impl ProcessStore for Routed {
    async fn report_process(
        &self,
        report: &ProcessReport,
    ) -> Result<Vec<ProcessSignal>, StorageError> {
        self.view.report_process(report).await
    }

    async fn forget_process(&self, identity: &str) -> Result<(), StorageError> {
        self.view.forget_process(identity).await
    }

    async fn processes(&self) -> Result<Vec<ProcessReport>, StorageError> {
        self.view.processes().await
    }

    async fn process(&self, identity: &str) -> Result<Option<ProcessReport>, StorageError> {
        self.view.process(identity).await
    }

    async fn work(&self, from: Option<&WorkPlace>, limit: usize) -> Result<WorkPage, StorageError> {
        self.view.work(from, limit).await
    }

    async fn signal_process(
        &self,
        identity: &str,
        signal: ProcessSignal,
    ) -> Result<bool, StorageError> {
        self.view.signal_process(identity, signal).await
    }

    async fn prune_processes(&self) -> Result<usize, StorageError> {
        self.view.prune_processes().await
    }
}

#[async_trait]
impl AuditStore for Routed {
    async fn record_action(&self, entry: &Bytes) -> Result<(), StorageError> {
        self.view.record_action(entry).await
    }

    async fn actions(&self, page: Page) -> Result<Vec<Bytes>, StorageError> {
        self.view.actions(page).await
    }
}

#[async_trait]
impl CronStore for Routed {
    async fn cron_entries(&self, page: Page) -> Result<Vec<StoredCron>, StorageError> {
        self.view.cron_entries(page).await
    }

    async fn cron_named(&self, names: &[String]) -> Result<Vec<Option<StoredCron>>, StorageError> {
        self.view.cron_named(names).await
    }

    async fn upsert_cron(
        &self,
        name: &str,
        upsert: &CronUpsert,
    ) -> Result<CronChange, StorageError> {
        self.view.upsert_cron(name, upsert).await
    }

    async fn tick_cron(&self, name: &str, tick: &CronTick) -> Result<Ticked, StorageError> {
        self.view.tick_cron(name, tick).await
    }

    async fn pause_cron(&self, name: &str, note: &Bytes) -> Result<bool, StorageError> {
        self.view.pause_cron(name, note).await
    }

    async fn resume_cron(
        &self,
        name: &str,
        seen: &CronSeen,
        next: Option<SystemTime>,
    ) -> Result<CronChange, StorageError> {
        self.view.resume_cron(name, seen, next).await
    }

    async fn mark_cron(
        &self,
        name: &str,
        orphaned: Option<SystemTime>,
    ) -> Result<bool, StorageError> {
        self.view.mark_cron(name, orphaned).await
    }

    async fn remove_cron(&self, name: &str) -> Result<bool, StorageError> {
        self.view.remove_cron(name).await
    }
}

#[async_trait]
impl Harness for Routed {
    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    async fn dump(&self) -> Dump {
        let mut dump = Dump::default();
        for (number, cell) in self.memories.iter().enumerate() {
            for (key, entries) in cell.dump().await.keys() {
                dump.add(format!("{number} {key}"), entries.clone());
            }
        }
        dump
    }

    async fn expire_heartbeat(&self, node: &NodeId) {
        for cell in &self.memories {
            cell.expire_heartbeat(node).await;
        }
    }

    async fn heartbeat_ttl(&self, node: &NodeId) -> Option<Duration> {
        self.memories[0].heartbeat_ttl(node).await
    }

    async fn expire_name(&self, node: &NodeId) {
        for cell in &self.memories {
            cell.expire_name(node).await;
        }
    }

    async fn expire_lock(&self, lock: LockId) {
        for cell in &self.memories {
            if EffectStore::lock(cell, lock).await.unwrap().is_some() {
                cell.expire_lock(lock).await;
            }
        }
    }

    async fn expire_process(&self, identity: &str) {
        for cell in &self.memories {
            cell.expire_process(identity).await;
        }
    }

    async fn add_member(&self, set: JobSet, member: ScoredJob) {
        let job = Job::decode(member.job.clone()).ok();
        let queue = job.as_ref().and_then(Job::queue);
        let cell = queue.map_or(0, |queue| self.cells.of(queue));
        self.memories[cell].add_member(set, member).await;
    }

    async fn add_inprogress(&self, held: &Inprogress, job: Bytes) {
        self.home(&held.queue).add_inprogress(held, job).await;
    }

    async fn dequeue_is_waiting(&self) {}
    async fn break_key(&self, key: &Key) {
        for cell in &self.memories {
            cell.break_key(key).await;
        }
    }

    async fn mend_key(&self, key: &Key) {
        for cell in &self.memories {
            cell.mend_key(key).await;
        }
    }

    async fn fill(&self) {
        for cell in &self.memories {
            cell.fill().await;
        }
    }

    async fn make_room(&self) {
        for cell in &self.memories {
            cell.make_room().await;
        }
    }

    async fn lose_reply(&self, operation: Operation) {
        for cell in &self.memories {
            cell.lose_reply(operation).await;
        }
    }

    async fn disconnect(&self) {
        for cell in &self.memories {
            cell.disconnect().await;
        }
    }

    async fn reconnect(&self) {
        for cell in &self.memories {
            cell.reconnect().await;
        }
    }
}
