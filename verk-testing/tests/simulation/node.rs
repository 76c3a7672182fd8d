//! One process of the cluster: [`Node`].

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use futures_util::future::BoxFuture;
use verk_core::{
    Event, EventKind, Jid, Job, QueueName, Verk,
    error::ConfigError,
    test_seam::{RunFuture, TestSeam},
    time::{Clock, JobWait},
};
use verk_testing::VirtualClock;

use crate::{ledger::Ledger, link::Link};

/// A process that runs queues.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) verk: Verk,
    /// One to each cell.
    pub(crate) links: Vec<Arc<Link>>,
    /// By how much its clock is wrong.
    pub(crate) skew: Skew,
}

impl Node {
    pub(crate) fn is_dead(&self) -> bool {
        self.links[0].is_dead()
    }
}

/// By how many seconds a clock is wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Skew(Arc<AtomicI64>);

impl Skew {
    pub(crate) fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

/// The clock of a machine: its time of day may be wrong.
#[derive(Debug)]
pub(crate) struct NodeClock {
    pub(crate) shared: VirtualClock,
    pub(crate) skew: Skew,
}

impl Clock for NodeClock {
    fn now(&self) -> SystemTime {
        let skew = self.skew.0.load(Ordering::Relaxed);
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

/// Watches a process: it tells the ledger of each start, and counts what runs.
#[derive(Debug)]
pub(crate) struct Seam {
    ledger: Arc<Ledger>,
    running: Arc<Mutex<Running>>,
}

/// What runs in a process.
#[derive(Debug, Default)]
struct Running {
    /// How often the process lost a registration. What ran before may run on, in addition to what
    /// starts afterwards.
    losses: u64,
    /// How many jobs of each queue run that started after so many losses.
    counts: HashMap<(QueueName, u64), usize>,
}

impl Seam {
    pub(crate) fn new(ledger: &Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self {
            ledger: Arc::clone(ledger),
            running: Arc::default(),
        })
    }

    /// A job starts, until the result is dropped.
    fn start(&self, job: &Job) -> Started {
        let queue = job.queue().expect("a job has its queue").clone();
        let most = self.ledger.plan().at_once(&queue);
        let mut running = lock(&self.running);
        let key = (queue, running.losses);
        let count = running.counts.entry(key.clone()).or_default();
        *count += 1;
        if *count > most {
            self.ledger.too_many_at_once();
        }
        Started {
            running: Arc::clone(&self.running),
            key,
        }
    }
}

/// A job that runs.
struct Started {
    running: Arc<Mutex<Running>>,
    key: (QueueName, u64),
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(count) = lock(&self.running).counts.get_mut(&self.key) {
            *count -= 1;
        }
    }
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestSeam for Seam {
    fn event(&self, event: &Event) {
        if let EventKind::NodeLost { .. } = event.what {
            lock(&self.running).losses += 1;
        }
    }

    fn run(&self, job: &Arc<Job>, _: Option<&ConfigError>, run: RunFuture) -> RunFuture {
        self.ledger.started(job.args());
        let started = self.start(job);
        Box::pin(async move {
            let _until_the_end = started;
            run.await
        })
    }

    fn stored(&self, _: Vec<Jid>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn beats(&self) -> bool {
        true
    }
}
