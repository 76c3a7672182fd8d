//! What wraps every enqueue: [`ClientMiddleware`].

use std::{fmt, future::Future, sync::Arc};

use futures_util::future::BoxFuture;

use crate::{
    error::{BoxError, EnqueueError},
    job::{HolderPlace, Job},
    names::Jid,
};

/// Sees every job before it is stored, and whether it was stored. It can change the job, stop it,
/// or undo what it did for a job that was not stored.
///
/// Every enqueue passes it: now and scheduled, one job and each of many. A job passes it once, when
/// its sender enqueues it. The job does not pass it again when it is retried, when it is due, or
/// when it is handed back. (Sidekiq's client middleware runs again each time a job moves from a set
/// to its queue.) The first middleware of the [builder](crate::VerkBuilder::client_middleware) is
/// the outermost.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use verk_core::{middleware::{ClientMiddleware, ClientNext, Enqueued}, BoxError, Job};
///
/// /// Notes for whom a job is done, and counts what is stored.
/// struct Tenant(String, AtomicU64);
///
/// impl ClientMiddleware for Tenant {
///     async fn call(&self, job: &mut Job, next: ClientNext<'_>) -> Result<Enqueued, BoxError> {
///         job.set("tenant", &self.0)?;
///         let stored = next.run(job).await?;
///         self.1.fetch_add(1, Ordering::Relaxed);
///         Ok(stored)
///     }
/// }
/// ```
pub trait ClientMiddleware: Send + Sync + 'static {
    /// Passes the job on with `next.run(job)`, and returns its answer once the storage has the job
    /// or refused it. If a middleware [stops](ClientNext::stop) the job, or returns without `run`,
    /// the job is not stored: the enqueue fails with [`EnqueueError::Stopped`], and an
    /// `enqueue_all` leaves the job out.
    ///
    /// In an `enqueue_all`, `run` waits for the chunk of the job. Other jobs of the bulk pass the
    /// middleware meanwhile. So a middleware may hold a lock across `run`: the chunk is sent when
    /// all jobs wait.
    ///
    /// When the caller drops the enqueue, the future is dropped at its current `.await`.
    ///
    /// # Errors
    ///
    /// An [`EnqueueError`] of `run` is the error of the enqueue. Any other error becomes
    /// [`EnqueueError::Middleware`], which says whether the job may be stored. verk itself records
    /// whether the job was stored, and replaces an answer that contradicts this.
    fn call(
        &self,
        job: &mut Job,
        next: ClientNext<'_>,
    ) -> impl Future<Output = Result<Enqueued, BoxError>> + Send;
}

/// What became of an enqueue: the storage has the job, or another job that is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Enqueued {
    /// As a new job with this id. A job with
    /// [`OnConflict::KeepLast`](crate::OnConflict::KeepLast) may wait for its lock.
    New(Jid),
    /// Another job holds its lock: nothing was stored.
    Duplicate {
        /// The job that holds the lock.
        jid: Jid,
        /// Its place.
        place: HolderPlace,
    },
    /// As a new job, instead of another one, which was discarded.
    Replaced {
        /// The new job.
        jid: Jid,
        /// The job that was discarded.
        old: Jid,
    },
    /// A job was stored with the same key before: nothing was stored. See
    /// [`Client::enqueue_once`](crate::Client::enqueue_once).
    Seen(Jid),
}

impl Enqueued {
    /// Whether the job was stored.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self, Self::New(_) | Self::Replaced { .. })
    }

    /// The id of the job that is stored: of a duplicate, the job that holds the lock; of one that
    /// was seen, the job that was stored before.
    #[must_use]
    pub fn jid(&self) -> &Jid {
        match self {
            Self::New(jid)
            | Self::Duplicate { jid, .. }
            | Self::Replaced { jid, .. }
            | Self::Seen(jid) => jid,
        }
    }
}

/// The way to storage, after a [`ClientMiddleware`].
#[must_use = "the job is stopped unless `run` is called"]
pub struct ClientNext<'a> {
    rest: &'a [Arc<dyn AnyClient>],
    store: &'a dyn Store,
    fate: &'a mut Fate,
}

impl ClientNext<'_> {
    /// Passes the job on to the rest of the middleware and stores it. `job` is then as it was
    /// stored.
    ///
    /// # Errors
    ///
    /// Why the job is not stored: the storage, or the rest of the middleware, refused it. The job
    /// may still be stored if [`may_be_stored`](EnqueueError::may_be_stored) says so.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the job may or may not be stored. The enqueue then fails, and says
    /// that the job may be stored.
    pub async fn run(self, job: &mut Job) -> Result<Enqueued, EnqueueError> {
        let Some((first, rest)) = self.rest.split_first() else {
            // Stays if this future is dropped.
            *self.fate = Fate::Unknown;
            let result = self.store.store(job).await;
            *self.fate = Fate::of(&result);
            return result;
        };
        let next = ClientNext {
            rest,
            store: self.store,
            fate: self.fate,
        };
        let answer = first.call(job, next).await;
        self.fate.settle(job.jid(), answer)
    }

    /// Stops the job. A [`ClientMiddleware`] returns this result so that the job is not stored.
    ///
    /// # Errors
    ///
    /// Always [`EnqueueError::Stopped`].
    pub fn stop(self, job: &Job) -> Result<Enqueued, BoxError> {
        let jid = job.jid().clone();
        Err(EnqueueError::Stopped { jid }.into())
    }
}

impl fmt::Debug for ClientNext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientNext({} middleware left)", self.rest.len())
    }
}

/// Stores a job that passed all client middleware.
pub(crate) trait Store: Sync {
    fn store<'a>(&'a self, job: &'a mut Job) -> BoxFuture<'a, Result<Enqueued, EnqueueError>>;
}

/// The real result of a job, whatever its middleware returns.
enum Fate {
    /// It did not get to the storage.
    Stopped,
    /// The storage refused it, or it could not be sent.
    Refused,
    /// It was sent to the storage, and its answer was not seen.
    Unknown,
    Enqueued(Enqueued),
}

impl Fate {
    fn of(result: &Result<Enqueued, EnqueueError>) -> Self {
        match result {
            Ok(stored) => Self::Enqueued(stored.clone()),
            Err(error) if error.may_be_stored() => Self::Unknown,
            Err(_) => Self::Refused,
        }
    }

    /// The answer of a middleware, made true.
    fn settle(
        &self,
        jid: &Jid,
        answer: Result<Enqueued, BoxError>,
    ) -> Result<Enqueued, EnqueueError> {
        let may_be_stored = matches!(self, Self::Unknown | Self::Enqueued(_));
        let source = match (self, answer) {
            (Self::Enqueued(stored), Ok(_)) => return Ok(stored.clone()),
            (Self::Stopped, Ok(_)) => return Err(EnqueueError::Stopped { jid: jid.clone() }),
            (_, Ok(_)) => "answered that the job is stored, but it was not".into(),
            (_, Err(source)) => match source.downcast::<EnqueueError>() {
                // An error of verk about this job, and not about another one that the middleware
                // enqueued.
                Ok(error)
                    if error.may_be_stored() == may_be_stored
                        && match (&*error, error.jid()) {
                            (EnqueueError::Stopped { .. }, its) => {
                                matches!(self, Self::Stopped) && its == Some(jid)
                            }
                            (_, Some(its)) => its == jid,
                            (_, None) => matches!(self, Self::Refused),
                        } =>
                {
                    return Err(*error);
                }
                Ok(error) => error,
                Err(source) => source,
            },
        };
        Err(EnqueueError::Middleware {
            jid: jid.clone(),
            may_be_stored,
            source,
        })
    }
}

/// The client middleware of a client, the outermost first.
#[derive(Clone, Default)]
pub(crate) struct ClientStack(Vec<Arc<dyn AnyClient>>);

impl ClientStack {
    pub(crate) fn push(&mut self, middleware: impl ClientMiddleware) {
        self.0.push(Arc::new(middleware));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Passes a job through all of them and stores it.
    pub(crate) async fn pass(
        &self,
        job: &mut Job,
        store: &dyn Store,
    ) -> Result<Enqueued, EnqueueError> {
        let next = ClientNext {
            rest: &self.0,
            store,
            fate: &mut Fate::Stopped,
        };
        next.run(job).await
    }
}

impl fmt::Debug for ClientStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientStack({} middleware)", self.0.len())
    }
}

/// A [`ClientMiddleware`] without its type.
trait AnyClient: Send + Sync {
    fn call<'a>(
        &'a self,
        job: &'a mut Job,
        next: ClientNext<'a>,
    ) -> BoxFuture<'a, Result<Enqueued, BoxError>>;
}

impl<M: ClientMiddleware> AnyClient for M {
    fn call<'a>(
        &'a self,
        job: &'a mut Job,
        next: ClientNext<'a>,
    ) -> BoxFuture<'a, Result<Enqueued, BoxError>> {
        Box::pin(ClientMiddleware::call(self, job, next))
    }
}
