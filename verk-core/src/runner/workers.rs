//! Runs the jobs of one queue: permits, panics, time-outs, cancellation.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::Context,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use futures_util::future::OptionFuture;
use tokio_util::sync::CancellationToken;

use crate::{
    guard,
    job::Job,
    log,
    names::QueueName,
    node::registration::Registration,
    outcome::PerformError,
    queues::{handle::ManagerHandle, row::StartedRun, run::Run},
    runner::{
        ended_run::{EndedRun, RunEnd, Times},
        ends::{EndMessage, Ends},
        job_log,
    },
    test_seam::RunFuture,
    time::{
        clock::{Clock, JobWait},
        server_time::ServerTime,
    },
    worker::{
        polls::{PollTime, Seen},
        run_state::RunState,
    },
};

/// The running jobs of one queue, never more than its concurrency.
pub(crate) struct WorkersManager {
    time: Arc<ServerTime>,
    registration: Arc<Registration>,
    /// The running jobs, as other parts of the program see them.
    handle: Arc<ManagerHandle>,
    concurrency: usize,
    next_run: u64,
    /// Cancelled when the time of all running jobs is up.
    cancel: CancellationToken,
    ends: Arc<Ends>,
    /// The ends that were taken, and are not handled yet.
    taken: VecDeque<EndMessage>,
    /// Runs that have started and are not in a task yet, oldest first.
    to_spawn: Vec<StartedRun>,
}

/// The end of a run, for which the manager waits before the permit is free again. It is sent in any
/// case: at the latest when this is dropped.
struct EndSender {
    ends: Arc<Ends>,
    time: Arc<ServerTime>,
    place: usize,
    began: Instant,
    started_at: SystemTime,
    is_sent: bool,
}

impl EndSender {
    /// Sends the end of a run whose future is dropped. Returns the time.
    fn send(&mut self, end: RunEnd) -> Instant {
        // The clock may be written by a user, and may panic.
        let read = guard::call(|| {
            let ended = self.time.clock().instant();
            (ended, self.time.at(ended))
        });
        let (ended, ended_at) = read.unwrap_or((self.began, self.started_at));
        self.ends.send(EndMessage {
            place: self.place,
            times: Times {
                started_at: self.started_at,
                ended_at,
                took: ended.saturating_duration_since(self.began),
            },
            end,
        });
        self.is_sent = true;
        ended
    }
}

impl Drop for EndSender {
    fn drop(&mut self) {
        if self.is_sent {
            return;
        }
        self.send(if std::thread::panicking() {
            RunEnd::Returned(Err(PerformError::of(
                PerformError::PANIC,
                "panicked outside of the job",
            )))
        } else {
            RunEnd::Cancelled
        });
    }
}

impl WorkersManager {
    pub(crate) fn new(
        time: Arc<ServerTime>,
        registration: Arc<Registration>,
        handle: Arc<ManagerHandle>,
    ) -> Self {
        Self {
            time,
            registration,
            handle,
            concurrency: 0,
            next_run: 0,
            cancel: CancellationToken::new(),
            ends: Arc::default(),
            taken: VecDeque::new(),
            to_spawn: Vec::new(),
        }
    }

    fn queue(&self) -> &QueueName {
        &self.handle.inprogress().queue
    }

    /// Sets how many jobs may run at once from now on. Running jobs continue.
    pub(crate) fn set_concurrency(&mut self, concurrency: usize) {
        self.concurrency = concurrency;
    }

    /// How many more jobs may start.
    pub(crate) fn free(&self) -> usize {
        self.concurrency.saturating_sub(self.handle.count())
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.handle.count() == 0
    }

    /// The payloads of the running jobs that belong to this node, in the order of [`Self::lose`].
    pub(crate) fn held(&self) -> impl Iterator<Item = Bytes> {
        self.owned().map(|(held, _)| held)
    }

    fn owned(&self) -> impl Iterator<Item = (Bytes, Arc<RunState>)> {
        let all = self
            .handle
            .running(|running| (running.held.clone(), Arc::clone(&running.state)));
        all.into_iter().filter(|(_, state)| state.still_owner())
    }

    /// The running jobs, for the log.
    pub(crate) fn jobs(&self) -> Vec<Arc<Job>> {
        self.handle
            .running(|running| Arc::clone(&running.state.job))
    }

    /// Starts a job, which runs once its future is [spawned](Self::started). `perform` begins the
    /// work, in the task that runs it. Returns when the job started.
    pub(crate) fn start(
        &mut self,
        job: Arc<Job>,
        held: Bytes,
        timeout: Option<Duration>,
        recent: Arc<PollTime>,
        perform: impl FnOnce(Arc<RunState>) -> RunFuture + Send + 'static,
    ) -> SystemTime {
        let number = self.next_run;
        self.next_run += 1;
        let began = self.time.clock().instant();
        let started_at = self.time.at(began);
        // A deadline that is too late for the clock counts as none.
        let deadline = timeout.and_then(|timeout| began.checked_add(timeout));
        let span = job_log::span(&job, self.handle.inprogress());
        let queue = self.queue().clone();
        let state = Arc::new(RunState::new(job, queue, self.cancel.clone(), deadline));
        let place = self.handle.started(Run {
            number,
            state: Arc::clone(&state),
            held,
            started_at,
            seen: Seen::default(),
        });

        let mut end_sender = EndSender {
            ends: Arc::clone(&self.ends),
            time: Arc::clone(&self.time),
            place,
            began,
            started_at,
            is_sent: false,
        };
        let time = Arc::clone(&self.time);
        let registration = Arc::clone(&self.registration);
        let run = async move {
            // The worker's future is made, run and dropped in here: a panic in any of these is a
            // failure.
            let mut run = pin!(guard::catch_future(async {
                // The process may have been suspended meanwhile: by now the job may have been given
                // to another node.
                if !registration.may_fetch(time.clock()) {
                    return RunEnd::Cancelled;
                }
                run_to_end(perform(Arc::clone(&state)), &state, timeout, time.clock()).await
            }));
            // It catches panics, so it does not panic itself.
            let mut poll = |cx: &mut Context<'_>| span.within(|| run.as_mut().poll(cx));
            let end = poll_fn(|cx| state.polls.during(|| poll(cx))).await;
            let end =
                end.unwrap_or_else(|panic| RunEnd::Returned(Err(PerformError::panicked(&panic))));
            job_log::close(span, &end);
            end_sender.send(end)
        };
        self.to_spawn.push(StartedRun {
            run: Box::pin(run),
            recent,
        });
        started_at
    }

    /// The runs that have started and are not in a task yet, oldest first. The caller takes and
    /// spawns them.
    pub(crate) fn started(&mut self) -> &mut Vec<StartedRun> {
        &mut self.to_spawn
    }

    /// Whether jobs have started that are not in a task yet.
    pub(crate) fn has_started(&self) -> bool {
        !self.to_spawn.is_empty()
    }

    pub(crate) fn ends(&self) -> &Arc<Ends> {
        &self.ends
    }

    /// Waits for the next run to end; if a row of short runs is on its way, until that is done.
    /// Pends forever when none runs.
    ///
    /// Cancel safe.
    pub(crate) async fn next_finished(&mut self) -> EndedRun {
        loop {
            if let Some(run) = self.next_taken() {
                return run;
            }
            let Self { ends, taken, .. } = self;
            poll_fn(|cx| ends.poll_take(cx, taken)).await;
        }
    }

    /// The next run that has ended by now.
    pub(crate) fn try_finished(&mut self) -> Option<EndedRun> {
        self.next_taken().or_else(|| {
            self.ends.take(&mut self.taken);
            self.next_taken()
        })
    }

    fn next_taken(&mut self) -> Option<EndedRun> {
        while let Some(message) = self.taken.pop_front() {
            if let Some(run) = self.end(message) {
                return Some(run);
            }
        }
        None
    }

    fn end(&mut self, message: EndMessage) -> Option<EndedRun> {
        let EndMessage { place, times, end } = message;
        let Run {
            number,
            state,
            held,
            started_at: _,
            seen: _,
        } = self.handle.finished(place)?;
        Some(EndedRun {
            number,
            lost: !state.still_owner(),
            job: Arc::clone(&state.job),
            held,
            times,
            end,
        })
    }

    /// Tells the running job at this position (see [`Self::held`]) that it now belongs to another
    /// node.
    pub(crate) fn lose(&self, position: usize) {
        if let Some((_, state)) = self.owned().nth(position) {
            state.lose();
            let job = &state.job;
            log::warn!(class = job.class(), jid = %job.jid(), queue = %self.queue(), "a running job does not belong to this node any more");
        }
    }

    /// Ends all running jobs at their next await.
    pub(crate) fn cancel_all(&self) {
        self.cancel.cancel();
    }
}

/// Runs a job until it returns, its time is up or the node stops, and drops it.
async fn run_to_end(
    perform: RunFuture,
    state: &RunState,
    timeout: Option<Duration>,
    clock: &dyn Clock,
) -> RunEnd {
    let timeout = timeout.zip(state.deadline);
    let time_is_up = OptionFuture::from(timeout.map(|(timeout, deadline)| async move {
        clock
            .sleep_job_until(deadline, JobWait::Timeout(state.job.jid()))
            .await;
        timeout
    }));
    tokio::select! {
        biased;
        result = perform => RunEnd::Returned(result),
        Some(timeout) = time_is_up => {
            let message = format!("ran longer than its timeout of {timeout:?}");
            RunEnd::Returned(Err(PerformError::of("Timeout", message)))
        }
        () = state.cancelled.cancelled() => RunEnd::Cancelled,
    }
}

#[cfg(test)]
mod tests;
