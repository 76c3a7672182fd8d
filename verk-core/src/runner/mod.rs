//! Fetches, settles and reconciles the jobs of one queue. All three are begun and awaited by this one task.
//!
//! At most one operation of each kind is in flight, or two exchanges, which settle one batch and fetch the next, while jobs end within a round
//! trip; their replies are taken in the order in which they were sent. A settle or a fetch whose reply was lost stops both until the
//! `inprogress` list has been read and compared with what this node works on. `docs/runner.md` has a picture.

pub(crate) mod connection;
pub(crate) mod ended_run;
mod fetch;
pub(crate) mod job_log;
mod outcomes;
pub(crate) mod prefetch;
pub(crate) mod reconcile;
mod replies;
pub(crate) mod retry;
pub(crate) mod row;
pub(crate) mod settle;
pub(crate) mod workers;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, OptionFuture};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    events::event::EventKind,
    log,
    names::QueueName,
    node::registration::Registration,
    queues::{
        QueueSettings, Queues, State,
        handle::ManagerHandle,
        status::{QueueEvent, next_event},
    },
    runner::{
        connection::{Connection, Payload, read_all},
        prefetch::Prefetch,
        settle::{Pending, encrypted, expired, malformed, unknown_class},
        workers::WorkersManager,
    },
    services::Services,
    stats::counters::{Counters, QueueCounters},
    storage::{Inprogress, Settled},
    worker::workforce::Workforce,
};

/// Every how many heartbeats the `inprogress` list is compared with what really runs.
const RECONCILE_EVERY: u32 = 4;

/// How long a job that was cancelled may take to notice, and its outcome to be stored, before the node leaves it behind.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// How long what is handed back waits for jobs that were cancelled and have not ended, so that all of it goes back in order.
const HAND_BACK_AFTER: Duration = Duration::from_secs(1);

/// How a manager is told to end.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    /// Fetch nothing more, and end when all is settled.
    pub(crate) fetching: CancellationToken,
    /// The time of the running jobs is up.
    pub(crate) running: CancellationToken,
    /// The node id ends, not only this queue: what others restore need not be waited for.
    pub(crate) signing_off: CancellationToken,
    /// The process ends: what does not end soon is left behind.
    pub(crate) leaving: CancellationToken,
}

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
    /// Jobs that were fetched and have no permit yet.
    prefetch: Prefetch,
    /// What its jobs came to.
    counters: Arc<QueueCounters>,
    /// Runs that have ended, and are still in `inprogress`.
    pending: VecDeque<Pending>,
    /// What was sent to be settled by itself.
    settling: Vec<Pending>,
    /// When it was sent.
    settling_since: Instant,
    /// What the exchanges that are on their way settle, oldest first.
    exchanging: VecDeque<Vec<Pending>>,
    /// What is settled and has not been told, and how long that took.
    told_next: (Vec<Pending>, Duration),
    /// What a batch that was told leaves: room for the next one.
    spare: Vec<Pending>,
    /// Whether the list must be read before anything else is fetched or settled.
    must_reconcile: bool,
    /// Which server the list was fetched into.
    server: u64,
    /// When the list is read next in any case.
    reconcile_at: Instant,
    /// Once the jobs were cancelled: until when what is handed back waits for the rest.
    hand_back_at: Option<Instant>,
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
        Self {
            counters: counters.of_queue(&handle.inprogress().queue),
            workers: WorkersManager::new(
                Arc::clone(&workforce),
                Arc::clone(&registration),
                Arc::clone(&handle),
            ),
            prefetch: Prefetch::new(now),
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
            pending: VecDeque::new(),
            settling: Vec::new(),
            settling_since: now,
            exchanging: VecDeque::new(),
            told_next: (Vec::new(), Duration::ZERO),
            spare: Vec::new(),
            must_reconcile: false,
            server: 0,
            hand_back_at: None,
            fetch_failures: 0,
        }
    }

    pub(crate) fn queue(&self) -> &QueueName {
        &self.inprogress.queue
    }

    /// Makes the next [`run`](Self::run) start with a look at what the node holds: the last one panicked.
    pub(crate) fn recover(&mut self) {
        self.must_reconcile = true;
        self.prefetch.forget_what_it_asked_for();
        let exchanging = std::mem::take(&mut self.exchanging);
        let sent = exchanging.into_iter().flatten();
        for mut sent in sent.chain(std::mem::take(&mut self.settling)) {
            sent.unknown = true;
            self.pending.push_back(sent);
        }
    }

    /// Runs until it is told to stop and everything it held is settled or given up.
    pub(crate) async fn run(&mut self) {
        let mut connection = Connection::Closed;
        // Exchanges only, and only beside an older exchange.
        let mut second = Connection::Closed;
        let mut settling: OptionFuture<BoxFuture<'static, Vec<Settled>>> = None.into();
        let mut interrupt = CancellationToken::new();
        let mut told = None;
        let mut cancelled = false;
        let mut signing_off = false;
        let mut leaving = false;
        let mut give_up_at = None;

        loop {
            let fetches_too_many = self.look_at_what_is_wanted();
            let stopping = self.stop.fetching.is_cancelled();
            if !self.is_open() {
                // No batch is to come that this could wait for.
                self.tell_stored();
            }
            let done = self.is_done(&connection);
            self.tell(&mut told, done);
            if stopping && done {
                break;
            }
            if self.stop.running.is_cancelled() && !cancelled {
                cancelled = true;
                self.workers.cancel_all();
                self.hand_back_at = Some(self.services.clock.instant() + HAND_BACK_AFTER);
            }
            signing_off |= self.stop.signing_off.is_cancelled();
            leaving |= self.stop.leaving.is_cancelled();
            // With nothing but a look at the list to come, the node does not wait for a storage that does not answer.
            if leaving || (signing_off && self.holds_nothing() && !connection.is_fetching()) {
                give_up_at.get_or_insert_with(|| self.services.clock.instant() + LAST_GRACE);
            } else {
                give_up_at = None;
            }
            self.must_reconcile |= !stopping && self.services.clock.instant() >= self.reconcile_at;
            if self.must_reconcile || fetches_too_many || !self.is_open() {
                interrupt.cancel();
            }
            // The storage works on the next batch while the jobs of the last one begin. A mere look has time, unless another goes with it.
            let mut here = None;
            if !connection.is_exchanging() {
                connection = self.start_next(connection, &mut second, &mut interrupt);
                let has_time = self.prefetch.is_empty() || !self.settles_on_the_way();
                if connection.is_exchanging() && (!has_time || self.most_of_two().is_some()) {
                    here = connection.send();
                    if here.is_none() {
                        tokio::task::yield_now().await;
                        connection = connection.spawn();
                    }
                }
            }
            self.start_or_hand_back();
            let short = self.most_of_two().is_some();
            self.workers.spawn(short);
            self.tell_stored();
            if let Some(reply) = here {
                connection = self.replied(reply, &mut second);
                continue;
            }
            if connection.is_exchanging() && self.prefetch.is_empty() {
                self.start_beside(&mut second).await;
            }
            // What goes with the next look for jobs goes with that.
            if self.settling.is_empty()
                && !self.must_reconcile
                && !connection.is_exchanging()
                && let Some(future) = self.start_settling()
            {
                settling = Some(future).into();
            }
            // With as many batches on their way as there should be, nothing can be done about runs that end before the reply, unless jobs
            // wait for their permits: all of them are looked at then.
            let waits_for_reply = !stopping
                && connection.is_exchanging()
                && self.prefetch.is_empty()
                && (second.is_exchanging() || self.most_of_two().is_none());
            let clock = Arc::clone(&self.services.clock);
            let wake =
                OptionFuture::from(self.wake_at(&connection).map(|at| clock.sleep_until(at)));
            let give_up = OptionFuture::from(give_up_at.map(|at| clock.sleep_until(at)));

            tokio::select! {
                biased;
                () = self.stop.running.cancelled(), if !cancelled => {}
                () = self.stop.leaving.cancelled(), if !leaving => {}
                () = self.stop.signing_off.cancelled(), if !signing_off => {}
                Some(results) = &mut settling => {
                    settling = None.into();
                    let now = self.services.clock.instant();
                    let took = now.saturating_duration_since(self.settling_since);
                    let batch = std::mem::take(&mut self.settling);
                    self.settled(batch, results, took);
                }
                run = self.workers.next_finished(), if !waits_for_reply => {
                    self.finished(run);
                    self.all_finished();
                }
                reply = connection.reply() => {
                    self.all_finished();
                    connection = self.replied(reply, &mut second);
                }
                reply = second.reply(), if second.is_opening() => {
                    second = self.replied(reply, &mut Connection::Closed);
                }
                () = self.registration.server_changed(&mut self.server) => self.must_reconcile = true,
                () = self.stop.fetching.cancelled(), if !stopping => {}
                // Looked at above. An error says that the sender is gone; it is in `Queues`.
                _ = self.queues.changed() => self.queues.mark_changed(),
                () = self.registration.until_fresh(&*clock), if !self.registration.may_fetch(&*clock) && !self.registration.is_lost() => {}
                Some(()) = wake => {}
                Some(()) = give_up => break,
            }
        }
        self.log_what_is_left();
        if self.must_reconcile || !connection.is_quiet() {
            self.registration.stay_on_the_list();
        }
        self.tell(&mut told, true);
    }

    /// Takes over what is wanted of the queue. One that was removed drains as it is. Returns whether fewer jobs may run than before.
    fn look_at_what_is_wanted(&mut self) -> bool {
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
        self.wanted = wanted;
        fewer
    }

    /// Whether jobs may start: the queue is neither paused nor about to end.
    fn is_open(&self) -> bool {
        !self.wanted.paused && !self.stop.fetching.is_cancelled()
    }

    /// Tells what became of the queue.
    fn tell(&self, told: &mut Option<(u64, QueueEvent)>, done: bool) {
        let changes = self.wanted.changes;
        while let Some(next) = next_event(*told, changes, self.is_open(), done) {
            *told = Some((changes, next));
            self.handle.set_paused(next == QueueEvent::Paused);
            let what = match next {
                QueueEvent::Running => EventKind::QueueRunning,
                QueueEvent::Pausing => EventKind::QueuePausing,
                QueueEvent::Paused => EventKind::QueuePaused,
            };
            self.publish(None, what);
        }
    }

    fn is_done(&self, connection: &Connection) -> bool {
        connection.is_quiet() && self.holds_nothing() && !self.must_reconcile
    }

    /// Whether this node knows of no job of the queue that it holds.
    fn holds_nothing(&self) -> bool {
        self.workers.is_idle()
            && self.prefetch.is_empty()
            && self.pending.is_empty()
            && self.settling.is_empty()
            && self.exchanging.iter().all(Vec::is_empty)
    }

    /// Lets the jobs that were fetched begin, as far as there are permits. They go back to their queue when it is closed, and when
    /// there are none for too long.
    fn start_or_hand_back(&mut self) {
        if self.prefetch.is_empty() {
            return;
        }
        let now = self.services.clock.instant();
        let is_open = self.is_open();
        // A node that is not sure of its jobs compares first.
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
    }

    /// Gives the connection something to do, if it is idle and there is something.
    fn start_next(
        &mut self,
        connection: Connection,
        second: &mut Connection,
        interrupt: &mut CancellationToken,
    ) -> Connection {
        let waiting = self.services.clock.instant() < self.fetch_at;
        match connection {
            Connection::Closed if !waiting && (self.must_reconcile || self.is_open()) => {
                self.open()
            }
            Connection::Idle(queue) if self.must_reconcile => {
                // What is found there may start, so the node has to be alive, or to know that it is not.
                if waiting || !self.knows_whose_it_is() || !self.settling.is_empty() {
                    return Connection::Idle(queue);
                }
                let (storage, inprogress) =
                    (Arc::clone(&self.services.storage), self.inprogress.clone());
                let second = second.take_idle();
                Connection::Reading(Box::pin(read_all(queue, second, storage, inprogress)))
            }
            Connection::Idle(queue) if !waiting => self.fetch(queue, interrupt),
            connection => connection,
        }
    }

    fn open(&self) -> Connection {
        let (storage, inprogress) = (Arc::clone(&self.services.storage), self.inprogress.clone());
        Connection::Opening(Box::pin(
            async move { storage.open_queue(&inprogress).await },
        ))
    }

    /// When something is to be done even if nothing happens.
    fn wake_at(&self, connection: &Connection) -> Option<Instant> {
        let now = self.services.clock.instant();
        let waits = matches!(connection, Connection::Closed | Connection::Idle(_));
        let reconcile = (!self.must_reconcile && !self.stop.fetching.is_cancelled())
            .then_some(self.reconcile_at);
        let fetch = (waits && self.fetch_at > now).then_some(self.fetch_at);
        let settle = self
            .pending
            .iter()
            .filter_map(|pending| pending.not_before)
            .filter(|ready| *ready > now)
            .min();
        let hand_back = self.hand_back_at.filter(|at| *at > now);
        let patience = self.prefetch.patient_until();
        [reconcile, fetch, settle, hand_back, patience]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the node is alive for certain, or lost: then what it holds is its own, or others'.
    fn knows_whose_it_is(&self) -> bool {
        self.registration.is_lost() || self.registration.may_fetch(&*self.services.clock)
    }

    /// Starts a fetched payload, for which there is a permit, or settles it at once if it cannot run.
    fn accept(&mut self, payload: Payload) {
        let Payload { held, job } = payload;
        let queue = &self.inprogress.queue;
        let job = match job {
            Ok(job) => job,
            Err(reason) => {
                self.pending
                    .push_back(malformed(held, &reason, &self.services, queue));
                return;
            }
        };
        let is_expired = |at| at < self.services.now();
        let not_run = match self.workforce.registry.of_class(job.class()) {
            None => unknown_class,
            Some(_) if job.expires_at().is_some_and(is_expired) => expired,
            Some(_) if job.is_encrypted() => encrypted,
            Some(worker) => return self.workers.start(job, held, *worker),
        };
        let job = Arc::unwrap_or_clone(job);
        self.pending
            .push_back(not_run(job, held, &self.workforce, queue));
    }

    fn hand_back(&mut self, held: Bytes) {
        let pending = Pending::hand_back(None, held, &self.services, &self.inprogress.queue);
        self.pending.push_back(pending);
    }

    fn log_what_is_left(&self) {
        for job in self.workers.jobs() {
            log::error!(class = job.class(), jid = %job.jid(), queue = %self.inprogress.queue, "a job does not end; it stays in progress and is restored once this process has ended");
        }
        let exchanging: usize = self.exchanging.iter().map(Vec::len).sum();
        let unsettled = self.pending.len() + self.settling.len() + exchanging + self.prefetch.len();
        if unsettled > 0 {
            log::error!(unsettled, queue = %self.inprogress.queue, "outcomes could not be stored; these jobs stay in progress and run again");
        }
    }
}
