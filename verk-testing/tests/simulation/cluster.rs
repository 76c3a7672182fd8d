//! Nodes that start and end on one storage: [`Cluster`].

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use tokio_util::task::TaskTracker;
use verk_core::{
    Client, EnqueueExt, Enqueued, Event, Jid, Job, Verk,
    cron::{CatchUp, Cron, Overlap, Timetable},
    error::ConfigError,
    storage::{CronStore, EffectStore, PauseStore, StoredCron},
    test_seam::{RunFuture, TestSeam},
    time::{Clock, JobWait},
};
use verk_testing::{MemoryStorage, VirtualClock};

use crate::{
    faulty_storage::FaultyStorage,
    ledger::{ALL, Balance, Ledger},
    link::Link,
    trouble::Trouble,
    worker::{Errand, Kind},
};

const NODES: usize = 4;
const QUEUE: &str = "default";
const ENTRY: &str = "beat";
const PERIOD: Duration = Duration::from_secs(1);
const HEARTBEAT: Duration = Duration::from_secs(3);

/// How long everything may take to end once nothing goes wrong any more, in virtual time: jobs that
/// ran in too many processes that died come back hours apart.
const PATIENCE: Duration = Duration::from_secs(48 * 60 * 60);

/// Several nodes, who feeds them, and who lets things go wrong.
#[derive(Clone)]
pub(crate) struct Cluster {
    seed: u64,
    jobs: usize,
    clock: VirtualClock,
    storage: MemoryStorage,
    ledger: Arc<Ledger>,
    nodes: Arc<Mutex<Vec<Option<Node>>>>,
    /// When the periodic job was due for the first time.
    first_tick: Arc<Mutex<Option<SystemTime>>>,
    /// Other tasks, until they have ended.
    beside: TaskTracker,
}

/// A process that runs queues.
#[derive(Clone)]
struct Node {
    verk: Verk,
    link: Arc<Link>,
    skew: Arc<AtomicI64>,
}

impl Cluster {
    pub(crate) fn new(seed: u64, jobs: usize, clock: VirtualClock) -> Self {
        Self {
            seed,
            jobs,
            storage: MemoryStorage::new(Arc::new(clock.clone())),
            clock,
            ledger: Arc::new(Ledger::new(jobs)),
            nodes: Arc::new(Mutex::new(vec![None; NODES])),
            first_tick: Arc::default(),
            beside: TaskTracker::new(),
        }
    }

    /// Lets all jobs run while things go wrong, then lets everything come to its end.
    pub(crate) async fn run(self) -> Balance {
        let began = self.clock.instant();
        for place in 0..NODES {
            self.start(place, self.seed).await;
        }
        tokio::select! {
            () = self.produce() => {}
            () = self.let_things_go_wrong() => {}
        }
        self.beside.close();
        self.beside.wait().await;
        for node in self.all() {
            node.link.heal();
        }
        self.end_timetable().await;
        let until = self.clock.instant() + PATIENCE;
        while self.ledger.open() > 0 && self.clock.instant() < until {
            self.compare_locks().await;
            self.sleep(Duration::from_secs(30)).await;
        }
        // Until those that died are off the list.
        self.sleep(Duration::from_secs(120)).await;
        for node in self.all() {
            node.verk.shutdown().await;
        }
        let passed = self.clock.instant() - began;
        self.ledger.balance(&self.storage, passed.as_secs()).await
    }

    fn all(&self) -> Vec<Node> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().flatten().cloned().collect()
    }

    async fn sleep(&self, duration: Duration) {
        let clock: &dyn Clock = &self.clock;
        clock.sleep(duration).await;
    }

    /// Starts a node in this place, again and again until it can.
    async fn start(&self, place: usize, seed: u64) {
        for number in 0.. {
            let storage = FaultyStorage::new(
                self.storage.clone(),
                Arc::new(self.clock.clone()),
                Arc::clone(&self.ledger),
                is_far(self.seed),
                seed.wrapping_mul(31).wrapping_add(number),
            );
            let (link, skew) = (storage.link(), Arc::<AtomicI64>::default());
            let clock = NodeClock {
                shared: self.clock.clone(),
                skew: Arc::clone(&skew),
            };
            let builder = Verk::builder()
                .storage(storage)
                .clock(Arc::new(clock))
                .queue(QUEUE, 20)
                .register::<Errand>()
                .state(Arc::clone(&self.ledger))
                .heartbeat(HEARTBEAT)
                .poll_interval(Duration::from_secs(2))
                .shutdown_timeout(Duration::from_secs(4))
                .max_dead_jobs(usize::MAX)
                .dead_timeout(Duration::from_secs(1_000_000_000))
                // Half of them have names, as in a StatefulSet.
                .node_id(place.is_multiple_of(2).then(|| format!("node-{place}")))
                .for_test(Arc::new(Seam(Arc::clone(&self.ledger))));
            if let Ok(verk) = builder.build().await
                && verk.start().is_ok()
            {
                let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
                nodes[place] = Some(Node { verk, link, skew });
                return;
            }
            // What it had registered by then stays.
            link.kill();
            self.sleep(Duration::from_secs(1)).await;
        }
    }

    /// Enqueues all jobs, in bursts. What may be stored is sometimes sent again.
    async fn produce(&self) {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed ^ 1);
        let storage = FaultyStorage::new(
            self.storage.clone(),
            Arc::new(self.clock.clone()),
            Arc::clone(&self.ledger),
            false,
            self.seed ^ 2,
        );
        let producer = loop {
            let builder = Verk::builder()
                .storage(storage.clone())
                .clock(Arc::new(self.clock.clone()))
                .for_test(Arc::new(Seam(Arc::clone(&self.ledger))));
            // A call of it may fail as well.
            match builder.build().await {
                Ok(producer) => break producer,
                Err(_) => self.sleep(Duration::from_secs(1)).await,
            }
        };
        self.start_timetable(&producer.cron()).await;
        let mut number = 0;
        while number < self.jobs {
            for _ in 0..random.random_range(1..80) {
                if number == self.jobs {
                    break;
                }
                self.store(producer.client(), Errand(number), &mut random)
                    .await;
                number += 1;
            }
            self.sleep(Duration::from_millis(random.random_range(1..500)))
                .await;
        }
    }

    async fn store(&self, client: &Client, errand: Errand, random: &mut ChaCha8Rng) {
        loop {
            let delay = match errand.kind() {
                Kind::Scheduled(delay) => delay,
                _ => Duration::ZERO,
            };
            let result = match errand.policy() {
                Some(unique) if delay > Duration::ZERO => {
                    let job = errand.schedule_in(delay).unique(unique);
                    client.enqueue_unique(job).await
                }
                Some(unique) => client.enqueue_unique(errand.unique(unique)).await,
                None if delay > Duration::ZERO => client
                    .enqueue(errand.schedule_in(delay))
                    .await
                    .map(Enqueued::New),
                None => client.enqueue(errand).await.map(Enqueued::New),
            };
            match result {
                Ok(Enqueued::Duplicate { .. }) => return,
                Ok(_) => return self.ledger.promised(errand),
                Err(error) if error.may_be_stored() && random.random_bool(0.5) => {
                    return;
                }
                Err(_) => self.sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Compares the locks with the books; nothing happens meanwhile.
    async fn compare_locks(&self) {
        // Not while the storage refuses everything.
        if let Ok(locks) = self.storage.locks(ALL).await {
            self.ledger.compare(&locks.locks);
        }
    }

    /// Declares the periodic job, again and again until that is stored. It makes up for every run.
    async fn start_timetable(&self, timetable: &Timetable) {
        loop {
            let entry = Cron::period(PERIOD)
                .overlap(Overlap::Allow)
                .catch_up(CatchUp::All)
                .within(PATIENCE)
                .queue(QUEUE)
                .job(Errand::periodic(self.jobs));
            let _ = timetable.upsert(ENTRY, entry).await;
            let stored = self.entry().await;
            if let Some(next) = stored.and_then(|stored| stored.next) {
                let mut first = self
                    .first_tick
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *first = Some(next);
                return;
            }
            self.sleep(Duration::from_secs(1)).await;
        }
    }

    /// Ends it. Each run before the next one has been due.
    async fn end_timetable(&self) {
        let next = self.entry().await.and_then(|stored| stored.next);
        self.storage
            .remove_cron(ENTRY)
            .await
            .expect("nothing is wrong any more");
        let first = *self
            .first_tick
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let passed = next
            .zip(first)
            .and_then(|(next, first)| next.duration_since(first).ok());
        let passed = passed.expect("a periodic job that runs");
        self.ledger.were_due(passed.as_secs() / PERIOD.as_secs());
    }

    /// The periodic job as it is stored.
    async fn entry(&self) -> Option<StoredCron> {
        let stored = self.storage.cron_named(&[ENTRY.to_owned()]).await.ok()?;
        stored.into_iter().flatten().next()
    }

    /// Causes one fault after the other, forever.
    async fn let_things_go_wrong(&self) {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        loop {
            self.sleep(Duration::from_millis(random.random_range(100..4_000)))
                .await;
            self.compare_locks().await;
            let trouble = *Trouble::ALL.choose(&mut random).expect("some");
            let place = random.random_range(0..NODES);
            let time = Duration::from_millis(random.random_range(100..15_000));
            let seed = random.random();
            let (cluster, node) = (self.clone(), self.node(place));
            self.beside.spawn(async move {
                cluster.strike(trouble, node, place, time, seed).await;
            });
        }
    }

    fn node(&self, place: usize) -> Option<Node> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes[place].clone()
    }

    async fn strike(
        &self,
        trouble: Trouble,
        node: Option<Node>,
        place: usize,
        time: Duration,
        seed: u64,
    ) {
        // There is none while one starts.
        let Some(node) = node else { return };
        if node.link.is_dead() {
            return;
        }
        self.ledger.struck(trouble);
        let faults = self.storage.faults();
        let queue = QUEUE.parse().expect("a name");
        match trouble {
            Trouble::Kill | Trouble::KillInCall | Trouble::Deploy => {
                self.replace(trouble, node, place, time, seed).await;
            }
            Trouble::Freeze => node.link.freeze(time),
            Trouble::Partition => node.link.cut(time),
            Trouble::HeartbeatsLost => node.link.lose_heartbeats(time),
            Trouble::Refuse => {
                self.all().iter().for_each(|node| node.link.trouble());
                faults.set_refusing(true);
                self.sleep(time).await;
                faults.set_refusing(false);
            }
            Trouble::Full => {
                faults.set_full(true);
                self.sleep(time).await;
                faults.set_full(false);
            }
            Trouble::PauseEverywhere => {
                let _ = self.storage.pause(&queue, &Bytes::new()).await;
                self.sleep(time).await;
                while self.storage.resume(&queue).await.is_err() {
                    self.sleep(Duration::from_secs(1)).await;
                }
            }
            Trouble::Pause => {
                let _ = node.verk.pause_queue(QUEUE);
                self.sleep(time).await;
                let _ = node.verk.resume_queue(QUEUE);
            }
            Trouble::ClockOfNode => {
                let seconds = i64::try_from(time.as_millis()).unwrap_or_default() - 7_500;
                node.skew.store(seconds, Ordering::Relaxed);
            }
            Trouble::Clocks => {
                let seconds = time / 4;
                let now = self.clock.now();
                self.clock.set(if seed.is_multiple_of(2) {
                    now + seconds
                } else {
                    now - seconds
                });
            }
            Trouble::CallRefused | Trouble::CallLost | Trouble::ReplyLost | Trouble::Delay => {}
        }
    }

    /// Ends a process, and starts another in its place.
    async fn replace(&self, trouble: Trouble, node: Node, place: usize, time: Duration, seed: u64) {
        {
            let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            nodes[place] = None;
        }
        match trouble {
            Trouble::Kill => node.link.kill(),
            Trouble::KillInCall => {
                node.link.kill_in_call();
                self.sleep(time).await;
                node.link.kill();
            }
            _ => {
                // What it cannot sign off is given to others.
                node.link.trouble();
                node.verk.shutdown().await;
                node.link.kill();
            }
        }
        self.sleep(time / 2).await;
        self.start(place, seed).await;
        // Its tasks end, which reach nothing any more.
        node.verk.shutdown().await;
    }
}

/// Whether the cluster is far from its storage, and so has two batches on their way at once: every
/// other one is.
pub(crate) fn is_far(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

/// The clock of a machine: its time of day may be wrong.
#[derive(Debug)]
struct NodeClock {
    shared: VirtualClock,
    /// By how many seconds.
    skew: Arc<AtomicI64>,
}

impl Clock for NodeClock {
    fn now(&self) -> SystemTime {
        let skew = self.skew.load(Ordering::Relaxed);
        let by = Duration::from_secs(skew.unsigned_abs());
        let now = self.shared.now();
        if skew < 0 { now - by } else { now + by }
    }

    fn instant(&self) -> Instant {
        self.shared.instant()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        self.shared.sleep_until(deadline)
    }

    fn sleep_job_until(&self, deadline: Instant, wait: JobWait<'_>) -> BoxFuture<'static, ()> {
        self.shared.sleep_job_until(deadline, wait)
    }
}

/// Tells the ledger of each start.
#[derive(Debug)]
struct Seam(Arc<Ledger>);

impl TestSeam for Seam {
    fn event(&self, _: &Event) {}

    fn run(&self, job: &Arc<Job>, _: Option<&ConfigError>, run: RunFuture) -> RunFuture {
        self.0.started(job.args());
        run
    }

    fn stored(&self, _: Vec<Jid>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn beats(&self) -> bool {
        true
    }
}
