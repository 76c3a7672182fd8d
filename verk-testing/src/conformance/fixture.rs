//! The parts that the cases share: a registered node with its queue open, and shorthand for
//! asserts.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use verk_core::{
    QueueName,
    error::Applied,
    names::NodeId,
    storage::{
        DeadLimits, DequeueRequest, Dequeued, Due, DueSet, Heartbeat, Inprogress, JobSet,
        MAX_BATCH_BYTES, Move, Page, QueueConnection, Settled, Settlement, Source, Storage, Target,
        WaitingJob,
    },
};

use super::Harness;
use crate::within;

/// The time to live of heartbeats and names: longer than any case.
pub(super) const TTL: Duration = Duration::from_secs(600);

/// A wait that a case ends itself; longer than [`PATIENCE`], so that a wait without an end fails.
pub(super) const LONG: Duration = Duration::from_secs(300);

/// How long an event may take that must happen soon.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// More fetches than any case needs: a storage in memory never waits, so no deadline ends an
/// endless loop.
const MAX_FETCHES: usize = 20_000;

/// Limits that cut nothing in the cases.
pub(super) const NO_LIMITS: DeadLimits = DeadLimits {
    max_jobs: 1_000_000,
    timeout: Duration::from_secs(100 * 365 * 24 * 60 * 60),
};

pub(super) const ALL: Page = Page {
    offset: 0,
    limit: 1_000_000,
};

/// The first `limit` entries.
pub(super) const fn first(limit: usize) -> Page {
    Page { offset: 0, limit }
}

/// A node called `web` that is registered, with the queue `default` open.
pub(super) struct Fixture<'a> {
    pub(super) harness: &'a dyn Harness,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) held: Inprogress,
    pub(super) connection: Box<dyn QueueConnection>,
}

impl<'a> Fixture<'a> {
    pub(super) async fn new(harness: &'a dyn Harness) -> Self {
        Self::on_queue(harness, "default").await
    }

    pub(super) async fn on_queue(harness: &'a dyn Harness, queue: &str) -> Self {
        let storage = harness.storage();
        let held = Inprogress {
            queue: queue_name(queue),
            node: node_id(),
        };
        storage
            .register(
                &held.node,
                std::slice::from_ref(&held.queue),
                TTL,
                &Default::default(),
            )
            .await
            .expect("register");
        let connection = storage.open_queue(&held).await.expect("open the queue");
        Self {
            harness,
            storage,
            held,
            connection,
        }
    }

    /// Enqueues `jobs` and fetches them.
    pub(super) async fn holding(harness: &'a dyn Harness, jobs: &[&str]) -> Self {
        let mut fixture = Self::new(harness).await;
        fixture.enqueue(jobs).await;
        assert_eq!(fixture.dequeue(jobs.len()).await, bytes(jobs));
        fixture
    }

    pub(super) async fn enqueue(&self, jobs: &[&str]) {
        self.enqueue_bytes(&bytes(jobs)).await;
    }

    pub(super) async fn enqueue_bytes(&self, jobs: &[Bytes]) {
        self.storage
            .enqueue(&self.held.queue, jobs)
            .await
            .expect("enqueue");
    }

    /// How many of the newest jobs that are held have not been started.
    pub(super) async fn prefetched(&self) -> usize {
        let prefetched = self.storage.prefetched(&self.held).await;
        prefetched.expect("ask what was prefetched")
    }

    /// Looks once for up to `max_jobs`.
    pub(super) async fn dequeue(&mut self, max_jobs: usize) -> Vec<Bytes> {
        let answer = self.connection.dequeue(look(max_jobs)).await;
        jobs(answer.expect("dequeue"))
    }

    /// Fetches until the queue is empty.
    pub(super) async fn dequeue_all(&mut self) -> Vec<Bytes> {
        let mut all = Vec::new();
        for _ in 0..MAX_FETCHES {
            let some = self.dequeue(100).await;
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
        panic!("the queue does not become empty");
    }

    /// Settles all `held` to copies of one target.
    pub(super) async fn settle(&self, held: &[&str], to: Target) -> Vec<Settled> {
        let settlements: Vec<Settlement> =
            held.iter().map(|job| settlement(job, to.clone())).collect();
        self.storage.settle(&self.held, &settlements).await
    }

    pub(super) async fn settle_each(&self, settlements: &[Settlement]) -> Vec<Settled> {
        self.storage.settle(&self.held, settlements).await
    }

    pub(super) async fn queued(&self) -> Vec<Bytes> {
        queue_page(&*self.storage, &self.held.queue, ALL).await
    }

    pub(super) async fn queue_len(&self) -> usize {
        self.len(&Source::Queue(self.held.queue.clone())).await
    }

    pub(super) async fn set_len(&self, set: JobSet) -> usize {
        self.len(&Source::Set(set)).await
    }

    async fn len(&self, source: &Source) -> usize {
        let jobs = self.storage.len(source).await;
        jobs.expect("count the jobs that wait")
    }

    /// The jobs in progress, the oldest first.
    pub(super) async fn in_progress(&self) -> Vec<Bytes> {
        let jobs = self.storage.inprogress(&self.held, ALL).await;
        let mut jobs = jobs.expect("read the jobs in progress");
        jobs.reverse();
        jobs
    }

    /// The members of `set` with their scores, the lowest first.
    pub(super) async fn members(&self, set: JobSet) -> Vec<(f64, Bytes)> {
        members(&*self.storage, set).await
    }

    pub(super) async fn heartbeat(&self, ttl: Duration) -> Box<dyn Heartbeat> {
        let heartbeat = self.storage.open_heartbeat(&self.held.node, ttl).await;
        heartbeat.expect("open the heartbeat")
    }
}

/// Moves members of `set` that are due at `now`.
pub(super) async fn promote(
    storage: &dyn Storage,
    set: DueSet,
    now: SystemTime,
    moves: &[Move],
) -> Vec<Settled> {
    let from = Source::Set(set.into());
    storage.move_jobs(&from, moves, Some(now)).await
}

/// A page of a queue, whose jobs have no score.
pub(super) async fn queue_page(storage: &dyn Storage, queue: &QueueName, page: Page) -> Vec<Bytes> {
    let page = storage
        .list(&Source::Queue(queue.clone()), &page.into())
        .await;
    let jobs = page.expect("read a queue").jobs.into_iter();
    jobs.inspect(|waiting| assert_eq!(waiting.score, None))
        .map(|waiting| waiting.job)
        .collect()
}

pub(super) async fn members(storage: &dyn Storage, set: JobSet) -> Vec<(f64, Bytes)> {
    let mut members = Vec::new();
    loop {
        let page = Page {
            offset: members.len(),
            ..ALL
        };
        let page = storage
            .list(&Source::Set(set), &page.into())
            .await
            .expect("read a set")
            .jobs;
        if page.is_empty() {
            return members;
        }
        let score = |member: &WaitingJob| member.score.expect("the score of a member");
        members.extend(page.into_iter().map(|member| (score(&member), member.job)));
    }
}

pub(super) fn queue_name(name: &str) -> QueueName {
    QueueName::new(name).expect("a valid name")
}

pub(super) fn node_id() -> NodeId {
    NodeId::register("web").expect("a valid name")
}

pub(super) fn job(payload: &str) -> Bytes {
    Bytes::copy_from_slice(payload.as_bytes())
}

pub(super) fn bytes(jobs: &[&str]) -> Vec<Bytes> {
    jobs.iter().map(|payload| job(payload)).collect()
}

pub(super) fn numbered(count: usize) -> Vec<Bytes> {
    (0..count)
        .map(|number| Bytes::from(format!("job {number}")))
        .collect()
}

/// Jobs that do not fit in one page: one alone is too large, and some large ones are side by side.
pub(super) fn of_many_sizes() -> Vec<Bytes> {
    let mut jobs = numbered(60);
    for (place, size) in [
        (0, MAX_BATCH_BYTES + 1),
        (3, MAX_BATCH_BYTES / 2),
        (4, MAX_BATCH_BYTES / 2 + 1),
        (20, MAX_BATCH_BYTES),
        (50, MAX_BATCH_BYTES / 2),
    ] {
        let mut job = jobs[place].to_vec();
        job.resize(size, b'x');
        jobs[place] = job.into();
    }
    jobs
}

/// Reads all in pages of up to 40, each of which must be as long as the bounds allow.
pub(super) async fn read_in_pages(read: impl AsyncFn(Page) -> Vec<Bytes>) -> Vec<Bytes> {
    let limit = 40;
    let mut pages: Vec<Vec<Bytes>> = Vec::new();
    loop {
        let offset = pages.iter().map(Vec::len).sum();
        let page = read(Page { offset, limit }).await;
        let bytes: usize = page.iter().map(Bytes::len).sum();
        assert!(page.len() <= 1 || (page.len() <= limit && bytes <= MAX_BATCH_BYTES));
        if let (Some(before), Some(next)) = (pages.last(), page.first()) {
            let bytes: usize = before.iter().chain([next]).map(Bytes::len).sum();
            assert!(before.len() == limit || bytes > MAX_BATCH_BYTES, "{offset}");
        }
        if page.is_empty() {
            return pages.concat();
        }
        pages.push(page);
    }
}

/// `seconds` after a fixed time in the past, exact as a score.
pub(super) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

/// The score of [`at`]`(0)`.
pub(super) const AT_0: f64 = 1_700_000_000.0;

pub(super) fn due(seconds: u64, payload: &str) -> Due {
    Due {
        at: at(seconds),
        job: job(payload),
    }
}

pub(super) fn settlement(held: &str, to: Target) -> Settlement {
    Settlement::new(job(held), to)
}

pub(super) fn dead(seconds: u64, payload: &str) -> Target {
    Target::Dead {
        job: due(seconds, payload),
        limits: NO_LIMITS,
    }
}

/// Every target, for a job that becomes `payload`.
pub(super) fn every_target(payload: &str) -> [Target; 5] {
    [
        Target::Ack,
        Target::Retry(due(1, payload)),
        Target::Schedule(due(1, payload)),
        dead(1, payload),
        Target::Requeue,
    ]
}

/// Looks once.
pub(super) fn look(max_jobs: usize) -> DequeueRequest {
    DequeueRequest {
        max_jobs,
        max_bytes: 1024 * 1024,
        prefetched: 0,
        wait: Duration::ZERO,
        interrupt: CancellationToken::new(),
    }
}

/// Waits for a job, longer than any case.
pub(super) fn wait(interrupt: &CancellationToken) -> DequeueRequest {
    DequeueRequest {
        wait: LONG,
        interrupt: interrupt.clone(),
        ..look(10)
    }
}

/// Fetches once with a wait, which must be answered soon. Once it waits, calls `meanwhile`.
///
/// A backend may give up a wait early, so it asks again as long as it gets nothing.
pub(super) async fn dequeue_while(
    fixture: &mut Fixture<'_>,
    meanwhile: impl AsyncFnOnce(&dyn Storage),
) -> Vec<Bytes> {
    let harness = fixture.harness;
    let storage = Arc::clone(&fixture.storage);
    let interrupt = CancellationToken::new();
    let fetch = async {
        loop {
            let answer = fixture.connection.dequeue(wait(&interrupt)).await;
            let jobs = jobs(answer.expect("dequeue"));
            if !jobs.is_empty() {
                return jobs;
            }
        }
    };
    let act = async {
        harness.dequeue_is_waiting().await;
        meanwhile(&*storage).await;
    };
    soon(async { tokio::join!(fetch, act).0 }).await
}

/// Waits for `future`, which has to complete by itself.
#[track_caller]
pub(super) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    within(PATIENCE, future)
}

#[track_caller]
pub(super) fn jobs(answer: Dequeued) -> Vec<Bytes> {
    match answer {
        Dequeued::Jobs(jobs) => jobs,
        Dequeued::Paused(_) => panic!("the queue is paused"),
        Dequeued::NodeGone => panic!("the node is gone"),
    }
}

/// Asserts that all took effect without a merge.
#[track_caller]
pub(super) fn assert_done(settled: &[Settled]) {
    assert!(!settled.is_empty());
    for (index, settled) in settled.iter().enumerate() {
        assert!(matches!(settled, Settled::Done), "{index}: {settled:?}");
    }
}

#[track_caller]
pub(super) fn assert_not_held(settled: &[Settled]) {
    assert!(!settled.is_empty());
    for (index, settled) in settled.iter().enumerate() {
        assert!(matches!(settled, Settled::NotHeld), "{index}: {settled:?}");
    }
}

#[track_caller]
pub(super) fn assert_failed(settled: &Settled, expected: Applied) {
    match settled {
        Settled::Failed(error) => assert_eq!(error.applied(), expected, "{error:?}"),
        other => panic!("expected a failure, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn assert_refused<T: std::fmt::Debug>(
    answer: Result<T, verk_core::StorageError>,
    expected: Applied,
) {
    match answer {
        Err(error) => assert_eq!(error.applied(), expected, "{error:?}"),
        Ok(answer) => panic!("expected a failure, got {answer:?}"),
    }
}
