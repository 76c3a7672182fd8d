//! Nodes that start and end on one storage or on several: [`Cluster`].

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio_util::task::TaskTracker;
use verk_core::{
    Client, EnqueueExt, Enqueued, Verk, VerkBuilder,
    cron::{CatchUp, Cron, Overlap, Timetable},
    storage::{DueSet, DueStore, EffectStore, StoredCron},
    time::Clock,
};
use verk_testing::VirtualClock;

use crate::{
    faulty_storage::FaultyStorage,
    ledger::{ALL, Balance, Ledger},
    link::{Link, Process},
    node::{Node, NodeClock, Seam, Skew},
    plan::{Cell, Plan, new_cells},
    worker::{Errand, Kind},
};

pub(crate) const NODES: usize = 4;
const PERIOD: Duration = Duration::from_secs(1);
const HEARTBEAT: Duration = Duration::from_secs(3);

/// How long everything may take to end once nothing goes wrong any more, in virtual time: jobs that
/// ran in too many processes that died come back hours apart.
const PATIENCE: Duration = Duration::from_secs(48 * 60 * 60);

/// How long no run may come to an outcome while jobs could run.
const STANDSTILL: Duration = Duration::from_secs(20 * 60);

/// Several nodes, who feeds them, and who lets things go wrong.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) seed: u64,
    jobs: usize,
    pub(crate) clock: VirtualClock,
    pub(crate) cells: Vec<Cell>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) nodes: Arc<Mutex<Vec<Option<Node>>>>,
    /// When each periodic job was due for the first time.
    first_ticks: Arc<Mutex<BTreeMap<String, SystemTime>>>,
    /// Other tasks, until they have ended.
    pub(crate) beside: TaskTracker,
}

impl Cluster {
    pub(crate) fn new(seed: u64, (cells, jobs): (usize, usize), clock: VirtualClock) -> Self {
        let cells = new_cells(cells, &clock);
        Self {
            seed,
            jobs,
            ledger: Arc::new(Ledger::new(jobs, Plan::new(&cells))),
            cells,
            clock,
            nodes: Arc::new(Mutex::new(vec![None; NODES])),
            first_ticks: Arc::default(),
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
            node.links.iter().for_each(|link| link.heal());
        }
        self.end_timetable().await;
        self.end_jobs().await;
        // Until those that died are off the list.
        self.sleep(Duration::from_secs(120)).await;
        self.ledger.nodes_are_there(&self.cells, NODES).await;
        for node in self.all() {
            node.verk.shutdown().await;
        }
        let passed = self.clock.instant() - began;
        self.ledger.balance(&self.cells, passed.as_secs()).await
    }

    /// Waits until all jobs have ended, or no run comes to an outcome any more.
    async fn end_jobs(&self) {
        let until = self.clock.instant() + PATIENCE;
        let (mut outcomes, mut last) = (0, self.clock.instant());
        while self.ledger.open() > 0 && self.clock.instant() < until {
            self.compare_locks().await;
            if self.ledger.outcomes() != outcomes || self.are_due_later().await {
                (outcomes, last) = (self.ledger.outcomes(), self.clock.instant());
            }
            if self.clock.instant() > last + STANDSTILL {
                return;
            }
            self.sleep(Duration::from_secs(30)).await;
        }
    }

    /// Whether jobs wait for their time.
    async fn are_due_later(&self) -> bool {
        let now = self.clock.now();
        for Cell { storage, .. } in &self.cells {
            for set in [DueSet::Schedule, DueSet::Retry] {
                let due = storage.due(set, now, ALL).await.expect("a set");
                if due.next.is_some_and(|next| next > now) {
                    return true;
                }
            }
        }
        false
    }

    pub(crate) fn all(&self) -> Vec<Node> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().flatten().cloned().collect()
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        let clock: &dyn Clock = &self.clock;
        clock.sleep(duration).await;
    }

    /// The links of a new process, one to each cell.
    fn links(&self, far: bool, seed: u64) -> Vec<Arc<Link>> {
        let process = Arc::<Process>::default();
        let link = |cell: usize| {
            Link::new(
                Arc::new(self.clock.clone()),
                Arc::clone(&self.ledger),
                (Arc::clone(&process), cell),
                far,
                seed ^ ((cell as u64) << 32),
            )
        };
        (0..self.cells.len()).map(link).collect()
    }

    /// What a process with these links sees of each cell.
    fn storages(&self, links: &[Arc<Link>]) -> Vec<FaultyStorage> {
        let cells = self.cells.iter().zip(links);
        cells
            .map(|(cell, link)| FaultyStorage::new(cell.clone(), Arc::clone(link)))
            .collect()
    }

    /// Starts a node in this place, again and again until it can.
    pub(crate) async fn start(&self, place: usize, seed: u64) {
        for number in 0.. {
            let seed = seed.wrapping_mul(31).wrapping_add(number);
            let (links, skew) = (self.links(is_far(self.seed), seed), Skew::default());
            let clock = NodeClock {
                shared: self.clock.clone(),
                skew: skew.clone(),
            };
            let builder = (self.ledger.plan())
                .node(self.storages(&links))
                .clock(Arc::new(clock))
                .register::<Errand>()
                .state(Arc::clone(&self.ledger))
                .heartbeat(HEARTBEAT)
                .poll_interval(Duration::from_secs(2))
                .shutdown_timeout(Duration::from_secs(4))
                .max_dead_jobs(usize::MAX)
                .dead_timeout(Duration::from_secs(1_000_000_000))
                // Half of them have names, as in a StatefulSet.
                .node_id(place.is_multiple_of(2).then(|| format!("node-{place}")))
                .for_test(Seam::new(&self.ledger));
            if let Ok(verk) = builder.build().await
                && verk.start().is_ok()
            {
                let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
                nodes[place] = Some(Node { verk, links, skew });
                return;
            }
            // What it had registered by then stays.
            links.iter().for_each(|link| link.kill());
            self.sleep(Duration::from_secs(1)).await;
        }
    }

    /// Enqueues all jobs, in bursts. What may be stored is sometimes sent again.
    async fn produce(&self) {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed ^ 1);
        let plan = self.ledger.plan();
        let storages = self.storages(&self.links(false, self.seed ^ 2));
        let producer = self.producer(|| plan.builder(storages.clone())).await;
        // Programs from when the fleet had one cell.
        let mut of_cells = Vec::new();
        for storage in storages.iter().filter(|_| storages.len() > 1) {
            let builder = || Verk::builder().storage(storage.clone());
            of_cells.push(self.producer(builder).await);
        }
        self.start_timetable(&producer.cron()).await;
        let mut number = 0;
        // With several cells more can go wrong, so they get more time for as many jobs.
        let most = if self.cells.len() == 1 { 80 } else { 16 };
        while number < self.jobs {
            for _ in 0..random.random_range(1..most) {
                if number == self.jobs {
                    break;
                }
                let errand = Errand(number);
                let stray = plan.cell_of_stray(errand).map(|cell| &of_cells[cell]);
                let client = stray.unwrap_or(&producer).client();
                self.store(client, errand, &mut random).await;
                number += 1;
            }
            self.sleep(Duration::from_millis(random.random_range(1..500)))
                .await;
        }
    }

    /// A program that only enqueues.
    async fn producer(&self, builder: impl Fn() -> VerkBuilder) -> Verk {
        loop {
            let builder = builder()
                .clock(Arc::new(self.clock.clone()))
                .for_test(Seam::new(&self.ledger));
            // A call of it may fail as well.
            match builder.build().await {
                Ok(producer) => return producer,
                Err(_) => self.sleep(Duration::from_secs(1)).await,
            }
        }
    }

    async fn store(&self, client: &Client, errand: Errand, random: &mut ChaCha8Rng) {
        loop {
            let mut job = self.ledger.plan().job(errand);
            if let Kind::Scheduled(delay) = errand.kind() {
                job = job.schedule_in(delay);
            }
            let result = match errand.policy() {
                Some(unique) => client.enqueue_unique(job.unique(unique)).await,
                None => client.enqueue(job).await.map(Enqueued::New),
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
    pub(crate) async fn compare_locks(&self) {
        let mut all = Vec::new();
        for Cell { storage, .. } in &self.cells {
            // Not while the storage refuses everything.
            if let Ok(page) = storage.locks(ALL).await {
                all.extend(page.locks);
            }
        }
        self.ledger.compare(&all);
    }

    /// Declares the periodic jobs, again and again until they are stored. They make up for every
    /// run.
    async fn start_timetable(&self, timetable: &Timetable) {
        for (name, queue) in self.ledger.plan().entries() {
            loop {
                let entry = Cron::period(PERIOD)
                    .overlap(Overlap::Allow)
                    .catch_up(CatchUp::All)
                    .within(PATIENCE)
                    .queue(queue.as_str())
                    .job(Errand::periodic(self.jobs));
                let _ = timetable.upsert(&name, entry).await;
                let stored = self.entry(&name).await;
                if let Some(next) = stored.and_then(|stored| stored.next) {
                    self.first_ticks().insert(name, next);
                    break;
                }
                self.sleep(Duration::from_secs(1)).await;
            }
        }
    }

    fn first_ticks(&self) -> MutexGuard<'_, BTreeMap<String, SystemTime>> {
        let first = self.first_ticks.lock();
        first.unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends them. Each run before the next one has been due.
    async fn end_timetable(&self) {
        let mut due = 0;
        let all = self.first_ticks().clone();
        for (name, first) in all {
            let next = self.entry(&name).await.and_then(|stored| stored.next);
            let removed = self.ledger.plan().view().remove_cron(&name).await;
            removed.expect("nothing is wrong any more");
            let passed = next.and_then(|next| next.duration_since(first).ok());
            let passed = passed.expect("a periodic job that runs");
            due += passed.as_secs() / PERIOD.as_secs();
        }
        self.ledger.were_due(due);
    }

    /// A periodic job as it is stored.
    async fn entry(&self, name: &str) -> Option<StoredCron> {
        let view = self.ledger.plan().view();
        let stored = view.cron_named(&[name.to_owned()]).await.ok()?;
        stored.into_iter().flatten().next()
    }
}

/// Whether the cluster is far from its storage, and so has two batches on their way at once: every
/// other one is.
pub(crate) fn is_far(seed: u64) -> bool {
    seed.is_multiple_of(2)
}
