//! The context of a running job: [`JobContext`], [`State`], and your own extractors with
//! [`FromJob`].

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    future::Future,
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio_util::sync::CancellationToken;

use crate::{
    client::Client,
    error::BoxError,
    job::Job,
    names::{Jid, QueueName},
    time::clock::JobWait,
    worker::run_state::RunState,
};

/// The running job, as its worker sees it.
#[derive(Clone)]
pub struct JobContext {
    run: Arc<RunState>,
    reach: Arc<Reach>,
}

/// What the worker of every run can reach.
#[derive(Debug)]
pub(crate) struct Reach {
    /// The client that running jobs find.
    pub(crate) client: Client,
    pub(crate) state: StateMap,
}

impl JobContext {
    pub(crate) fn new(run: Arc<RunState>, reach: Arc<Reach>) -> Self {
        Self { run, reach }
    }

    /// The job itself.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.run.job
    }

    /// The job's id.
    #[must_use]
    pub fn jid(&self) -> &Jid {
        self.job().jid()
    }

    /// Returns which attempt of the job this is, from 1: one more than its failures so far.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.job().failures().saturating_add(1)
    }

    /// Returns when the job entered its queue for this attempt; `None` if its sender did not say.
    #[must_use]
    pub fn enqueued_at(&self) -> Option<SystemTime> {
        self.job().enqueued_at()
    }

    /// The job's labels.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        self.job().tags()
    }

    /// Returns when the run is stopped because of its worker's `timeout`, by the clock of this
    /// Verk; `None` without a `timeout`.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.run.deadline
    }

    /// The queue that it was fetched from.
    #[must_use]
    pub fn queue(&self) -> &QueueName {
        &self.run.queue
    }

    /// The client of this job's own Verk.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.reach.client
    }

    /// Returns a token that is cancelled when running jobs have had
    /// [`shutdown_timeout`](crate::Config::shutdown_timeout) to finish, after the node began to
    /// shut down or its queue was removed. The job's future is dropped then, and the job goes back
    /// to its queue. So use the token for work that the job started elsewhere. The `timeout` of a
    /// worker does not cancel it.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.run.cancelled
    }

    /// Returns whether the job still belongs to this node, as far as the node knows. `false` means
    /// that another node has the job, and that the outcome of this run has no effect.
    #[must_use]
    pub fn still_owner(&self) -> bool {
        self.run.still_owner()
    }

    /// Waits, by the clock of this Verk: virtual in a test.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future forgets the wait.
    pub async fn sleep(&self, duration: Duration) {
        let clock = self.client().clock();
        let deadline = clock.instant_in(duration);
        clock
            .sleep_job_until(deadline, JobWait::Sleep(self.jid()))
            .await;
    }

    /// Returns the value of this type that was passed to the builder's `state`, if there is one.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.reach.state.of()
    }
}

impl fmt::Debug for JobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobContext")
            .field("job", self.job())
            .field("queue", self.queue())
            .finish_non_exhaustive()
    }
}

/// A type that a worker can have as a parameter in addition to its arguments.
///
/// ```
/// use verk_core::{BoxError, FromJob, JobContext};
///
/// /// Which run of the job this is.
/// struct Attempt(u32);
///
/// impl FromJob for Attempt {
///     async fn from_job(ctx: &JobContext) -> Result<Self, BoxError> {
///         Ok(Self(ctx.attempt()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be extracted from a job",
    label = "not an extractor",
    note = "implement `verk::FromJob` for it, or mark the parameter `#[arg]` if it is an argument of the job",
    note = "for state write `verk::State`: the `State` of axum or of another crate is another type"
)]
pub trait FromJob: Sized {
    /// Makes the value for one run.
    ///
    /// # Errors
    ///
    /// The run fails with this error, as if the worker had returned it. Its text is logged and
    /// stored in the job, so it must quote no argument. verk leaves out the message of a
    /// `serde_json::Error`; the errors of an [`ArgsReader`](crate::job::ArgsReader) quote nothing.
    fn from_job(ctx: &JobContext) -> impl Future<Output = Result<Self, BoxError>> + Send;

    /// What the builder needs for this type. `build()` reports what is missing.
    #[must_use]
    fn requires() -> Vec<Requirement> {
        Vec::new()
    }
}

impl FromJob for JobContext {
    async fn from_job(ctx: &JobContext) -> Result<Self, BoxError> {
        Ok(ctx.clone())
    }
}

/// A value that was passed to the builder's `state(..)`, shared by all jobs.
#[derive(Clone, Debug)]
pub struct State<T>(pub T);

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone + Send + Sync + 'static> FromJob for State<T> {
    async fn from_job(ctx: &JobContext) -> Result<Self, BoxError> {
        match ctx.reach.state.of::<T>() {
            Some(state) => Ok(Self(T::clone(&state))),
            None => Err(format!(
                "no state of type {}: add `.state(..)` to the builder",
                std::any::type_name::<T>()
            )
            .into()),
        }
    }

    fn requires() -> Vec<Requirement> {
        vec![Requirement::state::<T>()]
    }
}

/// Something that a worker needs from the builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    type_id: TypeId,
    type_name: &'static str,
}

impl Requirement {
    /// The worker needs `.state(value)` with a value of type `T`.
    #[must_use]
    pub fn state<T: 'static>() -> Self {
        Self {
            type_id: TypeId::of::<T>(),
            type_name: std::any::type_name::<T>(),
        }
    }

    /// The full name of the type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.type_name
    }
}

/// The builder's state, by type.
#[derive(Default)]
pub(crate) struct StateMap(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl StateMap {
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), Arc::new(value));
    }

    pub(crate) fn has(&self, requirement: &Requirement) -> bool {
        self.0.contains_key(&requirement.type_id)
    }

    fn of<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let any = Arc::clone(self.0.get(&TypeId::of::<T>())?);
        any.downcast().ok()
    }
}

impl fmt::Debug for StateMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateMap({} values)", self.0.len())
    }
}
