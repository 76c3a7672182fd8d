//! Workers: [`Worker`], which `#[verk::worker]` implements, and its registered form,
//! [`WorkerEntry`].

pub(crate) mod context;
pub(crate) mod enqueue;
pub(crate) mod middleware;
pub(crate) mod polls;
pub(crate) mod registry;
pub(crate) mod run_state;
mod tick;
pub(crate) mod workforce;

use std::{
    any::TypeId,
    fmt,
    future::Future,
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;

use crate::{
    client::new_job::{IntoJob as _, NewJob},
    effects::unique::Unique,
    job::args::{ArgsError, ArgsReader},
    outcome::{Outcome, PerformError},
    timetable::periodic::Periodic,
    worker::context::{JobContext, Requirement},
};

/// A class of jobs: its arguments, its options and its work.
///
/// The value is one job: the fields are its arguments. `#[verk::worker]` writes the implementation.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a job",
    label = "no `#[verk::worker]` made this type",
    note = "put `#[verk::worker]` on an async fn: it generates the job struct"
)]
pub trait Worker: Send + Sized + 'static {
    /// The class name on the wire.
    const CLASS: &'static str;

    /// The options of every job of this class, unless the call site has others.
    const OPTIONS: WorkerOptions;

    /// Writes the arguments as a JSON array.
    ///
    /// # Errors
    ///
    /// [`ArgsError::Encode`] when an argument has no JSON form.
    fn encode_args(&self) -> Result<String, ArgsError>;

    /// Reads the arguments.
    ///
    /// # Errors
    ///
    /// [`ArgsError`] when they do not have the right shape.
    fn decode_args(args: &mut ArgsReader<'_>) -> Result<Self, ArgsError>;

    /// Does the work.
    ///
    /// # Errors
    ///
    /// The worker's failure.
    fn perform(self, ctx: JobContext)
    -> impl Future<Output = Result<Outcome, PerformError>> + Send;

    /// What the builder needs for this worker to run.
    #[must_use]
    fn requires() -> Vec<Requirement> {
        Vec::new()
    }
}

/// The options of a worker. The call site overrides these, and these override the configuration.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// The queue of its jobs.
    pub queue: &'static str,
    /// How often a failed job is retried; `None` for the configuration's number.
    pub max_retry_count: Option<u32>,
    /// When a job that failed at the given time, for the n-th time (from 1), runs again; `None` for
    /// Verk's backoff.
    pub retry_at: Option<fn(SystemTime, u32) -> SystemTime>,
    /// The longest time of one run; `None` for no limit.
    pub timeout: Option<Duration>,
    /// Whether a job without retries left goes to the `dead` set. Defaults to `true`.
    pub dead: bool,
    /// Labels, shown in dashboards.
    pub tags: &'static [&'static str],
    /// Whether the error's sources, or the place of a panic, are kept in `error_backtrace`.
    /// Defaults to `true`.
    pub backtrace: bool,
    /// Which of its jobs are the same, and what follows; `None` if each is stored.
    pub unique: Option<Unique>,
    /// The entries of the timetable that enqueue its jobs.
    pub cron: &'static [Periodic],
}

impl WorkerOptions {
    /// The defaults: queue `default`, and the numbers of the configuration.
    pub const DEFAULT: Self = Self {
        queue: "default",
        max_retry_count: None,
        retry_at: None,
        timeout: None,
        dead: true,
        tags: &[],
        backtrace: true,
        unique: None,
        cron: &[],
    };

    /// Sets the queue.
    #[must_use]
    pub const fn queue(mut self, queue: &'static str) -> Self {
        self.queue = queue;
        self
    }

    /// Sets how often a failed job is retried.
    #[must_use]
    pub const fn max_retry_count(mut self, count: u32) -> Self {
        self.max_retry_count = Some(count);
        self
    }

    /// Sets when a job that failed at the given time, for the n-th time (from 1), runs again.
    #[must_use]
    pub const fn retry_at(mut self, retry_at: fn(SystemTime, u32) -> SystemTime) -> Self {
        self.retry_at = Some(retry_at);
        self
    }

    /// Sets how long one run may take.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets whether a job without retries left goes to the `dead` set.
    #[must_use]
    pub const fn dead(mut self, dead: bool) -> Self {
        self.dead = dead;
        self
    }

    /// Sets the labels.
    #[must_use]
    pub const fn tags(mut self, tags: &'static [&'static str]) -> Self {
        self.tags = tags;
        self
    }

    /// Sets whether the error's sources are kept.
    #[must_use]
    pub const fn backtrace(mut self, backtrace: bool) -> Self {
        self.backtrace = backtrace;
        self
    }

    /// Makes the jobs unique.
    #[must_use]
    pub const fn unique(mut self, unique: Unique) -> Self {
        self.unique = Some(unique);
        self
    }

    /// Makes the jobs periodic. It needs the feature `cron` of `verk`.
    #[must_use]
    pub const fn cron(mut self, cron: &'static [Periodic]) -> Self {
        self.cron = cron;
        self
    }
}

/// Makes a job of arguments as JSON.
type NewJobOf = fn(&str) -> Result<NewJob, ArgsError>;

type Perform = fn(JobContext) -> BoxFuture<'static, Result<Outcome, PerformError>>;

/// A worker as the registry holds it: without its type.
#[derive(Clone, Copy)]
pub struct WorkerEntry {
    type_id: TypeId,
    class: &'static str,
    /// Not in here itself: an entry is copied for each run.
    options: &'static WorkerOptions,
    location: &'static str,
    requires: fn() -> Vec<Requirement>,
    job: NewJobOf,
    perform: Perform,
}

impl WorkerEntry {
    /// The entry of `W`. `location` says where it is defined, for error messages.
    #[must_use]
    pub const fn of<W: Worker>(location: &'static str) -> Self {
        Self {
            type_id: TypeId::of::<W>(),
            class: W::CLASS,
            options: const { &W::OPTIONS },
            location,
            requires: W::requires,
            job: |args| Ok(decode::<W>(args)?.into_job()),
            perform: |ctx| Box::pin(perform::<W>(ctx)),
        }
    }

    /// Which type it is the entry of.
    pub(crate) fn type_id(&self) -> TypeId {
        self.type_id
    }

    /// The class name on the wire.
    #[must_use]
    pub fn class(&self) -> &'static str {
        self.class
    }

    /// Returns the options of the worker.
    #[must_use]
    pub fn options(&self) -> &WorkerOptions {
        self.options
    }

    /// Returns where the worker is defined: `file:line`.
    #[must_use]
    pub fn location(&self) -> &'static str {
        self.location
    }

    /// Returns what the worker needs from the builder, such as its state.
    #[must_use]
    pub fn requires(&self) -> Vec<Requirement> {
        (self.requires)()
    }

    /// Makes a job of this worker, as its struct would, of arguments in JSON.
    ///
    /// # Errors
    ///
    /// When the worker could not read the arguments.
    pub fn job(&self, args: &str) -> Result<NewJob, ArgsError> {
        (self.job)(args)
    }

    /// Decodes the arguments and runs the job.
    pub(crate) fn perform(
        &self,
        ctx: JobContext,
    ) -> BoxFuture<'static, Result<Outcome, PerformError>> {
        (self.perform)(ctx)
    }
}

impl fmt::Debug for WorkerEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerEntry")
            .field("class", &self.class)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

async fn perform<W: Worker>(ctx: JobContext) -> Result<Outcome, PerformError> {
    let job = decode::<W>(ctx.job().args()).map_err(|error| {
        let error = PerformError::described("ArgsError", &error);
        let message = format!("{}: {}", W::CLASS, error.failure.error_message);
        PerformError::of("ArgsError", message)
    })?;
    job.perform(ctx).await
}

fn decode<W: Worker>(args: &str) -> Result<W, ArgsError> {
    let mut args = ArgsReader::new(args)?;
    let job = W::decode_args(&mut args)?;
    args.finish()?;
    Ok(job)
}
