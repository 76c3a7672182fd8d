//! From the end of a run to the settlement that is sent: pure but for the log and one random number.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    clock::time_after,
    event::{AfterFailure, Event},
    job::{Backtrace, Job, MalformedJob},
    names::QueueName,
    outcome::{Outcome, PerformError, RetryIn},
    retry::{Decision, decide},
    shared::Shared,
    storage::{Due, Settlement, Target},
    workers_manager::{Run, RunEnd},
};

/// A settlement that waits to be stored, or for the reply.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The order of the runs; last for a job that did not run.
    pub(crate) number: u64,
    pub(crate) settlement: Settlement,
    /// What to tell once it is stored.
    pub(crate) event: Option<Event>,
    /// How long the run took; `None` when there was none.
    pub(crate) took: Option<Duration>,
    /// Whether it was sent, and nobody knows what came of it.
    pub(crate) unknown: bool,
    /// How often it was sent in vain.
    pub(crate) failures: u32,
    /// Not to be sent (again) before.
    pub(crate) not_before: Instant,
}

impl Pending {
    fn new(held: Bytes, to: Target, event: Event, shared: &Shared) -> Self {
        Self {
            number: u64::MAX,
            settlement: Settlement { held, to },
            event: Some(event),
            took: None,
            unknown: false,
            failures: 0,
            not_before: shared.clock.instant(),
        }
    }

    /// The job goes back to the front of its queue as it is.
    pub(crate) fn hand_back(held: Bytes, shared: &Shared, queue: &QueueName) -> Self {
        Self::new(
            held,
            Target::Requeue,
            Event::JobHandedBack {
                queue: queue.clone(),
            },
            shared,
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
        self.held.len() + to
    }
}

/// What follows from the end of a run.
pub(crate) fn conclude(run: Run, shared: &Shared, queue: &QueueName) -> Pending {
    let Run {
        number,
        job,
        held,
        started_at,
        end,
        lost: _,
    } = run;
    let now = shared.now();
    let took = now.duration_since(started_at).unwrap_or_default();
    let (class, jid) = (job.class(), job.jid());
    let mut pending = match end {
        RunEnd::Returned(Ok(Outcome::Done)) => {
            tracing::info!(class, %jid, %queue, ?took, "done");
            Pending::new(
                held,
                Target::Ack,
                Event::JobFinished {
                    job,
                    started_at,
                    took,
                },
                shared,
            )
        }
        RunEnd::Returned(Ok(Outcome::Snooze(delay))) => {
            let until = time_after(now, delay);
            let mut later = Job::clone(&job);
            later.set_enqueued_at(None);
            tracing::info!(class, %jid, %queue, ?delay, "snoozed");
            let to = Target::Schedule(Due {
                at: until,
                job: later.encode(),
            });
            Pending::new(held, to, Event::JobSnoozed { job, until }, shared)
        }
        RunEnd::Returned(Ok(Outcome::Discard(reason))) => {
            tracing::info!(class, %jid, %queue, reason, "discarded");
            Pending::new(
                held,
                Target::Ack,
                Event::JobDiscarded { job, reason },
                shared,
            )
        }
        RunEnd::Returned(Ok(Outcome::Kill(reason))) => {
            let error = PerformError::of("Killed", reason).retry_in(RetryIn::Kill);
            failed(Job::clone(&job), held, error, shared, queue)
        }
        RunEnd::Returned(Err(error)) => failed(Job::clone(&job), held, error, shared, queue),
        RunEnd::Cancelled => {
            tracing::info!(class, %jid, %queue, "handed back");
            Pending::hand_back(held, shared, queue)
        }
    };
    pending.number = number;
    pending.took = Some(took);
    pending
}

/// A job whose class nobody registered fails like any other.
pub(crate) fn unknown_class(job: Job, held: Bytes, shared: &Shared, queue: &QueueName) -> Pending {
    let message = format!("no worker of this program has the class {:?}", job.class());
    failed(
        job,
        held,
        PerformError::of("UnknownClass", message),
        shared,
        queue,
    )
}

/// A payload that is no job goes to the `dead` set as it is.
pub(crate) fn malformed(
    held: Bytes,
    reason: &MalformedJob,
    shared: &Shared,
    queue: &QueueName,
) -> Pending {
    let reason = reason.to_string();
    tracing::error!(%queue, reason, "malformed job: moved to the dead set as it is");
    let to = Target::Dead {
        job: Due {
            at: shared.now(),
            job: held.clone(),
        },
        limits: shared.config.dead_limits(),
    };
    Pending::new(
        held,
        to,
        Event::JobMalformed {
            queue: queue.clone(),
            reason,
        },
        shared,
    )
}

fn failed(
    mut job: Job,
    held: Bytes,
    error: PerformError,
    shared: &Shared,
    queue: &QueueName,
) -> Pending {
    let now = shared.now();
    let worker = shared.registry.of_class(job.class());
    let PerformError { failure, retry_in } = error;
    let lines = match job.backtrace() {
        _ if worker.is_some_and(|worker| !worker.options().backtrace) => 0,
        Backtrace::Off => shared.config.failed_job_stacktrace_size,
        Backtrace::Full => usize::MAX,
        Backtrace::Lines(lines) => lines as usize,
    };
    let mut failure = failure;
    failure.error_backtrace.truncate(lines);
    job.record_failure(&failure, now, queue);
    let random = rand::random_range(1..=30);
    let options = worker.map(|worker| worker.options());
    let decision = decide(
        &job,
        retry_in,
        options,
        shared.config.max_retry_count,
        now,
        random,
    );
    let (to, then) = match decision {
        Decision::Retry(at) => (
            Target::Retry(Due {
                at,
                job: job.encode(),
            }),
            AfterFailure::Retry { at },
        ),
        Decision::Dead => {
            let limits = shared.config.dead_limits();
            (
                Target::Dead {
                    job: Due {
                        at: now,
                        job: job.encode(),
                    },
                    limits,
                },
                AfterFailure::Dead,
            )
        }
        Decision::Discard => (Target::Ack, AfterFailure::Discarded),
    };
    tracing::info!(
        class = job.class(),
        jid = %job.jid(),
        %queue,
        error_class = failure.error_class,
        error_message = failure.error_message,
        ?then,
        "fail"
    );
    Pending::new(
        held,
        to,
        Event::JobFailed {
            job: Arc::new(job),
            failure,
            then,
        },
        shared,
    )
}
