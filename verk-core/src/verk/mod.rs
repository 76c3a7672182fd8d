//! The handle of a running verk: [`Verk`].

pub(crate) mod builder;
mod declare;
mod lives;
mod look;
pub(crate) mod parts;
mod queues;
mod restart;
pub(crate) mod startup;
pub(crate) mod supervisor;

use std::{convert::Infallible, fmt, future::Future, sync::Arc};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    client::{Client, current, new_job::IntoJob},
    config::Config,
    error::{EnqueueAllError, EnqueueError, RunError},
    guard::panic_place,
    log,
    names::Jid,
    node::{heartbeat::deregister, registration::Registration},
    process::signals::{self, Signals},
    services::Essentials,
    storage::{ProcessSignal, Storage},
    verk::{parts::Parts, supervisor::supervise},
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
    inner: Arc<VerkData>,
}

struct VerkData {
    parts: Parts,
    client: Client,
    /// The registration in each cell, in the order of the cells. Present until the node is started.
    registrations: Mutex<Option<Vec<Arc<Registration>>>>,
    stop: CancellationToken,
    supervisor: TaskTracker,
}

impl Drop for VerkData {
    fn drop(&mut self) {
        // No handle can ask for a shutdown any more; the supervisor drains by itself if the runtime
        // continues.
        self.stop.cancel();
        self.supervisor.close();
        self.client.retire();
    }
}

impl Verk {
    pub(crate) fn new(
        parts: Parts,
        client: Client,
        registrations: Option<Vec<Arc<Registration>>>,
    ) -> Self {
        let inner = VerkData {
            parts,
            client,
            registrations: Mutex::new(registrations),
            stop: CancellationToken::new(),
            supervisor: TaskTracker::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Runs the queues until TERM, INT or a call of [`shutdown`](Self::shutdown), then drains.
    ///
    /// After the first TERM or INT, another one ends the process at once, with status 1, if it
    /// comes at least a quarter of a second later. That holds during the drain, after `run` has
    /// returned, and while the runtime is blocked.
    ///
    /// On Unix, two more signals have the meaning that they have in Sidekiq: TSTP (which Ctrl-Z
    /// sends, too) makes the node [quiet](Self::quiet), and TTIN logs the running jobs.
    ///
    /// # What it does not wait for
    ///
    /// verk cannot cancel a closure in `tokio::task::spawn_blocking`, or a job that keeps its
    /// thread without an `.await`. `run` still returns after `shutdown_timeout`, and hands the job
    /// of such a closure back. But the runtime waits for the closure when it is dropped:
    /// `#[tokio::main]` does that at the end of `main`. A program with such jobs ends its runtime
    /// itself:
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let runtime = tokio::runtime::Runtime::new()?;
    ///     let result = runtime.block_on(work());
    ///     // Blocking work may continue for a second; then the process ends.
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

    /// Obeys signals. The first signal that asks for the end stops the node.
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
                ProcessSignal::Dump => self.inner.parts.queues.log_running_jobs(),
            }
        }
    }

    /// Runs the queues until `until` completes or [`shutdown`](Self::shutdown) is called, then
    /// drains.
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

    /// Starts to run the queues in the background. Does nothing if they already run, or if the node
    /// is [disabled](Config::disabled).
    ///
    /// The first call in a process that runs queues installs a [panic hook](std::panic::set_hook),
    /// so that a job that panics has the place in its `error_backtrace`. The hook that was
    /// installed before is still called.
    ///
    /// # Errors
    ///
    /// [`RunError::NoQueues`] when there is nothing to run; [`RunError::NoRuntime`] outside of a
    /// tokio runtime.
    pub fn start(&self) -> Result<(), RunError> {
        if self.config().disabled {
            return Ok(());
        }
        if self.config().queues.is_empty() {
            return Err(RunError::NoQueues);
        }
        assert_runtime()?;
        // Held until the supervisor has started, so that a shutdown waits for it.
        let mut registrations = self.inner.registrations.lock();
        let Some(first) = registrations.take() else {
            return Ok(());
        };
        panic_place::install_hook(current::in_job);
        let nodes: Vec<_> = first.iter().map(|first| first.node().to_string()).collect();
        let (parts, stop) = (self.inner.parts.clone(), self.inner.stop.clone());
        self.inner.supervisor.spawn(supervise(parts, first, stop));
        drop(registrations);
        self.log_start(&nodes);
        Ok(())
    }

    /// Logs the most important facts of a node: the version of verk, its id in each cell, its
    /// queues and its storage.
    fn log_start(&self, nodes: &[String]) {
        let parts = &self.inner.parts;
        let queues = parts.queues.statuses().into_iter();
        let queues: Vec<_> = queues
            .map(|queue| format!("{}:{}", queue.name, queue.concurrency))
            .collect();
        log::info!(
            version = env!("CARGO_PKG_VERSION"),
            node = %nodes.join(","),
            queues = queues.join(","),
            workers = parts.first().workforce.registry.len(),
            storage = parts.essentials.storage.address(),
            "started"
        );
    }

    /// Stops fetching at once, lets running jobs finish for up to `shutdown_timeout`, hands the
    /// rest back to the front of their queues without counting an attempt, and deregisters. Returns
    /// when all of that is done.
    ///
    /// Works before [`start`](Self::start), and twice. After it has returned, `MyJob::enqueue(..)`
    /// does not use this node's client any more; [`client`](Self::client) and its clones still
    /// work.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the shutdown continues.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        let never_started = self.inner.registrations.lock().take().unwrap_or_default();
        let cells = self.inner.parts.cells.iter().zip(&never_started);
        let deregister = cells.map(|(cell, registration)| deregister(&cell.services, registration));
        join_all(deregister).await;
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
    /// assert_eq!((jids.len(), verk.admin().queue("images")?.count().await?), (1000, 1000));
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

    /// Makes this node's client the one that `MyJob::enqueue(..)` uses, also when others are built
    /// later: see [`Client::set_default`].
    pub fn set_default(&self) {
        self.client().set_default();
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    fn essentials(&self) -> &Essentials {
        &self.inner.parts.essentials
    }

    /// Waits until the node has shut down. Keeps no Verk alive.
    #[cfg(feature = "metrics")]
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let supervisor = self.inner.supervisor.clone();
        async move { supervisor.wait().await }
    }

    /// Returns the configuration of this Verk.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.essentials().config
    }

    /// Returns the storage of this Verk; of several cells their [view](crate::cells::Cells::view).
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.essentials().storage
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
