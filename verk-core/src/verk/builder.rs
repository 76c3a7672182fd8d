//! How a [`Verk`] is built: [`VerkBuilder`].

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::{
    client::{
        self, Client,
        current::Life,
        middleware::{ClientMiddleware, ClientStack},
    },
    config::{Config, log_level::LogLevel, program::warn_of_program, unknown_class::UnknownClass},
    error::{BuildError, ConfigError, ConfigErrors, StorageError},
    events::{EventSender, Witness, tally::Tallies},
    health::monitor::Monitor,
    job::{Dialect, TimeFormat},
    log,
    names::QueueName,
    node::heartbeat::register,
    queues::{Queues, blocked},
    services::Services,
    storage::{ScheduleKeys, Storage},
    test_seam::{TestParts, TestSeam},
    time::{
        alarm::ScheduleWake,
        clock::{Clock, SystemClock},
        server_time::{ClockReading, ServerTime},
    },
    verk::{Verk, parts::Parts},
    worker::{
        Worker, WorkerEntry,
        context::StateMap,
        middleware::{ServerMiddleware, ServerStack},
        registry::Registry,
        workforce::Workforce,
    },
};

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
    server_middleware: ServerStack,
    client_middleware: ClientStack,
    test: Option<Arc<dyn TestSeam>>,
    errors: Vec<ConfigError>,
}

impl VerkBuilder {
    pub(crate) fn new() -> Self {
        Self {
            config: Config::default(),
            connect: None,
            clock: Arc::new(SystemClock),
            workers: Vec::new(),
            state: StateMap::default(),
            server_middleware: ServerStack::default(),
            client_middleware: ClientStack::default(),
            test: None,
            errors: Vec::new(),
        }
    }

    /// Replaces the whole configuration, for example by [`Config::from_env`]. Call it first: what is set after it stays.
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

    /// Wraps every run on this node, inside of the server middleware that was given before.
    pub fn server_middleware(mut self, middleware: impl ServerMiddleware) -> Self {
        self.server_middleware.push(middleware);
        self
    }

    /// Lets every job that this Verk's client enqueues pass `middleware`, after the client middleware that was given before.
    pub fn client_middleware(mut self, middleware: impl ClientMiddleware) -> Self {
        self.client_middleware.push(middleware);
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

    /// Sets how late a job may start that no running node knew of; also the longest sleep between two looks at the `schedule` and `retry` sets. Defaults to 5 s.
    pub fn poll_interval(mut self, poll_interval: Duration) -> Self {
        self.config.poll_interval = poll_interval;
        self
    }

    /// Sets at which level of `tracing` the start of a job is logged. Defaults to debug.
    pub fn start_job_log_level(mut self, level: LogLevel) -> Self {
        self.config.start_job_log_level = level;
        self
    }

    /// Sets at which level the end of a job is logged that did not fail. Defaults to info.
    pub fn done_job_log_level(mut self, level: LogLevel) -> Self {
        self.config.done_job_log_level = level;
        self
    }

    /// Sets at which level a failure is logged after which the job is tried again. Defaults to warn.
    pub fn fail_job_log_level(mut self, level: LogLevel) -> Self {
        self.config.fail_job_log_level = level;
        self
    }

    /// Sets at which level the last failure of a job is logged: error or warn. Defaults to error.
    pub fn dead_job_log_level(mut self, level: LogLevel) -> Self {
        self.config.dead_job_log_level = level;
        self
    }

    /// Gives the node a name with one holder, and with it the jobs that an earlier holder left.
    pub fn node_id(mut self, node_id: impl Into<Option<String>>) -> Self {
        self.config.node_id = node_id.into();
        self
    }

    /// Sets whether the node goes by the host's name even if there is a `node_id`. Without a `node_id` it cannot be `false`.
    pub fn generate_node_id(mut self, generate_node_id: impl Into<Option<bool>>) -> Self {
        self.config.generate_node_id = generate_node_id.into();
        self
    }

    /// Sets after half of what time without a heartbeat the node counts as dead. Defaults to 30 s.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.config.heartbeat = heartbeat;
        self
    }

    /// Sets with how many dead processes that ran it a job is a poison pill, and goes to the `dead` set; 0 for never. Defaults to 3.
    pub fn poison_pill_after(mut self, deaths: u32) -> Self {
        self.config.poison_pill_after = deaths;
        self
    }

    /// Sets what becomes of a job whose class no worker of this program has. Defaults to a failure, as any other.
    ///
    /// ```
    /// use std::time::Duration;
    /// use verk_core::{UnknownClass, Verk};
    ///
    /// // While nodes that have the new classes replace those that have not.
    /// let builder = Verk::builder().unknown_class(UnknownClass::RequeueAfter(Duration::from_secs(30)));
    /// # drop(builder);
    /// ```
    pub fn unknown_class(mut self, unknown_class: UnknownClass) -> Self {
        self.config.unknown_class = unknown_class;
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

    /// Sets how many lines of a failure's backtrace are kept in the job. Defaults to 5.
    pub fn failed_job_stacktrace_size(mut self, lines: usize) -> Self {
        self.config.failed_job_stacktrace_size = lines;
        self
    }

    /// Sets whose job format the jobs have that this program makes. Defaults to [`Dialect::Sidekiq`].
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.config.dialect = dialect;
        self
    }

    /// Sets how times are written in jobs of Sidekiq's dialect. Defaults to [`TimeFormat::Seconds`].
    pub fn time_format(mut self, time_format: TimeFormat) -> Self {
        self.config.time_format = time_format;
        self
    }

    /// Sets whether to run no queues, whatever else says. Defaults to `false`.
    pub fn disabled(mut self, disabled: bool) -> Self {
        self.config.disabled = disabled;
        self
    }

    /// Sets what every key of the storage begins with. Defaults to none.
    pub fn prefix(mut self, prefix: impl Into<Option<String>>) -> Self {
        self.config.prefix = prefix.into();
        self
    }

    /// Sets in which sets of the storage jobs wait for their time. Defaults to [`ScheduleKeys::Shared`].
    pub fn schedule_keys(mut self, schedule_keys: ScheduleKeys) -> Self {
        self.config.schedule_keys = schedule_keys;
        self
    }

    /// Sets whether the process shows itself and its running jobs to Sidekiq Web, if it runs queues. Defaults to `true`.
    pub fn process_registry(mut self, process_registry: bool) -> Self {
        self.config.process_registry = process_registry;
        self
    }

    /// Sets what Sidekiq Web shows beside the name of the process. Defaults to none: the name of the program.
    pub fn tag(mut self, tag: impl Into<Option<String>>) -> Self {
        self.config.tag = tag.into();
        self
    }

    /// Sets the labels that Sidekiq Web shows beside the tag. Defaults to none.
    pub fn labels(mut self, labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.config.labels = labels.into_iter().map(Into::into).collect();
        self
    }

    /// Sets whether running jobs are also shown where Sidekiq before 6.4.2 looks for them. Defaults to `false`.
    pub fn sidekiq_6_work(mut self, sidekiq_6_work: bool) -> Self {
        self.config.sidekiq_6_work = sidekiq_6_work;
        self
    }

    /// Sets whether the runs of each class and their times are stored by the minute, for the page *Metrics* of Sidekiq 8.
    /// Defaults to `false`.
    pub fn execution_metrics(mut self, execution_metrics: bool) -> Self {
        self.config.execution_metrics = execution_metrics;
        self
    }

    /// Uses another clock, for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Lets `verk-testing` take hold of the node. It sends no heartbeats, unless
    /// the test wants them, and becomes nobody's default; what its workers lack
    /// and which classes are claimed twice is told when it matters to the test, since a test concerns few of a program's
    /// workers.
    #[doc(hidden)]
    pub fn for_test(mut self, test: Arc<dyn TestSeam>) -> Self {
        self.test = Some(test);
        self
    }

    /// Checks everything, connects and, if there are queues to run, registers the node.
    ///
    /// `MyJob::enqueue(..)` uses the client of the newest Verk, until that is shut down or dropped: keep
    /// what this returns. [`Client::current`] says more.
    ///
    /// # Errors
    ///
    /// [`BuildError::Config`] with all mistakes; [`BuildError::Storage`] when the storage does not answer;
    /// [`BuildError::NameHeld`] when a living node has the configured `node_id`. Nothing runs then.
    pub async fn build(mut self) -> Result<Verk, BuildError> {
        let mut errors = std::mem::take(&mut self.errors);
        self.config.check(&mut errors);
        if self.config.disabled {
            log::info!("disabled: no queues run, this node only enqueues");
            self.config.queues.clear();
        }
        let (registry, mistakes) = self.registry();
        if !self.config.queues.is_empty() {
            warn_of_program(
                cfg!(panic = "abort"),
                self.test.is_some() || registry.len() != 0,
            );
        }
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
        let server_time = Arc::new(ServerTime::default());
        let asked = ClockReading::now(&*self.clock);
        // Nobody listens to events yet: the log tells of a skew.
        let _ = server_time.measure(storage.server_time().await?, asked, &*self.clock);
        let wake = ScheduleWake::new(self.config.poll_interval);
        let monitor = Monitor::default();
        let tallies = Arc::<Tallies>::default();
        let client_of_jobs = Client::with(client::ClientData {
            storage: Arc::clone(&storage),
            clock: Arc::clone(&self.clock),
            max_payload_bytes: self.config.max_payload_bytes,
            form: self.config.form(),
            dead_limits: self.config.dead_limits(),
            middleware: self.client_middleware,
            wake: wake.clone(),
            server_time: Arc::clone(&server_time),
            link: Arc::clone(&monitor.enqueue),
            tallies: Arc::clone(&tallies),
            life: Life::begin(),
            duplicates: of_test.clone(),
        });
        let client = match &self.test {
            Some(test) => client_of_jobs.of_test(Arc::clone(test)),
            None => client_of_jobs.clone(),
        };
        let test_events = self.test.clone().map(|test| {
            let told: Arc<Witness> = Arc::new(move |event| test.event(event));
            told
        });
        let queues = Arc::new(Queues::new(&self.config.queues));
        let services = Arc::new(Services {
            storage,
            clock: self.clock,
            config: self.config,
            events: EventSender::new(test_events),
            tallies,
            wake,
            found_paused: Notify::new(),
            server_time,
            monitor,
            test: self.test.map(|seam| TestParts::new(seam, of_test)),
        });
        let workforce = Workforce {
            services: Arc::clone(&services),
            registry,
            middleware: self.server_middleware,
            state: Arc::new(self.state),
            client: client_of_jobs,
        };
        let registration = if services.config.queues.is_empty() {
            None
        } else {
            let watch = blocked::watch(Arc::clone(&queues));
            Some(register(&services, &queues.names(), watch).await?)
        };
        if services.test.is_none() {
            client.announce();
        }
        let parts = Parts {
            services,
            workforce: Arc::new(workforce),
            queues,
            live: Arc::default(),
        };
        Ok(Verk::new(parts, client, registration))
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
                log::warn!(
                    class = worker.class(),
                    queue,
                    "no queue of this node runs this worker's jobs: add `.queue({queue:?}, 10)` to the builder if no other node does"
                );
            }
        }
        (registry, errors)
    }
}

impl Verk {
    /// Starts to describe a node.
    pub fn builder() -> VerkBuilder {
        VerkBuilder::new()
    }
}
