//! verk in a unit test: [`TestVerk`].

mod builder;
mod engine;
mod ledger;
mod look;

use std::{future::Future, panic::Location, sync::Arc, time::Duration};

use verk_core::{Client, Verk, client::Installed, events::Events};

pub(crate) use self::{
    builder::HANG_AFTER,
    engine::{Call, Engine, Settings},
    ledger::Ledger,
};
pub use self::{builder::TestVerkBuilder, ledger::Drained, look::ScheduledFor};
use crate::{MemoryStorage, VirtualClock};

/// A Verk for one test: on a storage in memory, in virtual time, with the real managers.
///
/// While it lives, `MyJob::enqueue(..)` uses it everywhere in the test's tokio runtime: in tasks
/// and blocking threads, with both flavours of runtime. Outside of a runtime it covers the thread
/// that made it. It does not cover other threads (`std::thread::spawn`, rayon) and other runtimes:
/// call [`enter`](Self::enter) there, or pass them a [`client`](Self::client). Tests that run in
/// parallel do not see each other.
///
/// Jobs are collected until a call runs them: [`drain`](Self::drain),
/// [`perform_one`](Self::perform_one) or [`advance`](Self::advance). With
/// [`inline`](TestVerkBuilder::inline) they run when they are enqueued.
///
/// # Example
///
/// ```
/// # mod worker {
/// #     // What `#[verk::worker]` makes of `async fn welcome(email: String)`.
/// #     use verk_core::{*, job::{ArgsError, ArgsReader, ArgsWriter}, outcome::PerformError};
/// #     pub struct Welcome { pub email: String }
/// #     impl Worker for Welcome {
/// #         const CLASS: &'static str = "Welcome";
/// #         const OPTIONS: WorkerOptions = WorkerOptions::DEFAULT.queue("mailers");
/// #         fn encode_args(&self) -> Result<String, ArgsError> {
/// #             Ok(ArgsWriter::new().arg("email", &self.email)?.finish())
/// #         }
/// #         fn decode_args(args: &mut ArgsReader<'_>) -> Result<Self, ArgsError> {
/// #             Ok(Self { email: args.arg("email")? })
/// #         }
/// #         async fn perform(self, _: JobContext) -> Result<Outcome, PerformError> {
/// #             Ok(Outcome::Done)
/// #         }
/// #     }
/// # }
/// # use worker::Welcome;
/// # use verk_core::EnqueueExt;
/// # async fn signup(email: &str) {
/// #     Welcome { email: email.to_owned() }.enqueue().await.unwrap();
/// # }
/// use verk_testing::TestVerk;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let verk = TestVerk::new();
/// # drop(verk);
/// # let verk = TestVerk::builder().register::<Welcome>().build();
/// signup("ada@example.com").await;
///
/// verk.assert_enqueued(|job: &Welcome| job.email == "ada@example.com");
/// assert_eq!(verk.drain().await.succeeded, 1);
/// verk.refute_enqueued(|_: &Welcome| true);
/// # }
/// ```
#[derive(Debug)]
pub struct TestVerk {
    // Dropped first: nobody finds a Verk that ends.
    _installed: Installed,
    engine: Arc<Engine>,
}

impl TestVerk {
    /// Makes a `TestVerk` that collects jobs, and installs it for this tokio runtime, or for this
    /// thread outside of a runtime.
    ///
    /// # Panics
    ///
    /// When there is one already, naming both places.
    #[expect(
        clippy::new_without_default,
        reason = "it installs itself where it is made; a default has no effects"
    )]
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Starts to describe one.
    pub fn builder() -> TestVerkBuilder {
        TestVerkBuilder::new()
    }

    #[track_caller]
    fn install(engine: Arc<Engine>) -> Self {
        match engine.verk.client().install() {
            Ok(installed) => Self {
                _installed: installed,
                engine,
            },
            Err(error) => panic!("one TestVerk at a time: {error}"),
        }
    }

    /// Runs all waiting jobs, the jobs that they enqueue, and those that are due now, until nothing
    /// is left.
    ///
    /// A job that sleeps in virtual time ([`JobContext::sleep`](verk_core::JobContext::sleep)) is
    /// left running, and counted in [`Drained::sleeping`]. Real time stays real: the call waits for
    /// a job that waits for a socket.
    ///
    /// # Panics
    ///
    /// When it takes longer than the [`deadline`](TestVerkBuilder::deadline), with what still runs;
    /// when a worker needs state that the builder was not given. Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, running jobs continue, and no other is started.
    #[track_caller]
    pub fn drain(&self) -> impl Future<Output = Drained> + Send {
        let call = call("drain()");
        self.engine.drain(call)
    }

    /// Runs the one job that has waited longest; the jobs that it enqueues wait. Of jobs that were
    /// enqueued at the same (virtual) time, the first of the first queue by name runs.
    ///
    /// # Panics
    ///
    /// As [`drain`](Self::drain).
    ///
    /// # Cancel safety
    ///
    /// As [`drain`](Self::drain).
    #[track_caller]
    pub fn perform_one(&self) -> impl Future<Output = Drained> + Send {
        let call = call("perform_one()");
        self.engine.perform_one(call)
    }

    /// Lets virtual time pass, and runs waiting and due jobs. It steps to each time at which a
    /// scheduled job or a retry is due, or a running job wakes or reaches its `timeout`, and does
    /// there what [`drain`](Self::drain) does.
    ///
    /// Three weeks of retries take milliseconds.
    ///
    /// A job may hang on something real, such as a socket or `tokio::time::sleep`. If it has a
    /// `timeout` that ends by then, and nothing happens for a second of real time
    /// ([`hang_after`](TestVerkBuilder::hang_after)), the clock moves on, and the `timeout` ends
    /// the job.
    ///
    /// # Panics
    ///
    /// As [`drain`](Self::drain).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, running jobs continue, and the time stands still.
    #[track_caller]
    pub fn advance(&self, duration: Duration) -> impl Future<Output = Drained> + Send {
        let call = call("advance()");
        self.engine.advance(call, duration)
    }

    /// Returns the outcomes of all runs so far.
    #[must_use]
    pub fn totals(&self) -> Drained {
        self.engine.ledger.total()
    }

    /// Covers the current tokio runtime, or this thread outside of one, until the guard is dropped:
    /// for threads and runtimes other than the test's own.
    ///
    /// ```
    /// # use verk_testing::TestVerk;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let verk = TestVerk::new();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         assert!(verk_core::Client::current().is_err());
    ///         let _entered = verk.enter();
    ///         assert!(verk_core::Client::current().is_ok());
    ///     });
    /// });
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// When another TestVerk covers it.
    #[track_caller]
    pub fn enter(&self) -> Installed {
        match self.client().install() {
            Ok(installed) => installed,
            Err(error) => panic!("one TestVerk at a time: {error}"),
        }
    }

    /// The client that `MyJob::enqueue(..)` uses in this test.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.engine.verk.client()
    }

    /// Returns the node, for code that needs a [`Verk`]. The first call that runs jobs starts it.
    #[must_use]
    pub fn verk(&self) -> &Verk {
        &self.engine.verk
    }

    /// The storage, with its [faults](MemoryStorage::faults).
    #[must_use]
    pub fn storage(&self) -> &MemoryStorage {
        &self.engine.storage
    }

    /// Returns the clock. To let time pass, use [`advance`](Self::advance), which waits for the
    /// consequences.
    #[must_use]
    pub fn clock(&self) -> &VirtualClock {
        &self.engine.clock
    }

    /// Returns the events from now on.
    pub fn events(&self) -> Events {
        self.engine.verk.events()
    }
}

#[track_caller]
fn call(name: &'static str) -> Call {
    Call {
        name,
        at: Some(Location::caller()),
    }
}
