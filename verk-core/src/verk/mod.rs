//! The handle of a running verk: [`Verk`].

pub(crate) mod builder;
pub(crate) mod startup;
pub(crate) mod supervisor;

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    client::{Client, current, new_job::IntoJob},
    config::{Config, file::nearest},
    error::{ConfigError, EnqueueAllError, EnqueueError, RunError, StorageError},
    events::Events,
    guard::panic_place,
    health::{Health, Reason},
    log,
    names::{Jid, NodeId, QueueName},
    node::{foreign, registration::Registration},
    process::signals::{self, Signals},
    queues::status::{QueueStatus, RunningJob},
    shared::Shared,
    stats::{self, LiveStats, Stats},
    storage::{DayStats, ForeignList, ProcessSignal, Storage},
    time::calendar::Day,
    verk::supervisor::supervise,
};

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
        self.supervisor.close();
        self.client.retire();
    }
}

impl Verk {
    pub(crate) fn new(
        shared: Arc<Shared>,
        client: Client,
        registration: Option<Arc<Registration>>,
    ) -> Self {
        let inner = Inner {
            shared,
            client,
            registration: Mutex::new(registration),
            stop: CancellationToken::new(),
            supervisor: TaskTracker::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Runs the queues until TERM, INT or a call of [`shutdown`](Self::shutdown), then drains.
    ///
    /// After the first TERM or INT, another one ends the process at once, with status 1, if it comes
    /// at least a quarter of a second later. That holds during the drain, after `run` has returned,
    /// and while the runtime is blocked.
    ///
    /// On Unix, two more signals of Sidekiq's mean here what they mean there: TSTP (which Ctrl-Z sends, too) makes the node
    /// [quiet](Self::quiet), and TTIN logs the jobs that run.
    ///
    /// # What it does not wait for
    ///
    /// A closure in `tokio::task::spawn_blocking`, and a job that keeps its thread without an
    /// `.await`, cannot be cancelled. `run` returns after `shutdown_timeout` all the same, and hands
    /// the job of such a closure back, but the runtime waits for the closure when it is dropped:
    /// `#[tokio::main]` does that at the end of `main`. A program whose jobs do such work ends its
    /// runtime itself:
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let runtime = tokio::runtime::Runtime::new()?;
    ///     let result = runtime.block_on(work());
    ///     // Blocking work may go on for a second; then the process ends.
    ///     runtime.shutdown_timeout(Duration::from_secs(1));
    ///     result
    /// }
    ///
    /// async fn work() -> Result<(), Box<dyn std::error::Error>> {
    ///     let builder = Verk::builder().queue("default", 25);
    /// #   let builder = builder.storage(MemoryStorage::default());
    ///     let verk = builder.build().await?;
    ///     verk.run().await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RunError`], before anything is started.
    pub async fn run(&self) -> Result<(), RunError> {
        assert_runtime()?;
        let mut signals = Signals::listen()?;
        self.start()?;
        let drained = async {
            self.inner.stop.cancelled().await;
            self.shutdown().await;
        };
        tokio::select! {
            () = drained => Ok(()),
            never = self.heed(&mut signals) => match never {},
        }
    }

    /// Does what signals ask for. The first that asks for the end stops the node.
    async fn heed(&self, signals: &mut Signals) -> Infallible {
        loop {
            match signals.next().await {
                ProcessSignal::Stop => {
                    signals::end_at_next();
                    if !self.inner.stop.is_cancelled() {
                        self.inner.stop.cancel();
                        log::info!(
                            "stopping: running jobs may finish; another signal ends the process at once"
                        );
                    }
                }
                ProcessSignal::Quiet => self.quiet(),
                ProcessSignal::Dump => self.inner.shared.queues.log_running_jobs(),
            }
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

    /// Starts to run the queues in the background. Does nothing when they run already, or when the node is
    /// [disabled](Config::disabled).
    ///
    /// The first call in a process that runs queues installs a [panic hook](std::panic::set_hook), so that
    /// a job that panics keeps the place in its `error_backtrace`; the hook that is there is called as
    /// before.
    ///
    /// # Errors
    ///
    /// [`RunError::NoQueues`] when there is nothing to run; [`RunError::NoRuntime`] outside of a tokio
    /// runtime.
    pub fn start(&self) -> Result<(), RunError> {
        if self.config().disabled {
            return Ok(());
        }
        if self.config().queues.is_empty() {
            return Err(RunError::NoQueues);
        }
        assert_runtime()?;
        // Held until the supervisor is there, so that a shutdown waits for it.
        let mut registration = self
            .inner
            .registration
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(first) = registration.take() else {
            return Ok(());
        };
        panic_place::install_hook(current::in_job);
        let node = first.node().clone();
        let (shared, stop) = (Arc::clone(&self.inner.shared), self.inner.stop.clone());
        self.inner.supervisor.spawn(supervise(shared, first, stop));
        drop(registration);
        self.log_start(&node);
        Ok(())
    }

    /// Logs what one wants to know first of a node: which verk it is, and what it runs from where.
    fn log_start(&self, node: &NodeId) {
        let shared = &self.inner.shared;
        let queues = shared.queues.statuses().into_iter();
        let queues: Vec<_> = queues
            .map(|queue| format!("{}:{}", queue.name, queue.concurrency))
            .collect();
        log::info!(
            version = env!("CARGO_PKG_VERSION"),
            %node,
            queues = queues.join(","),
            workers = shared.registry.len(),
            storage = shared.storage.address(),
            "started"
        );
    }

    /// Runs another queue, `concurrency` jobs at once. Does nothing when the node runs it already. A queue that was removed
    /// and still drains runs again once it has drained.
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
        self.inner.shared.queues.add(name, concurrency);
        Ok(())
    }

    /// Runs a queue no more: stops fetching from it at once, lets its running jobs finish for up to `shutdown_timeout`, and
    /// hands the rest back to its front without counting an attempt. Returns when all of that is done. The queue and its
    /// jobs stay in storage, and it may be added again, even while it drains.
    ///
    /// A job that does not notice that it is cancelled, because it never awaits, holds this up until it ends. Among the queues
    /// of its registration in storage (`verk:node:ID:queues`) the node keeps the name until it signs off.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is not valid, or the node does not run the queue.
    ///
    /// # Cancel safety
    ///
    /// The removal goes on when the future is dropped.
    pub async fn remove_queue(&self, name: &str) -> Result<(), ConfigError> {
        let name = QueueName::new(name)?;
        let Some(ends) = self.inner.shared.queues.remove(&name) else {
            return Err(ConfigError::UnknownQueue { name });
        };
        for ended in ends {
            ended.cancelled().await;
        }
        Ok(())
    }

    /// Stops fetching from a queue on this node; its running jobs go on. Other nodes are not concerned: see
    /// [`pause_queue_everywhere`](Self::pause_queue_everywhere). Returns whether that
    /// changes anything: `false` when the queue was paused before.
    ///
    /// [`QueuePausing`](crate::Event::QueuePausing) is told when fetching stops, and [`QueuePaused`](crate::Event::QueuePaused)
    /// once no job of the queue runs. Works before [`start`](Self::start). The queue stays paused until it is
    /// [resumed](Self::resume_queue), removed, or the process ends.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is not valid, or the node does not run the queue.
    pub fn pause_queue(&self, name: &str) -> Result<bool, ConfigError> {
        self.set_paused(name, true)
    }

    /// Fetches again from a queue that was [paused](Self::pause_queue) on this node, and tells
    /// [`QueueRunning`](crate::Event::QueueRunning). Returns whether that changes anything: `false` when the queue was not paused.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is not valid, or the node does not run the queue.
    pub fn resume_queue(&self, name: &str) -> Result<bool, ConfigError> {
        self.set_paused(name, false)
    }

    fn set_paused(&self, name: &str, paused: bool) -> Result<bool, ConfigError> {
        let name = QueueName::new(name)?;
        let changed = self.inner.shared.queues.set_paused(&name, paused);
        changed.ok_or(ConfigError::UnknownQueue { name })
    }

    /// Stops fetching from all queues on this node, those that are added later too, for as long as the process lives; its
    /// running jobs go on. What Sidekiq Web's button *Quiet* asks for, and the signal TSTP: the first step of a deployment,
    /// minutes before the node is stopped. Does nothing when the node is quiet already.
    ///
    /// The queues are told as paused, and a queue that is [resumed](Self::resume_queue) stays so. Jobs still fall due, and
    /// what dead nodes left is still restored. Works before [`start`](Self::start).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{Status, Verk};
    /// # use verk_testing::MemoryStorage;
    /// let verk = Verk::builder().storage(MemoryStorage::default()).queue("default", 25).build().await?;
    /// verk.quiet();
    /// verk.resume_queue("default")?;
    /// assert_eq!(verk.queues()[0].status, Status::Paused);
    /// # verk.shutdown().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn quiet(&self) {
        if self.inner.shared.queues.quiet() {
            log::info!("quiet: no more jobs are fetched");
        }
    }

    /// Pauses a queue on all nodes: none starts a job of it any more, running jobs go on, and idle nodes are told at once. Returns
    /// whether that changes anything: `false` when it was paused everywhere before.
    ///
    /// The pause is kept in storage (Sidekiq Pro's `paused` set, which it obeys too), so it outlives every restart, and is there for nodes
    /// that come later; it ends with [`resume_queue_everywhere`](Self::resume_queue_everywhere). It is independent of
    /// [`pause_queue`](Self::pause_queue): a queue runs on a node while neither holds. Each node tells its own
    /// [`QueuePausing`](crate::Event::QueuePausing) and [`QueuePaused`](crate::Event::QueuePaused). Any program may call it, also
    /// one that only enqueues, for any queue. A queue that never had a job, and that no node of verk
    /// runs, is paused too; a warning in the log says so, and which queue may have been meant.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// assert!(verk.pause_queue_everywhere("mailers").await?);
    /// assert!(!verk.pause_queue_everywhere("mailers").await?, "it is paused already");
    /// assert_eq!(verk.paused_queues().await?[0].as_str(), "mailers");
    /// assert!(verk.resume_queue_everywhere("mailers").await?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the name is not valid, or the storage fails: after a lost reply the queue may be paused; it does no harm to
    /// call this again.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the queue is paused or not.
    pub async fn pause_queue_everywhere(&self, name: &str) -> Result<bool, StorageError> {
        self.set_paused_everywhere("pause a queue", name, true)
            .await
    }

    /// Ends the [pause of a queue on all nodes](Self::pause_queue_everywhere), which are told at once. Returns whether that changes
    /// anything: `false` when it was not paused everywhere. A node that [paused](Self::pause_queue) the queue for itself does
    /// not run it yet.
    ///
    /// # Errors
    ///
    /// When the name is not valid, or the storage fails: after a lost reply the queue may be resumed; it does no harm to
    /// call this again.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the queue is resumed or not.
    pub async fn resume_queue_everywhere(&self, name: &str) -> Result<bool, StorageError> {
        self.set_paused_everywhere("resume a queue", name, false)
            .await
    }

    async fn set_paused_everywhere(
        &self,
        op: &'static str,
        name: &str,
        paused: bool,
    ) -> Result<bool, StorageError> {
        let name = QueueName::new(name).map_err(|error| StorageError::not_applied(op, error))?;
        let changed = self.storage().set_paused(&name, paused).await?;
        if paused && changed {
            self.warn_of_an_unknown_queue(&name).await;
        }
        Ok(changed)
    }

    /// Warns of a pause that is most likely a typing error. The pause is stored, so an error of this
    /// look is of no interest.
    async fn warn_of_an_unknown_queue(&self, name: &QueueName) {
        let (queues, nodes) = (self.storage().queues().await, self.storage().nodes().await);
        let (Ok(mut known), Ok(nodes)) = (queues, nodes) else {
            return;
        };
        known.extend(nodes.into_iter().flat_map(|node| node.queues));
        known.extend(self.inner.shared.queues.names());
        if known.contains(name) {
            return;
        }
        let meant = nearest(name.as_str(), known.iter().map(QueueName::as_str))
            .map(|queue| format!("; did you mean {queue}?"))
            .unwrap_or_default();
        log::warn!(queue = %name, "paused a queue that nobody knows: it never had a job, and no node runs it{meant}");
    }

    /// The queues that are [paused on all nodes](Self::pause_queue_everywhere), by name: those of this node, and others.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn paused_queues(&self) -> Result<Vec<QueueName>, StorageError> {
        self.storage().paused_queues().await
    }

    /// Changes how many jobs of a queue run at once on this node. More start at once; when it is lowered, running jobs go on,
    /// and none starts until enough of them have ended. Returns whether that changes anything.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is not valid, `concurrency` is 0 (see [`pause_queue`](Self::pause_queue)), or the node
    /// does not run the queue.
    pub fn set_concurrency(&self, name: &str, concurrency: usize) -> Result<bool, ConfigError> {
        let name = QueueName::new(name)?;
        if concurrency == 0 {
            return Err(ConfigError::no_concurrency(&name));
        }
        let changed = self.inner.shared.queues.set_concurrency(&name, concurrency);
        changed.ok_or(ConfigError::UnknownQueue { name })
    }

    /// The queues of this node by name, and what it does with each. Asks nobody.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueStatus> {
        self.inner.shared.queues.statuses()
    }

    /// The jobs that run on this node now, oldest run first. Asks nobody.
    #[must_use]
    pub fn running_jobs(&self) -> Vec<RunningJob> {
        self.inner.shared.queues.running_jobs()
    }

    /// Stops fetching at once, lets running jobs finish for up to `shutdown_timeout`, hands the rest back to the front of their
    /// queues without counting an attempt, and signs off. Returns when all of that is done.
    ///
    /// Works before [`start`](Self::start), and twice. Once it has returned, `MyJob::enqueue(..)` uses this
    /// node's client no more; [`client`](Self::client) and its clones go on working.
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
            crate::node::heartbeat::deregister(&self.inner.shared, &registration).await;
        }
        self.inner.supervisor.close();
        self.inner.supervisor.wait().await;
        self.inner.client.retire();
    }

    /// Enqueues a job: see [`Client::enqueue`].
    ///
    /// # Errors
    ///
    /// As [`Client::enqueue`].
    pub async fn enqueue(&self, job: impl IntoJob) -> Result<Jid, EnqueueError> {
        self.client().enqueue(job).await
    }

    /// Enqueues many jobs in few round trips: see [`Client::enqueue_all`].
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{Job, Verk};
    /// # use verk_testing::MemoryStorage;
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// let job = |n: u32| Job::new("Resize", "images".parse().unwrap(), format!("[{n}]")).unwrap();
    /// let jids = verk.enqueue_all((1..=1000).map(job)).await?;
    /// assert_eq!((jids.len(), verk.queue("images")?.count().await?), (1000, 1000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Client::enqueue_all`].
    pub fn enqueue_all<I>(
        &self,
        jobs: I,
    ) -> impl Future<Output = Result<Vec<Jid>, EnqueueAllError>> + Send
    where
        I: IntoIterator<Item: IntoJob, IntoIter: Send>,
    {
        self.client().enqueue_all(jobs)
    }

    /// The client of this node.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// Makes this node's client the one that `MyJob::enqueue(..)` uses, also when others are built later:
    /// see [`Client::set_default`].
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

    /// What this node processed since it was built, and how much runs now. Asks nobody.
    ///
    /// [`stats`](Self::stats) has the lifetime totals of all programs.
    #[must_use]
    pub fn live_stats(&self) -> LiveStats {
        stats::live(&self.inner.shared)
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

    /// The `inprogress` lists of nodes that are not registered, by name: those of an Elixir Verk with a fixed node id that is down, or strays.
    /// Nobody restores their jobs, since nobody knows whether that node lives. A node that starts warns of them once.
    ///
    /// Looks through all keys of the storage, in small steps.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// for list in verk.foreign_lists().await? {
    ///     println!("{} holds {} jobs", list.key, list.jobs);
    /// }
    /// assert!(verk.foreign_lists().await?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn foreign_lists(&self) -> Result<Vec<ForeignList>, StorageError> {
        let (lists, _) = foreign::read(&**self.storage(), usize::MAX).await?;
        Ok(lists)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// Waits until the node has shut down. Keeps no Verk alive.
    #[cfg(feature = "metrics")]
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let supervisor = self.inner.supervisor.clone();
        async move { supervisor.wait().await }
    }

    /// What happens from now on: all of it, or what is selected.
    pub fn events(&self) -> Events {
        self.inner.shared.events.subscribe()
    }

    /// How this node is, for the probes of whatever runs the process. Asks nobody: what the parts of the node saw last is
    /// enough.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use verk_core::{Reason, Verk};
    /// # use verk_testing::MemoryStorage;
    ///
    /// let verk = Verk::builder().storage(MemoryStorage::default()).queue("default", 25).build().await?;
    /// let health = verk.health();
    /// assert!(health.live && !health.ready);
    /// assert_eq!(health.reasons, [Reason::NotStarted]);
    /// # verk.shutdown().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn health(&self) -> Health {
        let shared = &self.inner.shared;
        let heartbeat = shared.config.heartbeat;
        let registration = self.inner.registration.lock();
        let waits = registration
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
        let mut reasons = Vec::new();
        if self.inner.stop.is_cancelled() {
            reasons.push(Reason::Stopping);
        } else if waits {
            reasons.push(Reason::NotStarted);
            reasons.extend(shared.monitor.of_node(&*shared.clock, heartbeat));
        } else if !shared.config.queues.is_empty() {
            if self.inner.supervisor.is_empty() {
                reasons.push(Reason::SupervisorEnded);
            }
            reasons.extend(shared.monitor.of_node(&*shared.clock, heartbeat));
            reasons.extend(shared.queues.reasons());
        }
        reasons.extend(shared.monitor.of_parts(shared.clock.instant(), heartbeat));
        Health::new(reasons)
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

fn assert_runtime() -> Result<(), RunError> {
    match Handle::try_current() {
        Ok(_) => Ok(()),
        Err(_) => Err(RunError::NoRuntime),
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
