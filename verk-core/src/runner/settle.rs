//! From the end of a run to the settlement that is sent: pure except for the log and one random
//! number.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

use crate::{
    config::{Config, unknown_class::UnknownClass},
    effects,
    events::event::{AfterFailure, Event, EventKind},
    job::{Backtrace, Job, MalformedJob},
    log,
    names::QueueName,
    outcome::{Ending, Outcome, PerformError, RetryIn},
    runner::{
        ended_run::{EndedRun, RunEnd, Times},
        job_log::Line,
        retry::{Decision, decide},
    },
    storage::{Due, Effect, Effects, Settlement, Target},
    time::clock::time_after,
    worker::registry::{OF_ANOTHER_CRATE, Registry},
};

/// A settlement that waits to be stored, or for the reply.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The order of the runs. A job that did not run comes last.
    pub(crate) number: u64,
    pub(crate) settlement: Settlement,
    /// The event to publish once it is stored.
    pub(crate) event: Event,
    /// What to count once it is stored.
    pub(crate) ending: Ending,
    /// How long the run took; `None` when there was none.
    pub(crate) took: Option<Duration>,
    /// Whether it was sent and the node does not know whether it is stored.
    pub(crate) unknown: bool,
    /// How many times it was sent and not stored.
    pub(crate) failures: u32,
    /// It is not sent again before this time.
    pub(crate) not_before: Option<Instant>,
}

impl Pending {
    pub(super) fn new(held: Bytes, to: Target, ending: Ending, event: Event) -> Self {
        let effects = match (&event.job, &event.queue) {
            (Some(job), Some(queue)) => effects::of_settlement(job, queue, &to),
            _ => Effects::NONE,
        };
        Self {
            number: u64::MAX,
            settlement: Settlement { held, to, effects },
            event,
            ending,
            took: None,
            unknown: false,
            failures: 0,
            not_before: None,
        }
    }

    /// Whether the job goes back to its queue.
    pub(crate) fn is_requeue(&self) -> bool {
        self.settlement.to == Target::Requeue
    }

    /// The job was discarded, and a newer job that waited for its lock came in its place.
    pub(crate) fn supersede(&mut self) {
        let reason = || "a newer job came in its place".to_owned();
        self.ending = match self.ending {
            Ending::Retry | Ending::Dead => Ending::Dropped,
            Ending::Snoozed => Ending::Discarded,
            other => other,
        };
        match &mut self.event.what {
            EventKind::JobFailed { then, .. } => *then = AfterFailure::Discarded,
            EventKind::JobSnoozed {
                started_at, took, ..
            } => {
                self.event.what = EventKind::JobDiscarded {
                    started_at: *started_at,
                    took: *took,
                    reason: reason(),
                };
            }
            _ => {}
        }
        self.settlement.to = Target::Ack;
    }

    /// The job goes back to the front of its queue as it is.
    pub(crate) fn hand_back(
        job: Option<Arc<Job>>,
        held: Bytes,
        queue: &QueueName,
        at: SystemTime,
    ) -> Self {
        Self::new(
            held,
            Target::Requeue,
            Ending::HandedBack,
            Event {
                at,
                queue: Some(queue.clone()),
                job,
                what: EventKind::JobHandedBack,
            },
        )
    }
}

impl Settlement {
    /// How many payload bytes it sends.
    pub(crate) fn size(&self) -> usize {
        let to = match &self.to {
            Target::Ack | Target::Requeue => 0,
            Target::Retry(due) | Target::Schedule(due) | Target::Dead { job: due, .. } => {
                due.job.len()
            }
        };
        let effects = self.effects.iter().map(Effect::size).sum::<usize>();
        self.held.len() + to + effects
    }
}

impl Times {
    /// For a job that could not run.
    fn of_no_run(now: SystemTime) -> Self {
        Self {
            started_at: now,
            ended_at: now,
            took: Duration::ZERO,
        }
    }
}

/// What decides, besides the job, what happens to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) config: &'a Config,
    pub(crate) registry: &'a Registry,
    /// The queue that the job was fetched from.
    pub(crate) queue: &'a QueueName,
}

impl Rules<'_> {
    /// What follows from the end of a run.
    pub(crate) fn conclude(&self, run: EndedRun) -> Pending {
        let EndedRun {
            number,
            job,
            held,
            times,
            end,
            lost: _,
        } = run;
        let Times {
            started_at,
            ended_at,
            took,
        } = times;
        let queue = self.queue;
        let line = Line::new(self.config, &job, queue);
        let mut pending = match end {
            RunEnd::Returned(Ok(Outcome::Done)) => {
                line.done(took);
                Pending::new(
                    held,
                    Target::Ack,
                    Ending::Done,
                    event(
                        job,
                        queue,
                        times,
                        EventKind::JobFinished { started_at, took },
                    ),
                )
            }
            RunEnd::Returned(Ok(Outcome::Snooze(delay))) => {
                let until = time_after(ended_at, delay);
                line.snoozed(took, until);
                later(job, held, until, times, queue)
            }
            RunEnd::Returned(Ok(Outcome::Discard(reason))) => {
                line.discarded(took, &reason);
                let what = EventKind::JobDiscarded {
                    started_at,
                    took,
                    reason,
                };
                let event = event(job, queue, times, what);
                Pending::new(held, Target::Ack, Ending::Discarded, event)
            }
            RunEnd::Returned(Ok(Outcome::Kill(reason))) => {
                let error = PerformError::of("Killed", reason).retry_in(RetryIn::Kill);
                self.failed(Job::clone(&job), held, error, times)
            }
            RunEnd::Returned(Err(error)) => self.failed(Job::clone(&job), held, error, times),
            RunEnd::Cancelled => {
                line.handed_back(took);
                Pending::hand_back(Some(job), held, queue, ended_at)
            }
        };
        pending.number = number;
        pending.took = Some(took);
        pending
    }

    /// A job of a class that is not registered fails like any other, or waits for a node that has
    /// the class.
    pub(crate) fn unknown_class(&self, job: Job, held: Bytes, now: SystemTime) -> Pending {
        match self.config.unknown_class {
            UnknownClass::Fail => {
                let message = format!(
                    "no worker of this program has the class {:?}; {OF_ANOTHER_CRATE}",
                    job.class()
                );
                let error = PerformError::of("UnknownClass", message);
                self.failed(job, held, error, Times::of_no_run(now))
            }
            UnknownClass::RequeueAfter(delay) => {
                let until = time_after(now, delay);
                Line::new(self.config, &job, self.queue).unknown_class(until);
                let times = Times::of_no_run(now);
                later(Arc::new(job), held, until, times, self.queue)
            }
        }
    }

    /// A job that expired before it could run is discarded.
    pub(crate) fn expired(&self, job: Job, held: Bytes, now: SystemTime) -> Pending {
        let (job, reason) = (Arc::new(job), "expired before it was run".to_owned());
        Line::new(self.config, &job, self.queue).discarded(Duration::ZERO, &reason);
        let times = Times::of_no_run(now);
        let what = EventKind::JobDiscarded {
            started_at: times.started_at,
            took: times.took,
            reason,
        };
        let event = event(job, self.queue, times, what);
        Pending::new(held, Target::Ack, Ending::Discarded, event)
    }

    /// A job whose arguments are encrypted fails like any other: a program that can read them may
    /// fetch its retry.
    pub(crate) fn encrypted(&self, job: Job, held: Bytes, now: SystemTime) -> Pending {
        let message = "the last argument is encrypted by Sidekiq Enterprise, which verk cannot read: send the job without `encrypt`, or run it in Ruby";
        let error = PerformError::of("EncryptedArgs", message);
        self.failed(job, held, error, Times::of_no_run(now))
    }

    /// A payload that is not a job goes to the `dead` set unchanged.
    pub(crate) fn malformed(&self, held: Bytes, reason: &MalformedJob, at: SystemTime) -> Pending {
        let reason = reason.to_string();
        log::error!(queue = %self.queue, reason, "malformed job: moved to the dead set as it is");
        let to = Target::Dead {
            job: Due {
                at,
                job: held.clone(),
            },
            limits: self.config.dead_limits(),
        };
        Pending::new(
            held,
            to,
            Ending::Malformed,
            Event {
                at,
                queue: Some(self.queue.clone()),
                job: None,
                what: EventKind::JobMalformed { reason },
            },
        )
    }

    fn failed(&self, mut job: Job, held: Bytes, error: PerformError, times: Times) -> Pending {
        let Self {
            config,
            registry,
            queue,
        } = *self;
        let now = times.ended_at;
        let worker = registry.of_class(job.class());
        let PerformError { failure, retry_in } = error;
        let lines = match job.backtrace() {
            _ if worker.is_some_and(|worker| !worker.options().backtrace) => 0,
            Backtrace::Off => config.failed_job_stacktrace_size,
            Backtrace::Full => usize::MAX,
            Backtrace::Lines(lines) => lines as usize,
        };
        let mut failure = failure;
        failure.error_backtrace.truncate(lines);
        job.write_as(config.form());
        job.record_failure(&failure, now, queue);
        let random = rand::random_range(1..=30);
        let options = worker.map(|worker| worker.options());
        let decision = decide(&job, retry_in, options, config.max_retry_count, now, random);
        let (to, ending, then) = match decision {
            Decision::Retry(at) => (
                Target::Retry(Due {
                    at,
                    job: job.encode(),
                }),
                Ending::Retry,
                AfterFailure::Retry { at },
            ),
            Decision::Dead => {
                let limits = config.dead_limits();
                (
                    Target::Dead {
                        job: Due {
                            at: now,
                            job: job.encode(),
                        },
                        limits,
                    },
                    Ending::Dead,
                    AfterFailure::Dead,
                )
            }
            Decision::Discard => (Target::Ack, Ending::Dropped, AfterFailure::Discarded),
        };
        Line::new(config, &job, queue).failed(times.took, &failure, then);
        let what = EventKind::JobFailed {
            started_at: times.started_at,
            took: times.took,
            failure,
            then,
        };
        let event = event(Arc::new(job), queue, times, what);
        Pending::new(held, to, ending, event)
    }
}

/// The job runs again at a time, in the queue that it was fetched from, as if it had not run.
fn later(
    job: Arc<Job>,
    held: Bytes,
    until: SystemTime,
    times: Times,
    queue: &QueueName,
) -> Pending {
    let mut later = Job::clone(&job);
    later.set_enqueued_at(None);
    later.set_queue(queue.clone());
    let to = Target::Schedule(Due {
        at: until,
        job: later.encode(),
    });
    let what = EventKind::JobSnoozed {
        started_at: times.started_at,
        took: times.took,
        until,
    };
    let event = event(job, queue, times, what);
    Pending::new(held, to, Ending::Snoozed, event)
}

/// The event of the end of a run.
fn event(job: Arc<Job>, queue: &QueueName, times: Times, what: EventKind) -> Event {
    Event {
        at: times.started_at + times.took,
        queue: Some(queue.clone()),
        job: Some(job),
        what,
    }
}

#[cfg(test)]
mod tests;
