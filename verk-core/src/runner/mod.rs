//! Fetches, settles and reconciles the jobs of one queue. One task begins and awaits all three.
//!
//! At most one operation of each kind is in flight. The exception: while jobs end within a round
//! trip, two exchanges are in flight, each of which settles one batch and fetches the next. Replies
//! are read in the order in which the requests were sent. After a settle or a fetch whose reply was
//! lost, the queue does neither until it has read the `inprogress` list and compared it with the
//! jobs that this node works on. `docs/runner.md` has a diagram.

mod begin;
pub(crate) mod ended_run;
pub(crate) mod ends;
mod fetch;
pub(crate) mod job_log;
mod lanes;
mod outbox;
mod outcomes;
mod payload;
mod plan;
pub(crate) mod prefetch;
pub(crate) mod reconcile;
mod replies;
pub(crate) mod retry;
mod row;
pub(crate) mod settle;
pub(crate) mod stop;
pub(crate) mod workers;

use std::{
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, OptionFuture};
use tokio::sync::watch;

use crate::{
    events::event::{Event, EventKind},
    job::Job,
    log,
    names::QueueName,
    node::registration::Registration,
    queues::{
        QueueSettings, Queues, State,
        handle::ManagerHandle,
        status::{QueueEvent, next_event},
    },
    runner::{
        begin::Begin,
        ended_run::EndedRun,
        job_log::Line,
        lanes::{Activity, Lane, Lanes, Next, read_all},
        outbox::Outbox,
        payload::Payload,
        plan::{Step, View, gives_up, waits_for_reply},
        prefetch::Prefetch,
        row::Tasks,
        settle::{Pending, Rules},
        stop::{Phase, Stop},
        workers::WorkersManager,
    },
    services::Services,
    stats::counters::{Counters, QueueCounters},
    storage::{Inprogress, Settled},
    worker::{WorkerEntry, polls::PollTime, workforce::Workforce},
};

/// The `inprogress` list is compared with the jobs that really run once in this many heartbeats.
const RECONCILE_EVERY: u32 = 4;

/// How long a cancelled job may take to end, and its outcome to be stored. After that the node
/// leaves the job in progress.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// How long the jobs that are handed back wait for cancelled jobs that have not ended, so that all
/// of them go back in order.
const HAND_BACK_AFTER: Duration = Duration::from_secs(1);

/// One queue on one node.
pub(crate) struct QueueManager {
    services: Arc<Services>,
    workforce: Arc<Workforce>,
    registration: Arc<Registration>,
    inprogress: Inprogress,
    stop: Stop,
    handle: Arc<ManagerHandle>,
    queues: watch::Receiver<State>,
    wanted: QueueSettings,
    workers: WorkersManager,
    tasks: Tasks,
    /// Whether another thread of the runtime must be woken before the queue waits.
    wakes_another: bool,
    /// Jobs that were fetched and have no permit yet.
    prefetch: Prefetch,
    /// Whether the last wait brought one job, of a class whose runs end within a trip.
    has_one_short: bool,
    /// Counts the outcomes of its jobs.
    counters: Arc<QueueCounters>,
    /// Runs that have ended, and are still in `inprogress`.
    outbox: Outbox,
    /// The requests that are on their way to the storage.
    lanes: Lanes,
    /// The outcomes that are stored and not published yet, and how long that took.
    stored: (Vec<Pending>, Duration),
    /// Whether the list must be read before anything else is fetched or settled.
    must_reconcile: bool,
    /// The number of the server on which fetches filled the list.
    server: u64,
    /// When the list is read next, if nothing makes the node read it before.
    reconcile_at: Instant,
    /// How far the queue was in its stop, when this was last checked.
    phase: Phase,
    /// Whether the node id ends, when this was last checked.
    node_ends: bool,
    /// Set when the jobs were cancelled: until when the jobs that are handed back wait for the
    /// others.
    hand_back_at: Option<Instant>,
    /// When the queue ends, even if jobs are left.
    give_up_at: Option<Instant>,
    /// Wakes the queue, at this time, even if nothing happens.
    alarm: Option<(Instant, BoxFuture<'static, ()>)>,
    /// The event of the queue that was published last, and the number of changes of its settings
    /// before it.
    told: Option<(u64, QueueEvent)>,
    /// No fetch before this time.
    fetch_at: Instant,
    fetch_failures: u32,
}

impl QueueManager {
    pub(crate) fn new(
        workforce: Arc<Workforce>,
        queues: &Queues,
        registration: Arc<Registration>,
        handle: Arc<ManagerHandle>,
        counters: &Counters,
        stop: Stop,
    ) -> Self {
        let services = Arc::clone(&workforce.services);
        let now = services.clock.instant();
        let mut queues = queues.subscribe();
        queues.mark_changed();
        let workers = WorkersManager::new(
            Arc::clone(&services.server_time),
            Arc::clone(&registration),
            Arc::clone(&handle),
        );
        Self {
            tasks: Tasks::new(
                Arc::clone(&workforce),
                Arc::clone(&handle),
                Arc::clone(workers.ends()),
            ),
            workers,
            wakes_another: false,
            counters: counters.of_queue(&handle.inprogress().queue),
            prefetch: Prefetch::new(now),
            has_one_short: false,
            inprogress: handle.inprogress().clone(),
            handle,
            queues,
            wanted: QueueSettings::default(),
            reconcile_at: now + services.config.heartbeat * RECONCILE_EVERY,
            fetch_at: now,
            services,
            workforce,
            registration,
            stop,
            outbox: Outbox::default(),
            lanes: Lanes::default(),
            stored: (Vec::new(), Duration::ZERO),
            must_reconcile: false,
            server: 0,
            phase: Phase::Running,
            node_ends: false,
            hand_back_at: None,
            give_up_at: None,
            alarm: None,
            told: None,
            fetch_failures: 0,
        }
    }

    pub(crate) fn queue(&self) -> &QueueName {
        &self.inprogress.queue
    }

    /// Makes the next [`run`](Self::run) start with a read of what the node holds, because the last
    /// one panicked.
    pub(crate) fn recover(&mut self) {
        self.must_reconcile = true;
        self.told = None;
        for mut sent in self.lanes.close() {
            sent.unknown = true;
            self.outbox.push(sent);
        }
    }

    /// Runs until the queue is stopped and everything that it held is settled or given up.
    pub(crate) async fn run(&mut self) {
        loop {
            self.look();
            if self.phase > Phase::Running && self.is_done() {
                break;
            }
            let view = self.act();
            let happened = self.wait(&view).await;
            if let Happened::TimeIsUp = happened {
                break;
            }
            self.handle(happened);
        }
        self.log_what_is_left();
        if self.must_reconcile || !self.lanes.first.activity().is_quiet() {
            self.registration.stay_on_the_list();
        }
        self.tell(true);
    }

    /// Checks what changes without a reply: the settings of the queue, how far it is in its stop,
    /// and the time.
    fn look(&mut self) {
        let fewer = self.look_at_what_is_wanted();
        let now = self.services.clock.instant();
        if !self.is_open() {
            // No next batch follows that the events could wait for.
            self.tell_stored();
        }
        self.tell(self.is_done());
        if self.phase >= Phase::Cancelled && self.hand_back_at.is_none() {
            self.workers.cancel_all();
            self.hand_back_at = Some(now + HAND_BACK_AFTER);
        }
        let first = self.lanes.first.activity();
        // Asked only of a node that ends: it takes a lock.
        let holds_nothing = self.node_ends && self.holds_nothing();
        self.give_up_at = gives_up(self.phase, self.node_ends, holds_nothing, first)
            .then(|| self.give_up_at.unwrap_or(now + LAST_GRACE));
        self.must_reconcile |= self.phase == Phase::Running && now >= self.reconcile_at;
        if self.must_reconcile || fewer || !self.is_open() {
            self.lanes.interrupt.cancel();
        }
    }

    /// Takes the steps that are due. Returns the view of the queue after them.
    fn act(&mut self) -> View {
        let mut view = self.view();
        for step in Step::TURN {
            if step.is_due(&view) {
                self.take(step);
                view = self.view();
            }
        }
        view
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Open => self.lanes.first = self.open(),
            Step::ReadList => self.read_list(),
            Step::Fetch => self.fetch(),
            Step::Begin => self.begin(),
            Step::TellStored => self.tell_stored(),
            Step::FetchBeside => self.fetch_beside(),
            Step::SettleAlone => self.settle_alone(),
        }
    }

    fn view(&self) -> View {
        View {
            phase: self.phase,
            is_open: self.is_open(),
            must_reconcile: self.must_reconcile,
            holds_off: self.services.clock.instant() < self.fetch_at,
            knows_whose_it_is: self.knows_whose_it_is(),
            first: self.lanes.first.activity(),
            second: self.lanes.second.activity(),
            settles_alone: self.lanes.settling.is_some(),
            has_prefetched: !self.prefetch.is_empty(),
            has_started: self.workers.has_started(),
            has_pending: !self.outbox.is_empty(),
            has_stored: !self.stored.0.is_empty(),
            is_short: self.most_of_two().is_some(),
            in_a_row: self.workers.ends().in_a_row(),
            has_one_short: self.has_one_short,
        }
    }

    /// Waits for the next thing that happens. A stop is seen first, then stored outcomes, then new
    /// work.
    ///
    /// Cancel safe.
    async fn wait(&mut self, view: &View) -> Happened {
        if std::mem::take(&mut self.wakes_another) {
            // A task that is woken while it runs is queued behind the task that it spawned, and
            // another thread is woken to take it.
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Ready(())
            })
            .await;
        }
        let waits_for_reply = waits_for_reply(view);
        self.set_alarm(view);
        let (clock, registration) = (&*self.services.clock, &*self.registration);
        let alarm = OptionFuture::from(self.alarm.as_mut().map(|(_, alarm)| alarm));
        let give_up = OptionFuture::from(self.give_up_at.map(|at| clock.sleep_until(at)));
        let settling = self.lanes.settling.as_mut();
        let settled = OptionFuture::from(settling.map(|call| &mut call.reply));
        tokio::select! {
            biased;
            () = self.stop.advance(self.phase, self.node_ends) => Happened::LookDue,
            Some(results) = settled => Happened::SettledAlone(results),
            run = self.workers.next_finished(), if !waits_for_reply => Happened::Ended(run),
            next = lanes::next(&mut self.lanes.first, &mut self.lanes.second) => Happened::Next(next),
            () = registration.server_changed(&mut self.server) => Happened::ServerChanged,
            // An error says that the sender is gone; it is in `Queues`.
            _ = self.queues.changed() => {
                self.queues.mark_changed();
                Happened::LookDue
            }
            () = registration.until_fresh(clock), if !view.knows_whose_it_is => Happened::LookDue,
            Some(()) = alarm => {
                self.alarm = None;
                Happened::LookDue
            }
            Some(()) = give_up => Happened::TimeIsUp,
        }
    }

    fn handle(&mut self, happened: Happened) {
        match happened {
            Happened::SettledAlone(results) => self.settled_alone(results),
            Happened::Ended(run) => {
                self.ended(run);
                self.take_ended();
            }
            Happened::Next(Next::Replied(reply)) => {
                self.take_ended();
                self.replied(reply);
            }
            Happened::Next(Next::OpenedSecond(result)) => {
                self.look_at_what_is_wanted();
                self.lanes.second = self.opened(result);
            }
            Happened::ServerChanged => self.must_reconcile = true,
            // Each turn begins with these checks.
            Happened::LookDue | Happened::TimeIsUp => {}
        }
    }

    /// Reads the settings of the queue, and how far it is in its stop. A queue that was removed
    /// drains with its last settings. Returns whether fewer jobs may run than before.
    fn look_at_what_is_wanted(&mut self) -> bool {
        self.phase = self.stop.phase();
        self.node_ends = self.phase > Phase::Running && self.stop.node_ends();
        // An error says that the sender is gone; it is in `Queues`.
        if !self.queues.has_changed().unwrap_or(false) {
            return false;
        }
        let state = self.queues.borrow_and_update();
        let Some(wanted) = state.wanted(&self.inprogress.queue) else {
            return false;
        };
        if wanted.changes != self.wanted.changes && self.fetch_failures == 0 {
            self.fetch_at = self.services.clock.instant();
        }
        let fewer = wanted.concurrency < self.wanted.concurrency;
        self.workers.set_concurrency(wanted.concurrency);
        self.handle.set_limit(wanted.concurrency);
        self.wanted = wanted;
        fewer
    }

    /// Whether jobs may start: the queue is neither paused nor about to end.
    fn is_open(&self) -> bool {
        !self.wanted.paused && self.phase == Phase::Running
    }

    /// Publishes the event of the state that the queue is in now.
    fn tell(&mut self, done: bool) {
        let changes = self.wanted.changes;
        while let Some(next) = next_event(self.told, changes, self.is_open(), done) {
            self.told = Some((changes, next));
            self.handle.set_paused(next == QueueEvent::Paused);
            let what = match next {
                QueueEvent::Running => EventKind::QueueRunning,
                QueueEvent::Pausing => EventKind::QueuePausing,
                QueueEvent::Paused => EventKind::QueuePaused,
            };
            self.publish(None, what);
        }
    }

    fn is_done(&self) -> bool {
        self.lanes.first.activity().is_quiet() && self.holds_nothing() && !self.must_reconcile
    }

    /// Whether this node holds no job of the queue, as far as it knows.
    fn holds_nothing(&self) -> bool {
        self.workers.is_idle()
            && self.prefetch.is_empty()
            && self.outbox.is_empty()
            && self.lanes.unsettled() == 0
    }

    /// Starts the fetched jobs for which there are permits. Hands them back to their queue if it is
    /// closed, or if they have waited too long for a permit.
    fn begin(&mut self) {
        let now = self.services.clock.instant();
        let is_open = self.is_open();
        // A node that does not know which jobs are its own compares first.
        if is_open && !self.must_reconcile && self.registration.may_fetch(&*self.services.clock) {
            while self.workers.free() > 0
                && let Some(payload) = self.prefetch.pop(now)
            {
                self.accept(payload);
            }
        }
        if !is_open || self.prefetch.patient_until().is_some_and(|at| at <= now) {
            for payload in self.prefetch.take_all() {
                self.hand_back(payload.held);
            }
        }
        let is_busy = self.most_of_two().is_some();
        let one_row = self.has_one_short && !self.workers.ends().in_a_row();
        let started = self.workers.started();
        if one_row && !started.is_empty() {
            self.tasks.spawn_row(std::mem::take(started));
        } else {
            self.wakes_another |= self.tasks.spawn(started, is_busy);
        }
    }

    /// Reads the list of what the node holds, on the first lane, after it has ensured that the
    /// fetches of the second lane have ended.
    fn read_list(&mut self) {
        let Some(queue) = self.lanes.first.take_idle() else {
            return;
        };
        let second = self.lanes.second.take_idle();
        let (storage, inprogress) = (Arc::clone(&self.services.storage), self.inprogress.clone());
        self.lanes.first = Lane::Reading(Box::pin(read_all(queue, second, storage, inprogress)));
    }

    fn open(&self) -> Lane {
        let (storage, inprogress) = (Arc::clone(&self.services.storage), self.inprogress.clone());
        Lane::Opening(Box::pin(
            async move { storage.open_queue(&inprogress).await },
        ))
    }

    /// Sets the alarm for the time at which the queue must act. One that is set for an earlier time
    /// stays, because each new timer may wake a thread of the runtime.
    fn set_alarm(&mut self, view: &View) {
        let Some(at) = self.wake_at(view) else {
            return;
        };
        if self.alarm.as_ref().is_none_or(|(set_for, _)| at < *set_for) {
            self.alarm = Some((at, self.services.clock.sleep_until(at)));
        }
    }

    /// When the queue must act even if nothing happens.
    fn wake_at(&self, view: &View) -> Option<Instant> {
        let now = self.services.clock.instant();
        let waits = matches!(view.first, Activity::Closed | Activity::Idle);
        let reconcile =
            (!view.must_reconcile && view.phase == Phase::Running).then_some(self.reconcile_at);
        let fetch = (waits && self.fetch_at > now).then_some(self.fetch_at);
        let settle = self.outbox.ready_after(now);
        let hand_back = self.hand_back_at.filter(|at| *at > now);
        let patience = self.prefetch.patient_until();
        [reconcile, fetch, settle, hand_back, patience]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the node is certainly alive, or is lost. In the first case the jobs are its own, in
    /// the second they belong to other nodes.
    fn knows_whose_it_is(&self) -> bool {
        self.registration.is_lost() || self.registration.may_fetch(&*self.services.clock)
    }

    /// Starts a fetched payload, for which there is a permit, or settles it at once if it cannot
    /// run.
    fn accept(&mut self, payload: Payload) {
        let Payload { held, job } = payload;
        let (rules, now) = (self.rules(), || self.services.now());
        let pending = match job {
            Err(reason) => rules.malformed(held, &reason, now()),
            Ok(job) => {
                let owned = Arc::unwrap_or_clone;
                match rules.registry.registered(job.class()) {
                    None => rules.unknown_class(owned(job), held, now()),
                    Some(_) if job.expires_at().is_some_and(|at| at < now()) => {
                        rules.expired(owned(job), held, now())
                    }
                    Some(_) if job.is_encrypted() => rules.encrypted(owned(job), held, now()),
                    Some(worker) => {
                        let (entry, recent) = (worker.entry, Arc::clone(&worker.recent));
                        return self.start(job, held, entry, recent);
                    }
                }
            }
        };
        self.outbox.push(pending);
    }

    fn start(&mut self, job: Arc<Job>, held: Bytes, worker: WorkerEntry, recent: Arc<PollTime>) {
        Line::new(&self.services.config, &job, self.queue()).start();
        let (timeout, workforce) = (worker.options().timeout, Arc::clone(&self.workforce));
        let begin = Begin::of(&job, &held, &self.inprogress);
        // One closure for both: a second one would be a second copy of all code that runs jobs.
        let perform = move |run| match begin {
            None => workforce.perform(worker, run),
            Some(begin) => begin.perform(workforce, worker, run),
        };
        let started = Arc::clone(&job);
        let at = self.workers.start(started, held, timeout, recent, perform);
        self.services.events.send(Event {
            at,
            queue: Some(self.queue().clone()),
            job: Some(job),
            what: EventKind::JobStarted,
        });
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            config: &self.services.config,
            registry: &self.workforce.registry,
            queue: &self.inprogress.queue,
        }
    }

    fn hand_back(&mut self, held: Bytes) {
        let now = self.services.now();
        self.outbox
            .push(Pending::hand_back(None, held, self.queue(), now));
    }

    fn log_what_is_left(&self) {
        for job in self.workers.jobs() {
            log::error!(class = job.class(), jid = %job.jid(), queue = %self.inprogress.queue, "a job does not end; it stays in progress and is restored once this process has ended");
        }
        let unsettled = self.outbox.len() + self.lanes.unsettled() + self.prefetch.len();
        if unsettled > 0 {
            log::error!(unsettled, queue = %self.inprogress.queue, "outcomes could not be stored; these jobs stay in progress and run again");
        }
    }
}

/// What a queue waits for.
enum Happened {
    /// The batch that was settled without a fetch was answered.
    SettledAlone(Vec<Settled>),
    /// A run has ended; others may have ended too.
    Ended(EndedRun),
    Next(Next),
    /// Another server answers than before: it may lack writes that the last one had.
    ServerChanged,
    /// Something changed that each turn checks.
    LookDue,
    /// The queue ends, even if jobs are left.
    TimeIsUp,
}
