//! The handle of a running verk, and how it is built: [`Verk`] and [`VerkBuilder`].

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    client::{Client, IntoJob},
    clock::{Clock, SystemClock},
    config::Config,
    context::StateMap,
    error::{BuildError, ConfigError, ConfigErrors, EnqueueError, RunError, StorageError},
    event::{EventSender, Events},
    names::{Jid, QueueName},
    node_manager::{Registration, register},
    registry::Registry,
    schedule_manager::ScheduleWake,
    shared::{ServerOffset, Shared},
    signals::{self, Signals},
    stats::{self, Day, DayStats, Stats},
    storage::Storage,
    supervisor::supervise,
    test_seam::{TestParts, TestSeam},
    worker::{Worker, WorkerEntry},
};

/// For how long after the first signal another counts as the same.
const SAME_SIGNAL: Duration = Duration::from_millis(250);

/// A node: it enqueues jobs and, if it has queues, runs them. Cheap to clone.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use verk_core::Verk;
/// use verk_testing::MemoryStorage;
///
/// let verk = Verk::builder().storage(MemoryStorage::default()).queue("default", 25).build().await?;
/// verk.start()?;
/// // ... `MyJob::enqueue(..)` runs here ...
/// verk.shutdown().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Verk {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    client: Client,
    /// Present until the node is started.
    registration: Mutex<Option<Arc<Registration>>>,
    stop: CancellationToken,
    supervisor: TaskTracker,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nobody can ask for a shutdown any more; the supervisor drains by itself if the runtime lives on.
        self.stop.cancel();
    }
}

impl Verk {
    /// Starts to describe a node.
    pub fn builder() -> VerkBuilder {
        VerkBuilder {
            config: Config::default(),
            connect: None,
            clock: Arc::new(SystemClock),
            workers: Vec::new(),
            state: StateMap::default(),
            test: None,
            errors: Vec::new(),
        }
    }

    /// Runs the queues until TERM, INT or a call of [`shutdown`](Self::shutdown), then drains. Another signal, at least a quarter of a second
    /// later, ends the process at once.
    ///
    /// # Errors
    ///
    /// [`RunError`], before anything is started.
    pub async fn run(&self) -> Result<(), RunError> {
        let mut signals = Signals::listen()?;
        self.start()?;
        tokio::select! {
            () = signals.next() => tracing::info!(
                "stopping: running jobs may finish; another signal ends the process at once"
            ),
            () = self.inner.stop.cancelled() => {}
        }
        let another = async {
            // Whoever sends the first to a process and to its group sends it twice.
            self.inner.shared.clock.sleep(SAME_SIGNAL).await;
            let mut signals = Signals::listen()?;
            signals.next().await;
            Ok(())
        };
        tokio::select! {
            () = self.shutdown() => Ok(()),
            another = another => match another {
                Ok(()) => signals::exit_at_once(),
                Err(error) => Err(RunError::Signals(error)),
            },
        }
    }

    /// Runs the queues until `until` completes or [`shutdown`](Self::shutdown) is called, then drains.
    ///
    /// # Errors
    ///
    /// [`RunError`], before anything is started.
    pub async fn run_until(&self, until: impl Future<Output = ()>) -> Result<(), RunError> {
        self.start()?;
        tokio::select! {
            () = until => {}
            () = self.inner.stop.cancelled() => {}
        }
        self.shutdown().await;
        Ok(())
    }

    /// Starts to run the queues in the background. Does nothing when they run already.
    ///
    /// # Errors
    ///
    /// [`RunError::NoQueues`] when there is nothing to run.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(&self) -> Result<(), RunError> {
        if self.inner.shared.config.queues.is_empty() {
            return Err(RunError::NoQueues);
        }
        // Held until the supervisor is there, so that a shutdown waits for it.
        let mut registration = self
            .inner
            .registration
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(registration) = registration.take() {
            let (shared, stop) = (Arc::clone(&self.inner.shared), self.inner.stop.clone());
            self.inner
                .supervisor
                .spawn(supervise(shared, registration, stop));
        }
        Ok(())
    }

    /// Runs another queue, `concurrency` jobs at once. Does nothing when the node runs it already.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is not valid, `concurrency` is 0, or this node was built without queues: such a node only
    /// enqueues.
    pub fn add_queue(&self, name: &str, concurrency: usize) -> Result<(), ConfigError> {
        let name = QueueName::new(name)?;
        if concurrency == 0 {
            return Err(ConfigError::no_concurrency(&name));
        }
        if self.config().queues.is_empty() {
            return Err(ConfigError::EnqueuesOnly);
        }
        self.inner.shared.queues.send_modify(|queues| {
            queues.entry(name).or_insert(concurrency);
        });
        Ok(())
    }

    /// Stops fetching at once, lets running jobs finish for up to `shutdown_timeout`, hands the rest back to the front of their
    /// queues without counting an attempt, and signs off. Returns when all of that is done.
    ///
    /// Works before [`start`](Self::start), and twice.
    ///
    /// # Cancel safety
    ///
    /// The shutdown goes on when the future is dropped.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        let never_started = self
            .inner
            .registration
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(registration) = never_started {
            crate::node_manager::deregister(&self.inner.shared, &registration).await;
        }
        self.inner.supervisor.close();
        self.inner.supervisor.wait().await;
    }

    /// Enqueues a job: see [`Client::enqueue`].
    ///
    /// # Errors
    ///
    /// As [`Client::enqueue`].
    pub async fn enqueue(&self, job: impl IntoJob) -> Result<Jid, EnqueueError> {
        self.client().enqueue(job).await
    }

    /// The client of this node.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// Makes this node's client the one that `MyJob::enqueue(..)` uses in this process. The first `build()` does so by itself.
    pub fn set_default(&self) {
        self.client().set_default();
    }

    /// What was processed so far, by queue and in all, and what waits: read from the storage in few round trips.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// let verk = Verk::builder().storage(MemoryStorage::default()).queue("default", 25).build().await?;
    /// let stats = verk.stats().await?;
    /// assert_eq!((stats.processed, stats.failed, stats.enqueued()), (0, 0, 0));
    /// for queue in &stats.queues {
    ///     println!("{}: {} wait, the oldest for {:?}", queue.queue, queue.enqueued, queue.latency);
    /// }
    /// # verk.shutdown().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails, or a counter is no number.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn stats(&self) -> Result<Stats, StorageError> {
        stats::read(&self.inner.shared).await
    }

    /// What was processed on one day.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn stats_of_day(&self, day: Day) -> Result<DayStats, StorageError> {
        let stats = self.storage().day_stats(&[day]).await?;
        Ok(stats
            .into_iter()
            .next()
            .unwrap_or_else(|| DayStats::new(day, 0, 0)))
    }

    /// What was processed on the last `days` days: today (in UTC) first, no day left out. They are kept for 5 years.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn stats_history(&self, days: usize) -> Result<Vec<DayStats>, StorageError> {
        let shared = &self.inner.shared;
        stats::history(&*shared.storage, shared.now(), days).await
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.inner.shared.events.subscribe()
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.shared.config
    }

    /// The storage.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.inner.shared.storage
    }
}

impl fmt::Debug for Verk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verk")
            .field("config", self.config())
            .field("storage", self.storage())
            .finish_non_exhaustive()
    }
}

/// Something that can be connected to when a [`Verk`] is built.
#[async_trait]
pub trait Connect: fmt::Debug + Send + Sync + 'static {
    /// Connects, and proves that the storage answers.
    ///
    /// # Errors
    ///
    /// When it does not, after a bounded wait, with its address but no password.
    async fn connect(
        &self,
        config: &Config,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn Storage>, StorageError>;
}

/// A storage that is there already.
#[derive(Debug)]
struct Ready(Arc<dyn Storage>);

#[async_trait]
impl Connect for Ready {
    async fn connect(
        &self,
        _: &Config,
        _: Arc<dyn Clock>,
    ) -> Result<Arc<dyn Storage>, StorageError> {
        self.0.server_time().await?;
        Ok(Arc::clone(&self.0))
    }
}

/// Describes a [`Verk`]. Mistakes are collected, and reported together by [`build`](Self::build).
#[derive(Debug)]
#[must_use = "`build()` makes the Verk"]
pub struct VerkBuilder {
    config: Config,
    connect: Option<Box<dyn Connect>>,
    clock: Arc<dyn Clock>,
    workers: Vec<WorkerEntry>,
    state: StateMap,
    test: Option<Arc<dyn TestSeam>>,
    errors: Vec<ConfigError>,
}

impl VerkBuilder {
    /// Replaces the whole configuration, for example by [`Config::from_env`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Uses a storage that is there already.
    pub fn storage(self, storage: impl Storage) -> Self {
        self.connect(Ready(Arc::new(storage)))
    }

    /// Uses what `connect` will connect to. Backends offer a method of their own for this, such as `.redis(url)`.
    pub fn connect(mut self, connect: impl Connect) -> Self {
        self.connect = Some(Box::new(connect));
        self
    }

    /// Runs a queue, `concurrency` jobs at once.
    pub fn queue(mut self, name: &str, concurrency: usize) -> Self {
        match QueueName::new(name) {
            Ok(name) => {
                self.config.queues.insert(name, concurrency);
            }
            Err(error) => self.errors.push(error.into()),
        }
        self
    }

    /// Shares a value with workers that take a `State<T>`. One value of each type.
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.state.insert(value);
        self
    }

    /// Registers a worker that `inventory` cannot see.
    pub fn register<W: Worker>(mut self) -> Self {
        self.workers
            .push(WorkerEntry::of::<W>(std::any::type_name::<W>()));
        self
    }

    /// Sets how often a failed job is tried again if neither the job nor its worker says. Defaults to 25.
    pub fn max_retry_count(mut self, count: u32) -> Self {
        self.config.max_retry_count = count;
        self
    }

    /// Sets the caps of the `dead` set. Defaults to 10 000 jobs and 180 days.
    pub fn dead_set(mut self, max_dead_jobs: usize, dead_timeout: Duration) -> Self {
        self.config.max_dead_jobs = max_dead_jobs;
        self.config.dead_timeout = dead_timeout;
        self
    }

    /// Sets the longest sleep between two looks at the `schedule` and `retry` sets. Defaults to 5 s.
    pub fn poll_interval(mut self, poll_interval: Duration) -> Self {
        self.config.poll_interval = poll_interval;
        self
    }

    /// Gives the node a name with one holder, and with it the jobs that an earlier holder left.
    pub fn node_id(mut self, node_id: impl Into<Option<String>>) -> Self {
        self.config.node_id = node_id.into();
        self
    }

    /// Sets after half of what time without a heartbeat the node counts as dead. Defaults to 30 s.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.config.heartbeat = heartbeat;
        self
    }

    /// Sets how long running jobs may take to finish at shutdown. Defaults to 25 s.
    pub fn shutdown_timeout(mut self, shutdown_timeout: Duration) -> Self {
        self.config.shutdown_timeout = shutdown_timeout;
        self
    }

    /// Sets the largest payload that may be enqueued, in bytes. Defaults to 1 MiB.
    pub fn max_payload_bytes(mut self, max_payload_bytes: usize) -> Self {
        self.config.max_payload_bytes = max_payload_bytes;
        self
    }

    /// Sets what every key of the storage begins with. Defaults to none.
    pub fn prefix(mut self, prefix: impl Into<Option<String>>) -> Self {
        self.config.prefix = prefix.into();
        self
    }

    /// Uses another clock, for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Lets `verk-testing` take hold of the node. It sends no heartbeats and becomes nobody's default; what its workers lack
    /// and which classes are claimed twice is told when it matters to the test, since a test concerns few of a program's
    /// workers.
    #[doc(hidden)]
    pub fn for_test(mut self, test: Arc<dyn TestSeam>) -> Self {
        self.test = Some(test);
        self
    }

    /// Checks everything, connects and, if there are queues to run, registers the node.
    ///
    /// The first Verk of a process becomes the one that `MyJob::enqueue(..)` uses.
    ///
    /// # Errors
    ///
    /// [`BuildError::Config`] with all mistakes; [`BuildError::Storage`] when the storage does not answer;
    /// [`BuildError::NameHeld`] when a living node has the configured `node_id`. Nothing runs then.
    pub async fn build(mut self) -> Result<Verk, BuildError> {
        let mut errors = std::mem::take(&mut self.errors);
        self.config.check(&mut errors);
        let (registry, mistakes) = self.registry();
        let mut of_test = Vec::new();
        match self.test {
            Some(_) => of_test = mistakes,
            None => errors.extend(mistakes),
        }
        let Some(connect) = self.connect else {
            errors.push(ConfigError::NoStorage);
            return Err(ConfigErrors::new(errors).into());
        };
        ConfigErrors::check(errors)?;
        let storage = connect
            .connect(&self.config, Arc::clone(&self.clock))
            .await?;
        let offset = Arc::new(ServerOffset::default());
        let sent = self.clock.now();
        offset.measure(storage.server_time().await?, sent, self.clock.now());
        let wake = ScheduleWake::default();
        let client_of_jobs = Client::with(
            Arc::clone(&storage),
            Arc::clone(&self.clock),
            self.config.max_payload_bytes,
            wake.clone(),
            Arc::clone(&offset),
            of_test.clone(),
        );
        let client = match &self.test {
            Some(test) => client_of_jobs.of_test(Arc::clone(test)),
            None => client_of_jobs.clone(),
        };
        let shared = Arc::new(Shared {
            queues: watch::Sender::new(self.config.queues.clone()),
            storage,
            clock: self.clock,
            config: self.config,
            registry,
            state: Arc::new(self.state),
            client: client_of_jobs,
            events: EventSender::new(self.test.clone()),
            wake,
            offset,
            test: self.test.map(|seam| TestParts::new(seam, of_test)),
        });
        let registration = if shared.config.queues.is_empty() {
            None
        } else {
            Some(register(&shared).await?)
        };
        if shared.test.is_none() {
            client.set_default_if_none();
        }
        let inner = Inner {
            shared,
            client,
            registration: Mutex::new(registration),
            stop: CancellationToken::new(),
            supervisor: TaskTracker::new(),
        };
        Ok(Verk {
            inner: Arc::new(inner),
        })
    }

    /// Collects the workers, and checks what only a node that runs queues needs.
    fn registry(&self) -> (Registry, Vec<ConfigError>) {
        let mut errors = Vec::new();
        let registry = Registry::collect(&self.workers, &mut errors);
        if self.config.queues.is_empty() {
            return (registry, Vec::new());
        }
        for worker in registry.workers() {
            let missing = worker
                .requires()
                .into_iter()
                .filter(|requirement| !self.state.has(requirement));
            errors.extend(missing.map(|requirement| ConfigError::MissingState {
                class: worker.class(),
                location: worker.location(),
                type_name: requirement.type_name(),
            }));
            let queue = worker.options().queue;
            if self.test.is_none() && !self.config.queues.keys().any(|name| name.as_str() == queue)
            {
                tracing::warn!(
                    class = worker.class(),
                    queue,
                    "no queue of this node runs this worker's jobs: add `.queue({queue:?}, 10)` to the builder if no other node does"
                );
            }
        }
        (registry, errors)
    }
}
