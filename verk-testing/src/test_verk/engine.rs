//! Runs the jobs of a test, and knows when they are done.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    panic::Location,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use verk_core::{
    Jid, Job, QueueName, Verk, VerkBuilder,
    time::{Clock, SystemClock},
};

use super::{
    ledger::{Drained, Ledger},
    look::describe,
};
use crate::{
    MemoryStorage, VirtualClock,
    memory::{Activity, Driver},
};

/// Longer than any test's virtual time: the node sends no heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The schedule manager looks whenever the time moves.
const POLL_INTERVAL: Duration = Duration::from_micros(1);

/// What a test configures.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How many jobs of a queue run at once, unless the queue was configured.
    pub(crate) concurrency: usize,
    /// How long a call may wait in real time.
    pub(crate) deadline: Duration,
    /// How long nothing may happen in real time before running jobs count as hung.
    pub(crate) hang_after: Duration,
}

/// One node on a storage in memory, controlled by the test.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) verk: Verk,
    pub(crate) storage: MemoryStorage,
    pub(crate) clock: VirtualClock,
    pub(crate) ledger: Arc<Ledger>,
    settings: Settings,
    /// The queues that the node runs since they got a job.
    queues: Mutex<BTreeSet<QueueName>>,
    /// The settlements on this storage before this node came.
    settled_before: u64,
}

/// The call that waits, for the message if it takes too long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) at: Option<&'static Location<'static>>,
}

/// A moment.
#[derive(PartialEq)]
struct Look {
    activity: Activity,
    asleep: HashMap<Jid, Duration>,
    /// Whether all settlements were published.
    all_told: bool,
}

impl Look {
    /// Whether nothing happens by itself any more, except for jobs that may be fetched.
    fn is_settled(&self) -> bool {
        let asleep = |payload: &Bytes| self.is_asleep(payload);
        self.activity.due == 0 && self.all_told && self.activity.inprogress.iter().all(asleep)
    }

    fn is_quiet(&self) -> bool {
        self.activity.queued.is_empty() && self.is_settled()
    }

    fn is_asleep(&self, payload: &Bytes) -> bool {
        !self.asleep.is_empty()
            && Job::decode(payload.clone()).is_ok_and(|job| self.asleep.contains_key(job.jid()))
    }
}

impl Engine {
    /// Builds the node. Nothing runs before the first call that runs jobs.
    ///
    /// # Panics
    ///
    /// When the builder has errors.
    #[track_caller]
    pub(crate) fn new(
        builder: VerkBuilder,
        storage: MemoryStorage,
        clock: VirtualClock,
        ledger: Arc<Ledger>,
        settings: Settings,
    ) -> Arc<Self> {
        storage.close_gate();
        let build = builder
            .storage(storage.clone())
            .clock(Arc::new(clock.clone()))
            .heartbeat(HEARTBEAT)
            .poll_interval(POLL_INTERVAL)
            .shutdown_timeout(Duration::ZERO)
            .for_test(Arc::clone(&ledger) as _)
            .build();
        // A storage in memory answers at once, so that a test needs no await to begin.
        let verk = match build.now_or_never() {
            Some(Ok(verk)) => verk,
            Some(Err(error)) => panic!("cannot build the Verk of this test: {error}"),
            None => unreachable!("building a node on a storage in memory waits for nothing"),
        };
        Arc::new(Self {
            settled_before: storage.activity().settled,
            verk,
            storage,
            clock,
            ledger,
            settings,
            queues: Mutex::default(),
        })
    }

    /// Runs all jobs until nothing is left to do at the current time.
    pub(crate) async fn drain(&self, call: Call) -> Drained {
        self.watch(call, async {
            let _driver = self.start();
            self.until(Look::is_quiet).await;
        })
        .await
    }

    /// Runs the job that has waited longest.
    pub(crate) async fn perform_one(&self, call: Call) -> Drained {
        struct Tickets<'a>(&'a MemoryStorage);
        impl Drop for Tickets<'_> {
            fn drop(&mut self) {
                self.0.take_tickets();
            }
        }
        self.watch(call, async {
            drop(self.start());
            self.until(Look::is_settled).await;
            let Some(queue) = self.next_queue() else {
                return;
            };
            let tickets = Tickets(&self.storage);
            self.storage.give_ticket(&queue);
            self.until(|look| !tickets.0.has_tickets() && look.is_settled())
                .await;
        })
        .await
    }

    /// Lets virtual time pass, from due time to due time; ends early when a node dies.
    pub(crate) async fn advance(&self, call: Call, duration: Duration) -> Drained {
        self.watch(call, async {
            let _driver = self.start();
            self.step_to(self.clock.instant() + duration).await;
        })
        .await
    }

    /// Runs jobs that the test just enqueued, and what they enqueue.
    pub(super) async fn run_inline(&self, jids: Vec<Jid>) {
        let call = Call {
            name: "an inline enqueue",
            at: None,
        };
        // Jobs already run, and one of them may wait for this enqueue: then wait only for these
        // jobs.
        let nested = self.storage.drivers() > 0;
        self.watch(call, async {
            let _driver = self.start();
            if nested {
                let over = |jid: &Jid, look: &Look| {
                    self.ledger.has_ended(jid) || look.asleep.contains_key(jid)
                };
                self.until(|look| jids.iter().all(|jid| over(jid, look)))
                    .await;
            } else {
                self.until(Look::is_quiet).await;
            }
        })
        .await;
    }

    /// Starts the node if it does not run, and lets it fetch while the driver lives.
    fn start(&self) -> Driver {
        if let Err(error) = self.verk.start() {
            unreachable!("the node of a test has queues: {error}");
        }
        self.storage.drive()
    }

    async fn step_to(&self, target: Instant) {
        loop {
            self.come_to_rest(target).await;
            let activity = self.storage.activity();
            if activity.crashed {
                return;
            }
            let due = activity.next_due.map(|at| {
                let pause = at.duration_since(self.clock.now()).unwrap_or_default();
                self.clock.instant() + pause
            });
            let next = [due, self.clock.next_job_deadline()].into_iter().flatten();
            match next.min().filter(|next| *next <= target) {
                Some(next) => self.clock.advance_to(next),
                None => break,
            }
        }
        self.clock.advance_to(target);
        self.until(|look| look.activity.crashed || look.is_quiet())
            .await;
    }

    /// Waits until the node is quiet. Also ends when a running job has a `timeout` by `target`, and
    /// nothing has happened for so long in real time that only the `timeout` can end it.
    async fn come_to_rest(&self, target: Instant) {
        let quiet = self.until(|look| look.activity.crashed || look.is_quiet());
        let mut quiet = pin!(quiet);
        let clock: &dyn Clock = &SystemClock;
        loop {
            let before = (self.ledger.polls(), self.look());
            let waited = clock.timeout(self.settings.hang_after, &mut quiet);
            if waited.await.is_some() {
                return;
            }
            let hangs = before.0.is_some() && before == (self.ledger.polls(), self.look());
            let timeout = self.clock.next_timeout();
            if hangs && timeout.is_some_and(|timeout| timeout <= target) {
                return;
            }
        }
    }

    /// Waits for a state; never for time to pass.
    async fn until(&self, reached: impl Fn(&Look) -> bool) {
        loop {
            let mut stored = pin!(self.storage.changed().notified());
            let mut told = pin!(self.ledger.changed().notified());
            let mut slept = pin!(self.clock.sleepers_changed().notified());
            stored.as_mut().enable();
            told.as_mut().enable();
            slept.as_mut().enable();
            let look = self.look();
            self.run_queues(&look.activity);
            if reached(&look) {
                return;
            }
            tokio::select! {
                () = stored => {}
                () = told => {}
                () = slept => {}
            }
        }
    }

    fn look(&self) -> Look {
        // Settlements are published later. They are read in this order, so that no more are counted
        // as settled than as published.
        let activity = self.storage.activity();
        let all_told = self.settled_before + self.ledger.told() >= activity.settled;
        Look {
            activity,
            asleep: self.clock.sleeping_jobs(),
            all_told,
        }
    }

    /// Lets the node run every queue that has jobs.
    fn run_queues(&self, activity: &Activity) {
        let mut queues = self.queues.lock();
        for queue in activity.queued.keys() {
            if queues.insert(queue.clone())
                && let Err(error) = self
                    .verk
                    .add_queue(queue.as_str(), self.settings.concurrency)
            {
                unreachable!("the node of a test takes any queue: {error}");
            }
        }
    }

    /// The queue whose first job has waited longest; of equals, the first by name.
    fn next_queue(&self) -> Option<QueueName> {
        let mut first: Vec<(QueueName, Bytes)> = self.storage.waiting();
        first.dedup_by(|later, earlier| later.0 == earlier.0);
        first
            .into_iter()
            .min_by_key(|(_, payload)| {
                let job = Job::decode(payload.clone()).ok();
                job.and_then(|job| job.enqueued_at())
            })
            .map(|(queue, _)| queue)
    }

    /// Runs `work` for at most the deadline, and returns the outcomes of the jobs meanwhile.
    async fn watch(&self, call: Call, work: impl Future<Output = ()>) -> Drained {
        let before = self.ledger.total();
        let clock: &dyn Clock = &SystemClock;
        let in_time = clock.timeout(self.settings.deadline, work).await.is_some();
        let missing = self.ledger.missing();
        assert!(
            missing.is_empty(),
            "{call} ran a job that the test is not prepared for: {}",
            missing.join("; ")
        );
        assert!(
            in_time,
            "{call} gave up after {:?} of real time; {}",
            self.settings.deadline,
            self.what_happens()
        );
        let look = self.look();
        let inprogress = look.activity.inprogress.iter();
        Drained {
            sleeping: inprogress.filter(|job| look.is_asleep(job)).count(),
            ..self.ledger.since(&before)
        }
    }

    /// What is not done yet.
    fn what_happens(&self) -> String {
        let look = self.look();
        let mut text = String::from("still to be done:");
        for payload in &look.activity.inprogress {
            let state = if look.is_asleep(payload) {
                "sleeps"
            } else {
                "runs"
            };
            // Writing to a `String` cannot fail.
            let _ = write!(text, "\n  {state}: {}", describe(payload));
        }
        for (queue, count) in &look.activity.queued {
            let _ = write!(text, "\n  {count} in queue {queue}");
        }
        if look.activity.due > 0 {
            let _ = write!(text, "\n  {} due and not in a queue yet", look.activity.due);
        }
        if !look.all_told {
            text.push_str("\n  outcomes that are stored and not told yet");
        }
        if !look.activity.inprogress.is_empty() {
            text.push_str("\na job that waits for virtual time does so with `JobContext::sleep`, and `advance` wakes it");
            text.push_str(
                "\na job that hangs in real time ends at its `timeout`, when `advance` goes so far",
            );
        }
        text
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.at {
            Some(at) => write!(f, "{} at {at}", self.name),
            None => f.write_str(self.name),
        }
    }
}
