//! How a [`Verk`] is built: [`VerkBuilder`].

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::Notify;
use tracing::level_filters::LevelFilter;

use crate::{
    cells::Cells,
    client::{
        self, Client,
        current::Life,
        middleware::{ClientMiddleware, ClientStack},
    },
    config::{Config, declare::settings_methods, settings::settings, unknown_class::UnknownClass},
    error::{BuildError, ConfigError, ConfigErrors, StorageError},
    events::{EventSender, Witness},
    health::monitor::Monitor,
    job::{Dialect, TimeFormat},
    log,
    names::QueueName,
    node::{
        beats::HeartbeatThread,
        heartbeat::{deregister, host_name},
        registration::Registration,
    },
    queues::all::AllQueues,
    services::{Essentials, LastBeat, Services},
    stats::counters::LiveCounters,
    storage::{ScheduleKeys, Storage},
    test_seam::{TestParts, TestSeam},
    time::{
        clock::{Clock, SystemClock},
        server_time::ClockReading,
    },
    timetable::Declared,
    verk::{
        Verk, declare,
        parts::{CellParts, Parts},
        startup::warn_of_program,
    },
    worker::{
        Worker, WorkerEntry,
        context::{Reach, StateMap},
        middleware::{ServerMiddleware, ServerStack},
        registry::Registry,
        workforce::Workforce,
    },
};

settings! {
    settings_methods!

    impl VerkBuilder [.config];
}

/// One storage, or several [cells](Cells), that [`build`](VerkBuilder::build) connects to.
#[async_trait]
pub trait Connect: fmt::Debug + Send + Sync + 'static {
    /// Connects, and proves that each storage answers.
    ///
    /// # Errors
    ///
    /// When a storage does not answer, after a bounded wait, with its address but no password.
    async fn connect(&self, config: &Config, clock: Arc<dyn Clock>) -> Result<Cells, StorageError>;
}

/// Storages that are already open.
#[derive(Debug)]
struct OpenStorages(Cells);

#[async_trait]
impl Connect for OpenStorages {
    async fn connect(&self, _: &Config, _: Arc<dyn Clock>) -> Result<Cells, StorageError> {
        for storage in self.0.storages() {
            storage.server_time().await?;
        }
        Ok(self.0.clone())
    }
}

/// Describes a [`Verk`]. It collects errors, and [`build`](Self::build) reports them together.
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

    /// Replaces the whole configuration, for example by [`Config::from_env`]. Call it first:
    /// settings that you change after it stay.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Uses a storage that is already open.
    pub fn storage(self, storage: impl Storage) -> Self {
        self.cells(Cells::new(Arc::new(storage)))
    }

    /// Spreads the queues over several storages that are already open.
    pub fn cells(self, cells: Cells) -> Self {
        self.connect(OpenStorages(cells))
    }

    /// Uses the storage that `connect` will connect to. Backends have a method of their own for
    /// this, such as `.redis(url)`.
    pub fn connect(mut self, connect: impl Connect) -> Self {
        self.connect = Some(Box::new(connect));
        self
    }

    /// Runs a queue, `concurrency` jobs at once, in addition to the queues before.
    pub fn queue(mut self, name: &str, concurrency: usize) -> Self {
        match QueueName::new(name) {
            Ok(name) => {
                self.config.queues.insert(name, concurrency);
            }
            Err(error) => self.errors.push(error.into()),
        }
        self
    }

    /// Lets a queue lie in so many of several [cells](Cells), because one cannot take all of its
    /// jobs. All programs that enqueue such jobs or run the queue need it; one without it still
    /// finds all jobs. Jobs of a spread queue have no order among each other, except those with the
    /// same [`partition_key`](crate::EnqueueExt::partition_key). With one cell it does nothing.
    pub fn spread_queue(mut self, name: &str, cells: usize) -> Self {
        match QueueName::new(name) {
            Ok(name) => {
                self.config.spread_queues.insert(name, cells);
            }
            Err(error) => self.errors.push(error.into()),
        }
        self
    }

    /// Shares a value with workers that take a `State<T>`. There is one value of each type.
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

    /// Wraps every run on this node, inside of the server middleware before.
    pub fn server_middleware(mut self, middleware: impl ServerMiddleware) -> Self {
        self.server_middleware.push(middleware);
        self
    }

    /// Lets every job that this Verk's client enqueues pass `middleware`, after the client
    /// middleware before.
    pub fn client_middleware(mut self, middleware: impl ClientMiddleware) -> Self {
        self.client_middleware.push(middleware);
        self
    }

    /// Uses another clock, for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Lets `verk-testing` control the node. The node sends no heartbeats, unless the test wants
    /// them, and does not become a default. It reports missing state and classes that two workers
    /// have only when they matter to the test, because a test uses few of a program's workers.
    #[doc(hidden)]
    pub fn for_test(mut self, test: Arc<dyn TestSeam>) -> Self {
        self.test = Some(test);
        self
    }

    /// Lets [`build`](Self::build) fail with this error, too: for a backend whose method finds one.
    #[doc(hidden)]
    pub fn with_error(mut self, error: ConfigError) -> Self {
        self.errors.push(error);
        self
    }

    /// Checks everything, connects and, if there are queues to run, registers the node.
    ///
    /// `MyJob::enqueue(..)` uses the client of the newest Verk until that is shut down or dropped,
    /// so keep the result. [`Client::current`] has the whole rule.
    ///
    /// # Errors
    ///
    /// [`BuildError::Config`] with all errors; [`BuildError::Storage`] when the storage does not
    /// answer; [`BuildError::NameHeld`] when a live node has the configured `node_id`. Nothing runs
    /// then.
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
        let declares = |class: &str| self.test.as_ref().is_none_or(|test| test.declares(class));
        let declared = match self.config.queues.is_empty() {
            true => Declared::default(),
            false => declare::declared(&registry, declares, &mut errors),
        };
        let Some(connect) = self.connect else {
            errors.push(ConfigError::NoStorage);
            return Err(ConfigErrors::new(errors).into());
        };
        ConfigErrors::check(errors)?;
        let cells = connect
            .connect(&self.config, Arc::clone(&self.clock))
            .await?;
        if cells.count() == 0 {
            return Err(ConfigErrors::new(vec![ConfigError::NoStorage]).into());
        }
        cells.claim().await?;
        let cells = cells.spread(&self.config.spread_queues);
        let essentials = Arc::new(Essentials::new(cells, self.clock, self.config));
        let Essentials {
            storage,
            clock,
            config,
            server_time,
            ..
        } = &*essentials;
        let asked = ClockReading::now(&**clock);
        // Nothing subscribes to events yet, so only the log reports a skew.
        let _ = server_time.measure(storage.server_time().await?, asked);
        let client_of_jobs = Client::with(client::ClientData {
            essentials: Arc::clone(&essentials),
            middleware: self.client_middleware,
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
        let shared = Shared {
            queues: AllQueues::new(essentials.cells.clone(), &config.queues),
            events: EventSender::new(test_events),
            test: self
                .test
                .map(|seam| Arc::new(TestParts::new(seam, of_test))),
            registry,
            middleware: self.server_middleware,
            reach: Arc::new(Reach {
                client: client_of_jobs,
                state: self.state,
            }),
            heartbeats: Arc::default(),
            live: Arc::default(),
            declared: Arc::new(declared),
            essentials,
        };
        let parts = shared.parts();
        let registrations = match shared.essentials.config.queues.is_empty() {
            true => None,
            false => Some(register_in_cells(&parts).await?),
        };
        if shared.test.is_none() {
            client.announce();
        } else {
            // So that a test finds the entries before it runs anything.
            for cell in &*parts.cells {
                cell.declared.declare(&cell.services).await?;
            }
        }
        Ok(Verk::new(parts, client, registrations))
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

/// What the parts of all cells share.
struct Shared {
    essentials: Arc<Essentials>,
    queues: AllQueues,
    events: EventSender,
    test: Option<Arc<TestParts>>,
    registry: Registry,
    middleware: ServerStack,
    reach: Arc<Reach>,
    heartbeats: Arc<HeartbeatThread>,
    live: Arc<LiveCounters>,
    declared: Arc<Declared>,
}

impl Shared {
    fn parts(&self) -> Parts {
        let cells = 0..self.essentials.cells.count();
        Parts {
            essentials: Arc::clone(&self.essentials),
            queues: self.queues.clone(),
            live: Arc::clone(&self.live),
            cells: cells.map(|cell| self.in_cell(cell)).collect(),
        }
    }

    fn in_cell(&self, cell: usize) -> CellParts {
        let services = Arc::new(Services {
            essentials: self.essentials.of_cell(cell),
            events: self.events.clone(),
            found_paused: Notify::new(),
            last_beat: LastBeat::default(),
            monitor: Monitor::default(),
            test: self.test.clone(),
        });
        let workforce = Workforce {
            services: Arc::clone(&services),
            registry: self.registry.clone(),
            middleware: self.middleware.clone(),
            reach: Arc::clone(&self.reach),
        };
        let cells = &self.essentials.cells;
        CellParts {
            services,
            workforce: Arc::new(workforce),
            heartbeats: Arc::clone(&self.heartbeats),
            queues: Arc::clone(&self.queues.of_cells()[cell]),
            live: Arc::clone(&self.live),
            declared: match cells.count() {
                1 => Arc::clone(&self.declared),
                _ => Arc::new(self.declared.for_cell(cells, cell)),
            },
        }
    }
}

/// Registers the node in each cell, in the order of the cells. The cell in which its name lies
/// comes first: it decides which of two nodes gets a configured name. If a cell fails, the node
/// deregisters from the others.
async fn register_in_cells(parts: &Parts) -> Result<Vec<Arc<Registration>>, BuildError> {
    let name = parts.essentials.config.name();
    let name = name.map_or_else(host_name, str::to_owned);
    let home = parts.essentials.cells.of_name(&name);
    let cell = &parts.cells[home];
    let first = cell.register(&cell.program()).await?;
    let cells = parts.cells.iter().enumerate().map(async |(number, cell)| {
        if number == home {
            return Ok(Arc::clone(&first));
        }
        let program = cell.program().registered_as(first.node());
        cell.register(&program).await
    });
    let registered = join_all(cells).await;
    if registered.iter().any(Result::is_err) {
        let cells = parts.cells.iter().zip(&registered);
        let registered = cells.filter_map(|(cell, known)| Some((cell, known.as_ref().ok()?)));
        let deregister = registered.map(|(cell, known)| deregister(&cell.services, known));
        join_all(deregister).await;
    }
    registered.into_iter().collect()
}

impl Verk {
    /// Starts to describe a node.
    pub fn builder() -> VerkBuilder {
        VerkBuilder::new()
    }
}
