//! The conformance suite on the view of three cells, without the cases of nodes.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
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
    conformance::{Case, Dump, Harness, ScoredJob},
};

/// The view, with the steps of a node that cases need to begin: each is made in the cell of its
/// queue, or in all cells. No program works like this: a real node is another one in each cell.
#[derive(Clone, Debug)]
struct Routed {
    memories: Vec<MemoryStorage>,
    cells: Cells,
    view: Arc<dyn Storage>,
}

impl Routed {
    fn of(count: usize) -> Self {
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

/// Cases of the steps of a node.
const OF_NODES: [&str; 9] = [
    "exchange::",
    "faults::",
    "inprogress::",
    "layout::",
    "moved::",
    "lease::",
    "node::",
    "poison::",
    "restore::",
];

/// Cases in which several cells differ from one storage, or their node from a real one.
const DIFFER: [&str; 19] = [
    // Each cell has a dead set with the limits of its own.
    "dead_set::a_batch_of_deaths_cuts_a_bounded_number",
    "dead_set::a_death_cuts_a_bounded_number",
    "dead_set::promotion_to_dead_is_capped",
    "manage::burials_are_capped",
    // The view deletes jobs with effects one by one.
    "effects::a_clear_leaves_jobs_with_effects",
    "effects::a_clear_of_a_set_leaves_jobs_with_effects",
    // A key, or a lock, that is used for two queues, which are in two cells.
    "once::the_first_with_a_key_is_stored",
    "unique::the_last_job_replaces_one_in_a_set",
    // A text that is no job is in cell 0, where no node of this harness looks for its queue.
    "manage::a_moved_job_wakes_a_dequeue",
    "overlap::a_run_is_skipped_while_its_lock_is_held",
    "overlap::one_run_waits_for_a_job_that_fails",
    "overlap::one_run_waits_for_the_lock",
    "schedule::a_promotion_wakes_a_dequeue",
    "schedule::a_snoozed_job_is_scheduled",
    "schedule::promote_moves_to_the_back_of_the_queue",
    "schedule::promoting_at_once_is_done_once",
    "schedule::promotions_to_equal_jobs_are_kept_apart",
    // The next reply is lost in each cell.
    "manage::a_lost_reply_to_a_move_is_done_once",
    // A page of one process is shorter.
    "process::very_many_jobs_are_shown",
];

#[test]
fn the_view_does_what_one_storage_does() {
    let cases: Vec<Case<Routed>> = verk_testing::conformance_cases!(Routed);
    for name in DIFFER {
        assert!(cases.iter().any(|case| case.name() == name), "{name}");
    }
    let is_of_view = |case: &&Case<Routed>| {
        let name = case.name();
        let is_of_nodes = OF_NODES.iter().any(|module| name.starts_with(module));
        !is_of_nodes && !DIFFER.contains(&name)
    };
    let mut failed = Vec::new();
    let mut passed = 0;
    for case in cases.iter().filter(is_of_view) {
        let run = || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(case.run(&Routed::of(3)));
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(()) => passed += 1,
            Err(_) => failed.push(case.name()),
        }
    }
    assert_eq!(failed, [""; 0]);
    assert!(passed > 150, "{passed}");
}
