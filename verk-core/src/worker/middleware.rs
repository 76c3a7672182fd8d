//! What wraps every run: [`ServerMiddleware`].

use std::{fmt, future::Future, sync::Arc};

use futures_util::future::BoxFuture;

use crate::{
    outcome::{Outcome, PerformError},
    worker::{WorkerEntry, context::JobContext},
};

type Performed = Result<Outcome, PerformError>;

/// Wraps every run of a job on a node: sees the job before and its outcome after, and may replace
/// the run.
///
/// The first middleware of the [builder](crate::VerkBuilder::server_middleware) is the outermost.
/// `timeout` limits all of them too, and a panic is a failure of the job. A job whose class has no
/// worker passes none, because it does not run.
///
/// ```
/// use verk_core::{middleware::{Next, ServerMiddleware}, outcome::PerformError, JobContext, Outcome};
///
/// struct Timing;
///
/// impl ServerMiddleware for Timing {
///     async fn call(&self, ctx: &JobContext, next: Next) -> Result<Outcome, PerformError> {
///         let started = ctx.client().clock().instant();
///         let outcome = next.run().await;
///         let took = ctx.client().clock().instant() - started;
///         println!("{} took {took:?}, ok: {}", ctx.job().class(), outcome.is_ok());
///         outcome
///     }
/// }
/// ```
pub trait ServerMiddleware: Send + Sync + 'static {
    /// Runs the rest with `next.run()`, or returns an outcome instead.
    ///
    /// When the worker's `timeout` has passed, or `shutdown_timeout` at a shutdown, the future is
    /// dropped at its current `.await`.
    ///
    /// # Errors
    ///
    /// The run's failure: that of `next`, changed or not, or another one.
    fn call(
        &self,
        ctx: &JobContext,
        next: Next,
    ) -> impl Future<Output = Result<Outcome, PerformError>> + Send;
}

/// The rest that a [`ServerMiddleware`] wraps: the middleware after it, and the worker.
#[must_use = "the job does not run unless `run` is called"]
pub struct Next {
    middleware: ServerStack,
    /// How many of them were passed.
    passed: usize,
    worker: WorkerEntry,
    ctx: JobContext,
}

impl Next {
    /// Runs the worker. This decodes the arguments, so middleware sees wrong ones as a failure.
    ///
    /// # Errors
    ///
    /// The run's failure.
    pub async fn run(self) -> Result<Outcome, PerformError> {
        self.boxed().await
    }

    fn boxed(mut self) -> BoxFuture<'static, Performed> {
        let Some(middleware) = self.middleware.0.get(self.passed).map(Arc::clone) else {
            return self.worker.perform(self.ctx);
        };
        self.passed += 1;
        let ctx = self.ctx.clone();
        Box::pin(async move { middleware.call(&ctx, self).await })
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next")
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

/// The server middleware of a node, the outermost first.
#[derive(Clone, Default)]
pub(crate) struct ServerStack(Arc<Vec<Arc<dyn AnyServer>>>);

impl ServerStack {
    pub(crate) fn push(&mut self, middleware: impl ServerMiddleware) {
        Arc::make_mut(&mut self.0).push(Arc::new(middleware));
    }

    /// Runs a job through all of them.
    pub(crate) fn perform(
        &self,
        worker: WorkerEntry,
        ctx: JobContext,
    ) -> BoxFuture<'static, Performed> {
        Next {
            middleware: self.clone(),
            passed: 0,
            worker,
            ctx,
        }
        .boxed()
    }
}

impl fmt::Debug for ServerStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerStack({} middleware)", self.0.len())
    }
}

/// A [`ServerMiddleware`] without its type.
trait AnyServer: Send + Sync {
    fn call<'a>(&'a self, ctx: &'a JobContext, next: Next) -> BoxFuture<'a, Performed>;
}

impl<M: ServerMiddleware> AnyServer for M {
    fn call<'a>(&'a self, ctx: &'a JobContext, next: Next) -> BoxFuture<'a, Performed> {
        Box::pin(ServerMiddleware::call(self, ctx, next))
    }
}
