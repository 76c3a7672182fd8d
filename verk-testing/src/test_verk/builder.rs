//! How a [`TestVerk`] is made.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use verk_core::{
    Verk, VerkBuilder, Worker,
    middleware::{ClientMiddleware, ServerMiddleware},
};

use super::{
    TestVerk,
    engine::{Engine, Settings},
    ledger::Ledger,
};
use crate::{MemoryStorage, VirtualClock};

/// How many jobs of a queue run at once in inline mode: more than jobs that enqueue each other and
/// wait for it.
const INLINE_CONCURRENCY: usize = 100;

/// How long nothing may happen in real time before a running job counts as hung.
pub(crate) const HANG_AFTER: Duration = Duration::from_secs(1);

/// Describes a [`TestVerk`].
///
/// ```
/// use std::time::Duration;
/// use verk_testing::TestVerk;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let verk = TestVerk::builder()
///     .state("a database pool".to_owned())
///     .queue("mailers", 10)
///     .max_retry_count(3)
///     .deadline(Duration::from_secs(60))
///     .build();
/// # drop(verk);
/// # }
/// ```
#[derive(Debug)]
#[must_use = "`build()` makes the TestVerk"]
pub struct TestVerkBuilder {
    builder: VerkBuilder,
    clock: VirtualClock,
    queues: BTreeMap<String, usize>,
    periodic: BTreeSet<&'static str>,
    inline: bool,
    concurrency: Option<usize>,
    deadline: Duration,
    hang_after: Duration,
}

impl TestVerkBuilder {
    pub(super) fn new() -> Self {
        Self {
            builder: Verk::builder(),
            clock: VirtualClock::new(),
            queues: BTreeMap::new(),
            periodic: BTreeSet::new(),
            inline: false,
            concurrency: None,
            deadline: Duration::from_secs(10),
            hang_after: HANG_AFTER,
        }
    }

    /// Shares a value with workers that take a `State<T>`. There is one value of each type. State
    /// that only workers of other tests need can be left out.
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.builder = self.builder.state(value);
        self
    }

    /// Registers a worker that has no `#[verk::worker]`.
    pub fn register<W: Worker>(mut self) -> Self {
        self.builder = self.builder.register::<W>();
        self
    }

    /// Lets the periodic jobs of this worker run: [`advance`](TestVerk::advance) takes each run
    /// that it declares. Those of other workers of the program do not run in a test.
    #[cfg(feature = "cron")]
    pub fn cron<W: Worker>(mut self) -> Self {
        self.periodic.insert(W::CLASS);
        self.register::<W>()
    }

    /// Wraps every run, as in production.
    pub fn server_middleware(mut self, middleware: impl ServerMiddleware) -> Self {
        self.builder = self.builder.server_middleware(middleware);
        self
    }

    /// Lets every job that is enqueued pass `middleware`, as in production.
    pub fn client_middleware(mut self, middleware: impl ClientMiddleware) -> Self {
        self.builder = self.builder.client_middleware(middleware);
        self
    }

    /// Runs each job when it is enqueued: the enqueue returns once the job, and the jobs that it
    /// enqueued, have run.
    ///
    /// A job that fails, snoozes or is scheduled waits for [`advance`](TestVerk::advance).
    pub fn inline(mut self) -> Self {
        self.inline = true;
        self
    }

    /// Runs at most `concurrency` jobs of this queue at once. You need not name every queue: each
    /// queue with jobs is run.
    pub fn queue(mut self, name: &str, concurrency: usize) -> Self {
        self.queues.insert(name.to_owned(), concurrency);
        self
    }

    /// Sets how many jobs of one queue run at once. Defaults to 1, so that the jobs of a queue run
    /// one after the other in the order in which they were enqueued; to 100 in inline mode.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = Some(concurrency);
        self
    }

    /// Sets how often a failed job is retried if neither the job nor its worker has a number.
    /// Defaults to 25, as in production.
    pub fn max_retry_count(mut self, count: u32) -> Self {
        self.builder = self.builder.max_retry_count(count);
        self
    }

    /// Sets the largest payload that may be enqueued, in bytes. Defaults to 1 MiB, as in
    /// production.
    pub fn max_payload_bytes(mut self, max_payload_bytes: usize) -> Self {
        self.builder = self.builder.max_payload_bytes(max_payload_bytes);
        self
    }

    /// Sets the time of day at which the test begins. Defaults to 2025-01-01 00:00:00 UTC.
    pub fn starting_at(mut self, time_of_day: SystemTime) -> Self {
        self.clock = VirtualClock::starting_at(time_of_day);
        self
    }

    /// Sets after how much real time a call that runs jobs gives up. Defaults to 10 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets after how much real time in which nothing happens [`advance`](TestVerk::advance) moves
    /// on to the `timeout` of a running job. Defaults to 1 s. Raise it for workers that wait longer
    /// for a real server.
    pub fn hang_after(mut self, hang_after: Duration) -> Self {
        self.hang_after = hang_after;
        self
    }

    /// Installs it for this tokio runtime, or for this thread outside of one.
    ///
    /// # Panics
    ///
    /// When one is already installed, with both places; when a queue's name or concurrency is not
    /// valid.
    #[must_use]
    #[track_caller]
    pub fn build(self) -> TestVerk {
        let default = if self.inline { INLINE_CONCURRENCY } else { 1 };
        let settings = Settings {
            concurrency: self.concurrency.unwrap_or(default),
            deadline: self.deadline,
            hang_after: self.hang_after,
        };
        let mut queues = self.queues;
        queues
            .entry("default".to_owned())
            .or_insert(settings.concurrency);
        let builder = queues
            .iter()
            .fold(self.builder, |builder, (queue, concurrency)| {
                builder.queue(queue, *concurrency)
            });
        let storage = MemoryStorage::new(Arc::new(self.clock.clone()));
        let ledger = Arc::new(Ledger::declaring(self.periodic));
        let engine = Engine::new(builder, storage, self.clock, Arc::clone(&ledger), settings);
        if self.inline {
            ledger.run_inline(Arc::downgrade(&engine));
        }
        TestVerk::install(engine)
    }
}
