//! What the tests share: a Verk on a storage of its own, and its events.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::{Subscriber, subscriber::DefaultGuard};
use tracing_subscriber::layer::SubscriberExt;
use verk::{
    Event, EventKind, Job, QueueName, Verk, VerkBuilder,
    events::Events,
    storage::{JobSet, Page, Source, WaitingJob},
    time::{Clock, SystemClock},
};
use verk_testing::{MemoryStorage, RedisServer, VirtualClock, within};

use crate::foreign_code::PanicsAtLines;

/// How many parts of a node with one queue sleep while the queue does not wait for a job: the
/// heartbeat, the queue, the schedule, the pauses, the statistics, the process and the watch. With
/// one less asleep, time would outrun the heartbeat, which has a thread of its own.
pub(crate) const SLEEPERS: usize = 7;

/// How long something may take that has to happen soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const ALL: Page = Page {
    offset: 0,
    limit: 1_000_000,
};

/// What the workers of one test tell it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn push(&self, entry: impl Into<String>) {
        self.0.lock().unwrap().push(entry.into());
    }

    pub(crate) fn entries(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Lets workers end when a test says so.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn open(&self) {
        self.0.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// For one worker.
    pub(crate) fn open_once(&self) {
        self.0.add_permits(1);
    }

    pub(crate) async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }

    /// Passes if that is possible at once.
    pub(crate) fn try_pass(&self) -> bool {
        self.0.try_acquire().map(SemaphorePermit::forget).is_ok()
    }
}

/// How many run at once, and the most that did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge(Arc<(AtomicUsize, AtomicUsize)>);

impl Gauge {
    pub(crate) fn enter(&self) {
        self.0.1.fetch_max(
            self.0.0.fetch_add(1, Ordering::SeqCst) + 1,
            Ordering::SeqCst,
        );
    }

    pub(crate) fn leave(&self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

/// A thread that a job keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Thread(Arc<(Mutex<Kept>, Condvar)>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kept {
    #[default]
    NotYet,
    Now,
    NoMore,
}

impl Thread {
    /// Keeps the thread of the caller until it is released.
    pub(crate) fn keep(&self) {
        let (kept, changed) = &*self.0;
        let mut kept = kept.lock().unwrap();
        if *kept == Kept::NotYet {
            *kept = Kept::Now;
        }
        drop(changed.wait_while(kept, |kept| *kept == Kept::Now).unwrap());
    }

    pub(crate) fn is_kept(&self) -> bool {
        *self.0.0.lock().unwrap() == Kept::Now
    }

    pub(crate) fn release(&self) {
        *self.0.0.lock().unwrap() = Kept::NoMore;
        self.0.1.notify_all();
    }

    /// Releases it when a test fails, because its runtime would wait for the thread.
    pub(crate) fn release_on_drop(&self) -> impl Drop + use<> {
        struct Release(Thread);
        impl Drop for Release {
            fn drop(&mut self) {
                self.0.release();
            }
        }
        Release(self.clone())
    }
}

/// Time that passes ten times more slowly. A node decides by how long its steps take, and the tests
/// are not optimised, on a machine that does more than one thing.
#[derive(Debug)]
pub(crate) struct SlowClock(Instant);

impl SlowClock {
    const TIMES: u32 = 10;

    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(SystemClock.instant()))
    }
}

impl Clock for SlowClock {
    fn now(&self) -> SystemTime {
        SystemClock.now()
    }

    fn instant(&self) -> Instant {
        self.0 + self.0.elapsed() / Self::TIMES
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        SystemClock.sleep_until(self.0 + deadline.saturating_duration_since(self.0) * Self::TIMES)
    }
}

/// Everything that the workers of this program ask for.
#[derive(Clone, Debug)]
pub(crate) struct States {
    pub(crate) log: Log,
    pub(crate) gate: Gate,
    pub(crate) gauge: Gauge,
    pub(crate) thread: Thread,
}

impl States {
    pub(crate) fn new() -> Self {
        Self {
            log: Log::default(),
            gate: Gate(Arc::new(Semaphore::new(0))),
            gauge: Gauge::default(),
            thread: Thread::default(),
        }
    }

    pub(crate) fn give(&self, builder: VerkBuilder) -> VerkBuilder {
        crate::foreign_code::panic_if_asked();
        builder
            .state(self.log.clone())
            .state(self.gate.clone())
            .state(self.gauge.clone())
            .state(self.thread.clone())
    }
}

/// A Verk in memory that is not started yet.
pub(crate) struct Fixture {
    pub(crate) verk: Verk,
    pub(crate) events: Events,
    pub(crate) storage: MemoryStorage,
    pub(crate) clock: VirtualClock,
    pub(crate) log: Log,
    pub(crate) gate: Gate,
    pub(crate) gauge: Gauge,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder.queue("default", 5)).await
    }

    /// In virtual time, which stands still until a test moves it, with a heartbeat that it does not
    /// outrun.
    pub(crate) async fn with(configure: impl FnOnce(VerkBuilder) -> VerkBuilder) -> Self {
        let clock = VirtualClock::new();
        let storage = MemoryStorage::new(Arc::new(clock.clone()));
        Self::on_clock(storage, clock, configure).await
    }

    /// In virtual time, on a storage that has something in it.
    pub(crate) async fn on_clock(
        storage: MemoryStorage,
        clock: VirtualClock,
        configure: impl FnOnce(VerkBuilder) -> VerkBuilder,
    ) -> Self {
        let builder = Verk::builder()
            .clock(Arc::new(clock.clone()))
            .heartbeat(Duration::from_secs(365 * 24 * 60 * 60));
        Self::build(configure(builder), storage, clock).await
    }

    /// In real time.
    pub(crate) async fn in_real_time(configure: impl FnOnce(VerkBuilder) -> VerkBuilder) -> Self {
        Self::on(MemoryStorage::default(), configure).await
    }

    /// In real time, on a storage that has something in it.
    pub(crate) async fn on(
        storage: MemoryStorage,
        configure: impl FnOnce(VerkBuilder) -> VerkBuilder,
    ) -> Self {
        Self::build(configure(Verk::builder()), storage, VirtualClock::new()).await
    }

    async fn build(builder: VerkBuilder, storage: MemoryStorage, clock: VirtualClock) -> Self {
        let states = States::new();
        let verk = states
            .give(builder.storage(storage.clone()))
            .build()
            .await
            .unwrap();
        let States {
            log, gate, gauge, ..
        } = states;
        Self {
            events: verk.events(),
            verk,
            storage,
            clock,
            log,
            gate,
            gauge,
        }
    }

    /// Waits until `count` runs have begun.
    pub(crate) async fn wait_for_started(&mut self, count: usize) {
        for _ in 0..count {
            self.wait_for(|event| matches!(event.what, EventKind::JobStarted).then_some(()))
                .await;
        }
    }

    /// Waits for an event that `wanted` finds something in.
    pub(crate) async fn wait_for<T>(&mut self, wanted: impl Fn(Event) -> Option<T>) -> T {
        wait_for(&mut self.events, wanted).await
    }

    /// Waits until `count` runs have ended well.
    pub(crate) async fn wait_for_finished(&mut self, count: usize) {
        for _ in 0..count {
            self.wait_for(|event| {
                matches!(event.what, EventKind::JobFinished { .. }).then_some(())
            })
            .await;
        }
    }

    /// Waits until the next sleeper would wake at that time, and moves the clock to it.
    pub(crate) async fn sleep_until(&self, at: Instant) {
        until(|| self.clock.next_deadline() == Some(at)).await;
        self.clock.advance_to(at);
    }

    /// Lets virtual time pass.
    pub(crate) fn advance(&self, duration: Duration) {
        self.clock.advance(duration);
    }

    pub(crate) async fn set(&self, set: JobSet) -> Vec<Job> {
        let members = self.members(set).await.into_iter();
        let jobs = members.map(|member| Job::decode(member.job).unwrap());
        jobs.collect()
    }

    /// The jobs of a set, with their scores.
    pub(crate) async fn members(&self, set: JobSet) -> Vec<WaitingJob> {
        let set = Source::Set(set);
        self.verk
            .storage()
            .list(&set, &ALL.into())
            .await
            .unwrap()
            .jobs
    }

    pub(crate) async fn set_len(&self, set: JobSet) -> usize {
        self.verk.storage().len(&Source::Set(set)).await.unwrap()
    }

    pub(crate) async fn queued(&self, queue: &str) -> Vec<Bytes> {
        let queue = Source::Queue(queue_name(queue));
        payloads(
            self.verk
                .storage()
                .list(&queue, &ALL.into())
                .await
                .unwrap()
                .jobs,
        )
    }

    /// Nothing is left of any job, and the node is gone.
    pub(crate) async fn assert_empty(&self) {
        self.assert_no_jobs().await;
        self.assert_signed_off().await;
    }

    /// No job waits.
    pub(crate) async fn assert_no_jobs(&self) {
        for set in [JobSet::Schedule, JobSet::Retry, JobSet::Dead] {
            let set = Source::Set(set);
            assert_eq!(self.verk.storage().len(&set).await.unwrap(), 0, "{set}");
        }
        for queue in self.verk.storage().queues().await.unwrap() {
            let queue = Source::Queue(queue);
            assert_eq!(self.verk.storage().len(&queue).await.unwrap(), 0, "{queue}");
        }
    }

    /// The node deregistered, which it cannot while a job is in progress.
    pub(crate) async fn assert_signed_off(&self) {
        assert_eq!(self.verk.storage().nodes().await.unwrap(), []);
    }
}

/// Waits until that is so. It checks again and again, because nothing reports it.
pub(crate) async fn until(reached: impl Fn() -> bool) {
    within(PATIENCE, async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// As [`until`], with pauses, for what servers take seconds to decide.
pub(crate) async fn until_slowly(mut reached: impl FnMut() -> bool) {
    within(PATIENCE, async {
        while !reached() {
            a_moment().await;
        }
    })
    .await;
}

pub(crate) async fn a_moment() {
    let clock: &dyn Clock = &SystemClock;
    clock.sleep(Duration::from_millis(10)).await;
}

/// How far the server is in the stream of writes.
pub(crate) fn offset(server: &RedisServer) -> u64 {
    let info = server.info("replication");
    let offset = info
        .lines()
        .find_map(|it| it.strip_prefix("master_repl_offset:"));
    offset.unwrap().parse().unwrap()
}

/// How often commands were called since the server started, whose names begin with `name`; what the
/// tests themselves ask is left out.
pub(crate) fn calls(server: &RedisServer, name: &str) -> usize {
    let stats = server.info("commandstats");
    let calls = stats.lines().filter_map(|line| {
        let (of, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let counts = of.starts_with(name) && of != "info" && of != "client|list";
        let calls = rest.split(',').next()?.parse::<usize>().ok()?;
        Some(if counts { calls } else { 0 })
    });
    calls.sum()
}

pub(crate) async fn wait_for<T>(events: &mut Events, wanted: impl Fn(Event) -> Option<T>) -> T {
    within(PATIENCE, async {
        loop {
            let event = events
                .recv()
                .await
                .expect("the Verk lives")
                .expect("no event is missed");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    })
    .await
}

/// What is logged on this thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    /// From now on, until the guard is dropped.
    pub(crate) fn capture() -> (Self, DefaultGuard) {
        Self::capture_beside(crate::foreign_code::panicking_layer())
    }

    /// The same, with a layer that is called after a line was kept.
    pub(crate) fn capture_beside(layer: Option<PanicsAtLines>) -> (Self, DefaultGuard) {
        let logged = Self::default();
        let guard = tracing::subscriber::set_default(logged.subscriber(layer));
        (logged, guard)
    }

    /// From now on, on all threads of the process: for one test of a program.
    pub(crate) fn capture_on_all_threads() -> Self {
        let logged = Self::default();
        let layer = crate::foreign_code::panicking_layer();
        tracing::subscriber::set_global_default(logged.subscriber(layer)).unwrap();
        logged
    }

    fn subscriber(&self, layer: Option<PanicsAtLines>) -> impl Subscriber + Send + Sync + use<> {
        let writer = self.clone();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish()
            .with(layer)
    }

    /// How many lines have all of `parts`.
    pub(crate) fn lines_with(&self, parts: &[&str]) -> usize {
        let logged = self.0.lock().unwrap();
        let text = String::from_utf8_lossy(&logged);
        text.lines()
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .count()
    }
}

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn payloads(page: Vec<WaitingJob>) -> Vec<Bytes> {
    page.into_iter().map(|waiting| waiting.job).collect()
}

pub(crate) fn queue_name(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

/// At once: virtual time stands still.
pub(crate) fn at_once(failed_at: SystemTime, _retry_count: u32) -> SystemTime {
    failed_at
}
