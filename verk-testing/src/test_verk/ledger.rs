//! The outcomes of the jobs of a test: [`Drained`].

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    pin::Pin,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use verk_core::{
    Event, EventKind, Jid, Job, Outcome,
    error::ConfigError,
    events::AfterFailure,
    outcome::PerformError,
    test_seam::{RunFuture, TestSeam},
};

use super::engine::Engine;

/// The outcomes of the runs of a [`drain`](crate::TestVerk::drain), or of another call that runs
/// jobs.
///
/// It counts runs, not jobs: a job that failed and then succeeded counts in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Runs that succeeded.
    pub succeeded: usize,
    /// Runs that failed, whatever followed.
    pub failed: usize,
    /// Runs that failed and whose job waits in the `retry` set.
    pub retried: usize,
    /// Jobs that went to the `dead` set: they failed and had no retries left, were killed, or were
    /// no jobs at all.
    pub dead: usize,
    /// Runs whose worker returned `Outcome::Discard`, or failed and asked for neither a retry nor
    /// the dead set.
    pub discarded: usize,
    /// Runs whose worker returned `Outcome::Snooze`.
    pub snoozed: usize,
    /// Jobs that still run, because they wait in `JobContext::sleep` for virtual time to pass: call
    /// [`advance`](crate::TestVerk::advance).
    pub sleeping: usize,
    /// The errors of the runs that failed, as `class: message`.
    pub errors: Vec<String>,
}

impl Drained {
    /// How many runs ended.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.succeeded + self.failed + self.snoozed + self.discarded
    }

    /// Adds what later runs came to.
    pub(crate) fn add(&mut self, later: Self) {
        self.succeeded += later.succeeded;
        self.failed += later.failed;
        self.retried += later.retried;
        self.dead += later.dead;
        self.discarded += later.discarded;
        self.snoozed += later.snoozed;
        self.sleeping = later.sleeping;
        self.errors.extend(later.errors);
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            succeeded: self.succeeded - before.succeeded,
            failed: self.failed - before.failed,
            retried: self.retried - before.retried,
            dead: self.dead - before.dead,
            discarded: self.discarded - before.discarded,
            snoozed: self.snoozed - before.snoozed,
            sleeping: 0,
            errors: self.errors[before.errors.len()..].to_vec(),
        }
    }
}

type OnRun = Box<dyn Fn(&Job, RunFuture) -> RunFuture + Send + Sync>;

/// Keeps the accounts of one node.
#[derive(Default)]
pub(crate) struct Ledger {
    accounts: Mutex<Accounts>,
    /// How many settlements were published as events.
    told: AtomicU64,
    changed: Notify,
    polls: Arc<Polls>,
    /// Whether the enqueue runs the jobs, and the engine that does.
    inline: OnceLock<Weak<Engine>>,
    /// Wraps each run.
    on_run: Option<OnRun>,
    /// The classes whose periodic jobs are declared.
    periodic: BTreeSet<&'static str>,
}

/// Counts the polls of the runs of all jobs.
#[derive(Debug, Default)]
struct Polls {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Polls {
    /// Counts as a poll in progress until it is dropped, also when the job panics.
    fn begin(&self) -> impl Drop {
        struct End<'a>(&'a Polls);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.ended.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.begun.fetch_add(1, Ordering::SeqCst);
        End(self)
    }
}

/// A run whose polls are counted.
struct CountedRun {
    run: RunFuture,
    polls: Arc<Polls>,
}

impl Future for CountedRun {
    type Output = Result<Outcome, PerformError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { run, polls } = &mut *self;
        let _poll = polls.begin();
        run.as_mut().poll(context)
    }
}

#[derive(Debug, Default)]
struct Accounts {
    total: Drained,
    /// The jobs that ended a run.
    ended: HashSet<Jid>,
    /// The job of each run that succeeded, in order.
    finished: Vec<Arc<Job>>,
    /// The job of each run that failed, in order.
    failed: Vec<Arc<Job>>,
    /// The state that workers need and the test did not give.
    missing: BTreeSet<String>,
}

impl Ledger {
    /// Lets the node declare the periodic jobs of these classes.
    pub(crate) fn declaring(periodic: BTreeSet<&'static str>) -> Self {
        Self {
            periodic,
            ..Self::default()
        }
    }

    pub(crate) fn on_run(
        on_run: impl Fn(&Job, RunFuture) -> RunFuture + Send + Sync + 'static,
    ) -> Self {
        Self {
            on_run: Some(Box::new(on_run)),
            ..Self::default()
        }
    }

    /// From now on an enqueue runs the jobs.
    pub(super) fn run_inline(&self, engine: Weak<Engine>) {
        // Set once, when the engine is made.
        let _ = self.inline.set(engine);
    }

    pub(super) fn total(&self) -> Drained {
        self.accounts().total.clone()
    }

    pub(super) fn since(&self, before: &Drained) -> Drained {
        self.accounts().total.since(before)
    }

    pub(super) fn missing(&self) -> Vec<String> {
        self.accounts().missing.iter().cloned().collect()
    }

    pub(super) fn has_ended(&self, jid: &Jid) -> bool {
        self.accounts().ended.contains(jid)
    }

    pub(super) fn told(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }

    /// The jobs whose runs succeeded.
    pub(super) fn finished(&self) -> Vec<Arc<Job>> {
        self.accounts().finished.clone()
    }

    /// The jobs whose runs failed.
    pub(super) fn failed(&self) -> Vec<Arc<Job>> {
        self.accounts().failed.clone()
    }

    /// How often running jobs were polled; `None` while one is being polled.
    pub(super) fn polls(&self) -> Option<u64> {
        let ended = self.polls.ended.load(Ordering::SeqCst);
        let begun = self.polls.begun.load(Ordering::SeqCst);
        (begun == ended).then_some(ended)
    }

    /// Notified when an event was published.
    pub(super) fn changed(&self) -> &Notify {
        &self.changed
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        // Counts are whole after every statement.
        self.accounts.lock()
    }
}

impl Accounts {
    /// Records an event; returns how many settlements it reports.
    fn record(&mut self, event: &Event) -> u64 {
        match event {
            Event {
                what: EventKind::JobFinished { .. },
                job: Some(job),
                ..
            } => {
                self.total.succeeded += 1;
                self.finished.push(Arc::clone(job));
                self.ended.insert(job.jid().clone());
            }
            Event {
                what: EventKind::JobFailed { failure, then, .. },
                job: Some(job),
                ..
            } => {
                self.total.failed += 1;
                match then {
                    AfterFailure::Retry { .. } => self.total.retried += 1,
                    AfterFailure::Dead => self.total.dead += 1,
                    AfterFailure::Discarded => self.total.discarded += 1,
                }
                let error = format!("{}: {}", job.class(), failure.error_message);
                self.total.errors.push(error);
                self.failed.push(Arc::clone(job));
                self.ended.insert(job.jid().clone());
            }
            Event {
                what: EventKind::JobSnoozed { .. },
                job: Some(job),
                ..
            } => {
                self.total.snoozed += 1;
                self.ended.insert(job.jid().clone());
            }
            Event {
                what: EventKind::JobDiscarded { .. },
                job: Some(job),
                ..
            } => {
                self.total.discarded += 1;
                self.ended.insert(job.jid().clone());
            }
            Event {
                what: EventKind::JobMalformed { reason, .. },
                ..
            } => {
                self.total.dead += 1;
                self.total.errors.push(format!("malformed job: {reason}"));
            }
            Event {
                what: EventKind::PoisonPillBuried { deaths, .. },
                job: Some(job),
                ..
            } => {
                self.total.dead += 1;
                let error = format!("{}: {deaths} processes died while it ran", job.class());
                self.total.errors.push(error);
                self.ended.insert(job.jid().clone());
            }
            Event {
                what: EventKind::JobHandedBack,
                ..
            } => {}
            Event {
                what: EventKind::JobsRestored { count, .. },
                ..
            } => return *count as u64,
            _ => return 0,
        }
        1
    }
}

impl TestSeam for Ledger {
    fn declares(&self, class: &str) -> bool {
        self.periodic.contains(class)
    }

    fn event(&self, event: &Event) {
        let told = self.accounts().record(event);
        self.told.fetch_add(told, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    fn run(&self, job: &Arc<Job>, missing: Option<&ConfigError>, run: RunFuture) -> RunFuture {
        if let Some(missing) = missing {
            self.accounts().missing.insert(missing.to_string());
        }
        let run = match &self.on_run {
            Some(on_run) => on_run(job, run),
            None => run,
        };
        Box::pin(CountedRun {
            run,
            polls: Arc::clone(&self.polls),
        })
    }

    fn stored(&self, jids: Vec<Jid>) -> BoxFuture<'static, ()> {
        match self.inline.get().and_then(Weak::upgrade) {
            Some(engine) => Box::pin(async move { engine.run_inline(jids).await }),
            None => Box::pin(std::future::ready(())),
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("total", &self.accounts().total)
            .finish_non_exhaustive()
    }
}
