//! Crash points: they test that a job survives the death of its node.
//!
//! A job runs at least once. When a node dies, its jobs run again on another one. The effects of
//! the first run then happen twice, unless the worker prevents it. Here a worker is stopped where
//! it matters, the job is recovered as in production, and the test checks the result:
//!
//! ```
//! # mod worker {
//! #     use verk_core::{*, job::{ArgsError, ArgsReader, ArgsWriter}, outcome::PerformError};
//! #     pub struct Charge { pub order: String }
//! #     #[derive(Clone, Default)]
//! #     pub struct Bank(std::sync::Arc<std::sync::Mutex<std::collections::BTreeSet<String>>>);
//! #     impl Bank {
//! #         pub fn charge_once(&self, order: &str) { self.0.lock().unwrap().insert(order.to_owned()); }
//! #         pub fn charges(&self, order: &str) -> usize { usize::from(self.0.lock().unwrap().contains(order)) }
//! #     }
//! #     impl Worker for Charge {
//! #         const CLASS: &'static str = "Charge";
//! #         const OPTIONS: WorkerOptions = WorkerOptions::DEFAULT;
//! #         fn encode_args(&self) -> Result<String, ArgsError> {
//! #             Ok(ArgsWriter::new().arg("order", &self.order)?.finish())
//! #         }
//! #         fn decode_args(args: &mut ArgsReader<'_>) -> Result<Self, ArgsError> {
//! #             Ok(Self { order: args.arg("order")? })
//! #         }
//! #         async fn perform(self, ctx: JobContext) -> Result<Outcome, PerformError> {
//! #             ctx.state::<Bank>().unwrap().charge_once(&self.order);
//! #             Ok(Outcome::Done)
//! #         }
//! #     }
//! # }
//! # use worker::{Bank, Charge};
//! use verk_testing::crash;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // `Charge` is a worker that takes a `State<Bank>`.
//! crash::everywhere(async |crash| {
//!     let bank = Bank::default();
//!     # let crash = crash.register::<Charge>();
//!     let report = crash.state(bank.clone()).run(Charge { order: "A-1".into() }).await;
//!
//!     assert_eq!(report.outcome.succeeded, 1);
//!     assert_eq!(bank.charges("A-1"), 1, "charged once, however often the job ran");
//! })
//! .await;
//! # }
//! ```
//!
//! The worker's future is dropped where its node dies. So destructors run, which do not run in a
//! process that is killed.

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use verk_core::{
    Jid, Outcome, Verk, VerkBuilder, Worker, client::IntoJob, guard, outcome::PerformError,
    test_seam::RunFuture,
};

use crate::{
    Drained, MemoryStorage, Operation, VirtualClock,
    memory::CrashOn,
    test_verk::{Call, Engine, HANG_AFTER, Ledger, Settings},
};

/// How much virtual time a job has to end, retries included: more than 25 retries take.
const LIFETIME: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// The most waits of one worker at which [`everywhere`] stops it.
const MAX_AWAITS: usize = 1_000;

/// Where a node dies, or loses its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CrashPoint {
    /// The node dies when it has fetched the job, before the worker starts.
    AfterFetch,
    /// The node dies when the worker waits for the n-th time, from 1: at an `.await` that is not
    /// ready at once.
    AtAwait(usize),
    /// The node dies when the worker has returned, before its outcome is stored.
    BeforeSettle,
    /// The outcome is stored, but the connection breaks before the reply arrives. The node
    /// survives.
    LostReply,
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AfterFetch => f.write_str("after the fetch"),
            Self::AtAwait(number) => write!(f, "at wait {number} of the worker"),
            Self::BeforeSettle => f.write_str("before the outcome is stored"),
            Self::LostReply => f.write_str("on a lost reply to the outcome"),
        }
    }
}

/// What came of a job that was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Where the job was stopped.
    pub point: CrashPoint,
    /// Whether the worker reached the point: a worker that never waits is not stopped at a wait.
    pub crashed: bool,
    /// How often the worker started, crash and retries included.
    pub runs: usize,
    /// The outcomes of all runs that ended, those of jobs that it enqueued included.
    pub outcome: Drained,
}

/// A worker that will be stopped: see [`at`] and [`everywhere`].
#[must_use = "`run` runs the job"]
pub struct Crash {
    point: CrashPoint,
    /// Given to each of the nodes.
    configure: Vec<Box<dyn Fn(VerkBuilder) -> VerkBuilder + Send + Sync>>,
    deadline: Duration,
    /// What became of it, for [`everywhere`].
    progress: Arc<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    ran: AtomicBool,
    crashed: AtomicBool,
}

/// Describes one crash, at `point`.
///
/// ```no_run
/// # async fn example<W: verk_core::Worker>(job: W) {
/// use verk_testing::crash::{self, CrashPoint};
///
/// let report = crash::at(CrashPoint::BeforeSettle).run(job).await;
/// assert_eq!(report.runs, 2);
/// # }
/// ```
pub fn at(point: CrashPoint) -> Crash {
    Crash {
        point,
        configure: Vec::new(),
        deadline: Duration::from_secs(10),
        progress: Arc::default(),
    }
}

/// Runs `scenario` once for each crash point: after the fetch, at every wait of the worker, before
/// its outcome is stored, and on a lost reply. The scenario runs its job with the [`Crash`] that it
/// gets, and then asserts the result.
///
/// # Panics
///
/// When the scenario panics at any point, after all of them, with those points and the messages of
/// the scenario. When the scenario runs no job.
pub async fn everywhere(scenario: impl AsyncFn(Crash)) {
    let mut failures = Vec::new();
    for point in [
        CrashPoint::AfterFetch,
        CrashPoint::BeforeSettle,
        CrashPoint::LostReply,
    ] {
        play(&scenario, point, &mut failures).await;
    }
    for number in 1..=MAX_AWAITS {
        if !play(&scenario, CrashPoint::AtAwait(number), &mut failures).await {
            break;
        }
    }
    assert!(
        failures.is_empty(),
        "the job does not survive every crash:{}",
        failures.concat()
    );
}

/// Runs it once; returns whether there was a crash.
async fn play(
    scenario: &impl AsyncFn(Crash),
    point: CrashPoint,
    failures: &mut Vec<String>,
) -> bool {
    let crash = at(point);
    let progress = Arc::clone(&crash.progress);
    if let Err(panic) = guard::catch_future(scenario(crash)).await {
        failures.push(format!("\n{point}: {}", panic.message()));
    } else {
        assert!(
            progress.ran.load(Ordering::SeqCst),
            "the scenario ran no job with the `Crash` that it was given"
        );
    }
    progress.crashed.load(Ordering::SeqCst)
}

impl Crash {
    /// Returns the point at which the node dies.
    #[must_use]
    pub fn point(&self) -> CrashPoint {
        self.point
    }

    /// Shares a value with workers that take a `State<T>`.
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.configure
            .push(Box::new(move |builder| builder.state(value.clone())));
        self
    }

    /// Registers a worker that has no `#[verk::worker]`.
    pub fn register<W: Worker>(mut self) -> Self {
        self.configure.push(Box::new(VerkBuilder::register::<W>));
        self
    }

    /// Sets after how much real time the run gives up. Defaults to 10 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Enqueues the job, runs it until the crash, recovers it and runs it to its end, retries and
    /// the jobs that it enqueues included.
    ///
    /// It runs in memory, in virtual time. Meanwhile, `MyJob::enqueue(..)` in tasks that the worker
    /// spawns uses the same storage, unless a [`TestVerk`](crate::TestVerk) is installed.
    ///
    /// # Panics
    ///
    /// When it takes longer than the deadline, with what still runs; when the job cannot be
    /// enqueued; when a worker needs state that the test did not give.
    #[track_caller]
    pub fn run(self, job: impl IntoJob) -> impl Future<Output = Report> {
        let call = Call {
            name: "the run of a crash point",
            at: Some(Location::caller()),
        };
        let job = job.into_job();
        async move {
            self.progress.ran.store(true, Ordering::SeqCst);
            let stage = Stage::new();
            let first = stage.node(&self);
            let installed = first.verk.client().install().ok();
            let jid = match first.verk.client().enqueue(job).await {
                Ok(jid) => jid,
                Err(error) => panic!("the job cannot be enqueued: {error}"),
            };
            stage.prepare(self.point, &jid);
            let mut outcome = first.advance(call, LIFETIME).await;
            let died = stage.storage.has_dead_nodes();
            if died {
                // It learns that its jobs belong to another node, and stops.
                first.verk.shutdown().await;
                drop(installed);
                stage.storage.bury_dead_nodes();
                let second = stage.node(&self);
                let _installed = second.verk.client().install().ok();
                outcome.add(second.advance(call, LIFETIME).await);
            }
            let crashed = died || self.point == CrashPoint::LostReply;
            self.progress.crashed.store(crashed, Ordering::SeqCst);
            Report {
                point: self.point,
                crashed,
                runs: stage.runs.count.load(Ordering::SeqCst),
                outcome,
            }
        }
    }
}

impl fmt::Debug for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crash")
            .field("point", &self.point)
            .finish_non_exhaustive()
    }
}

/// What outlives a node.
struct Stage {
    storage: MemoryStorage,
    clock: VirtualClock,
    runs: Arc<Runs>,
}

/// The runs of the one job.
#[derive(Default)]
struct Runs {
    jid: OnceLock<Jid>,
    count: AtomicUsize,
    /// How many waits are left before the crash; 0 for none.
    waits_left: AtomicUsize,
}

impl Stage {
    fn new() -> Self {
        let clock = VirtualClock::new();
        Self {
            storage: MemoryStorage::new(Arc::new(clock.clone())),
            clock,
            runs: Arc::default(),
        }
    }

    /// Sets the trap for the job, which waits in its queue.
    fn prepare(&self, point: CrashPoint, jid: &Jid) {
        // Set once: there is one job.
        let _ = self.runs.jid.set(jid.clone());
        match point {
            CrashPoint::AfterFetch => self.storage.crash_on(CrashOn::Fetch, jid),
            CrashPoint::BeforeSettle => self.storage.crash_on(CrashOn::Settle, jid),
            CrashPoint::AtAwait(number) => self.runs.waits_left.store(number, Ordering::SeqCst),
            CrashPoint::LostReply => self.storage.faults().lose_reply(Operation::Settle),
        }
    }

    /// A node that restores the jobs of an earlier one.
    fn node(&self, crash: &Crash) -> Arc<Engine> {
        let builder = Verk::builder()
            .queue("default", 1)
            .node_id("crash".to_owned());
        let builder = crash
            .configure
            .iter()
            .fold(builder, |builder, configure| configure(builder));
        let (runs, storage) = (Arc::clone(&self.runs), self.storage.clone());
        let ledger = Ledger::on_run(move |job, run| {
            if runs.jid.get() != Some(job.jid()) {
                return run;
            }
            runs.count.fetch_add(1, Ordering::SeqCst);
            Box::pin(Watched {
                run: Some(run),
                runs: Arc::clone(&runs),
                storage: storage.clone(),
            })
        });
        let settings = Settings {
            concurrency: 1,
            deadline: crash.deadline,
            hang_after: HANG_AFTER,
        };
        Engine::new(
            builder,
            self.storage.clone(),
            self.clock.clone(),
            Arc::new(ledger),
            settings,
        )
    }
}

/// A run of the job, whose node may die when it waits.
struct Watched {
    /// Gone once the node died.
    run: Option<RunFuture>,
    runs: Arc<Runs>,
    storage: MemoryStorage,
}

impl Future for Watched {
    type Output = Result<Outcome, PerformError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(run) = &mut self.run else {
            return Poll::Pending;
        };
        let poll = run.as_mut().poll(context);
        if poll.is_pending() {
            let dies =
                self.runs
                    .waits_left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                        left.checked_sub(1)
                    });
            if dies == Ok(1) {
                self.run = None;
                self.storage.crash_now();
            }
        }
        poll
    }
}
