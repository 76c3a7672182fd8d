//! What follows from each end of a run.

use super::*;
use crate::{
    job::args::{ArgsError, ArgsReader},
    worker::{Worker, WorkerEntry, WorkerOptions, context::JobContext},
};

struct Welcome;

impl Worker for Welcome {
    const CLASS: &'static str = "Welcome";
    const OPTIONS: WorkerOptions = WorkerOptions::DEFAULT.max_retry_count(1);

    fn encode_args(&self) -> Result<String, ArgsError> {
        Ok("[]".to_owned())
    }

    fn decode_args(_args: &mut ArgsReader<'_>) -> Result<Self, ArgsError> {
        Ok(Self)
    }

    async fn perform(self, _ctx: JobContext) -> Result<Outcome, PerformError> {
        Ok(Outcome::Done)
    }
}

/// When the run of these tests began; it takes a second.
const STARTED_AT: SystemTime = SystemTime::UNIX_EPOCH;
const SECOND: Duration = Duration::from_secs(1);

fn queue() -> QueueName {
    "mailers".parse().unwrap()
}

fn job() -> Job {
    Job::new("Welcome", queue(), "[]".to_owned()).unwrap()
}

fn with_rules<T>(config: &Config, of: impl FnOnce(Rules<'_>) -> T) -> T {
    let mut errors = Vec::new();
    let registry = Registry::collect(&[WorkerEntry::of::<Welcome>("here")], &mut errors);
    assert_eq!(errors.len(), 0);
    of(Rules {
        config,
        registry: &registry,
        queue: &queue(),
    })
}

fn ended(job: Job, end: RunEnd) -> EndedRun {
    EndedRun {
        number: 7,
        held: Bytes::from_static(b"as it was fetched"),
        job: Arc::new(job),
        times: Times {
            started_at: STARTED_AT,
            ended_at: STARTED_AT + SECOND,
            took: SECOND,
        },
        end,
        lost: false,
    }
}

fn conclude(end: RunEnd) -> Pending {
    with_rules(&Config::default(), |rules| {
        rules.conclude(ended(job(), end))
    })
}

/// The job that a settlement stores.
fn stored(pending: &Pending) -> Job {
    match &pending.settlement.to {
        Target::Retry(due) | Target::Schedule(due) | Target::Dead { job: due, .. } => {
            Job::decode(due.job.clone()).unwrap()
        }
        Target::Ack | Target::Requeue => panic!("nothing is stored: {pending:?}"),
    }
}

#[test]
fn each_end_of_a_run_has_its_settlement_its_count_and_its_event() {
    let failed = || PerformError::of("Timeout", "too slow");
    let cases = [
        (RunEnd::Returned(Ok(Outcome::Done)), Ending::Done),
        (
            RunEnd::Returned(Ok(Outcome::Snooze(SECOND))),
            Ending::Snoozed,
        ),
        (
            RunEnd::Returned(Ok(Outcome::Discard("gone".to_owned()))),
            Ending::Discarded,
        ),
        (
            RunEnd::Returned(Ok(Outcome::Kill("why".to_owned()))),
            Ending::Dead,
        ),
        (RunEnd::Returned(Err(failed())), Ending::Retry),
        (
            RunEnd::Returned(Err(failed().retry_in(RetryIn::Discard))),
            Ending::Dropped,
        ),
        (RunEnd::Cancelled, Ending::HandedBack),
    ];
    for (end, ending) in cases {
        let pending = conclude(end);
        assert_eq!(pending.ending, ending);
        assert_eq!(pending.number, 7);
        assert_eq!(pending.took, Some(SECOND));
        assert_eq!(pending.settlement.held, "as it was fetched");
        assert_eq!(pending.event.at, STARTED_AT + SECOND, "{ending:?}");
        assert_eq!(pending.event.queue, Some(queue()));
        let (to, what) = (&pending.settlement.to, &pending.event.what);
        let fits = match ending {
            Ending::Done => *to == Target::Ack && matches!(what, EventKind::JobFinished { .. }),
            Ending::Snoozed => {
                matches!(to, Target::Schedule(due) if due.at == STARTED_AT + 2 * SECOND)
                    && matches!(what, EventKind::JobSnoozed { until, .. } if *until == STARTED_AT + 2 * SECOND)
            }
            Ending::Discarded => {
                *to == Target::Ack
                    && matches!(what, EventKind::JobDiscarded { reason, .. } if reason == "gone")
            }
            Ending::Dead => {
                matches!(to, Target::Dead { job, .. } if job.at == STARTED_AT + SECOND)
                    && matches!(
                        what,
                        EventKind::JobFailed {
                            then: AfterFailure::Dead,
                            ..
                        }
                    )
            }
            Ending::Retry => {
                matches!((to, what), (
                    Target::Retry(due),
                    EventKind::JobFailed { then: AfterFailure::Retry { at }, .. },
                ) if due.at == *at && *at > STARTED_AT + SECOND)
            }
            Ending::Dropped => {
                *to == Target::Ack
                    && matches!(
                        what,
                        EventKind::JobFailed {
                            then: AfterFailure::Discarded,
                            ..
                        }
                    )
            }
            Ending::HandedBack => {
                *to == Target::Requeue && matches!(what, EventKind::JobHandedBack)
            }
            _ => false,
        };
        assert!(fits, "{pending:?}");
    }
}

#[test]
fn a_failed_job_has_its_failure_and_the_queue_it_came_from() {
    let error = PerformError::of("Timeout", "too slow");
    let mut of_another_queue = job();
    of_another_queue.set_queue("elsewhere".parse().unwrap());
    let pending = with_rules(&Config::default(), |rules| {
        rules.conclude(ended(of_another_queue, RunEnd::Returned(Err(error))))
    });
    let stored = stored(&pending);
    assert_eq!(stored.get("error_class"), Some(r#""Timeout""#));
    assert_eq!(stored.get("error_message"), Some(r#""too slow""#));
    assert_eq!(stored.queue(), Some(&queue()));
    assert_eq!(stored.failures(), 1);
}

#[test]
fn a_job_that_is_out_of_retries_dies() {
    let error = || RunEnd::Returned(Err(PerformError::of("Timeout", "too slow")));
    let once = stored(&conclude(error()));
    let twice = with_rules(&Config::default(), |rules| {
        rules.conclude(ended(once, error()))
    });
    assert_eq!(twice.ending, Ending::Dead, "the worker allows one retry");
    assert_eq!(stored(&twice).failures(), 2);
}

#[test]
fn the_sources_of_an_error_are_kept_as_far_as_the_settings_say() {
    let config = Config {
        failed_job_stacktrace_size: 2,
        ..Config::default()
    };
    let mut error = PerformError::of("Timeout", "too slow");
    error.failure.error_backtrace = ["a", "b", "c"].map(str::to_owned).to_vec();
    let pending = with_rules(&config, |rules| {
        rules.conclude(ended(job(), RunEnd::Returned(Err(error))))
    });
    let EventKind::JobFailed { failure, .. } = pending.event.what else {
        panic!("{pending:?}");
    };
    assert_eq!(failure.error_backtrace, ["a", "b"]);
}

#[test]
fn a_class_that_nobody_has_fails_or_waits() {
    let stranger = || Job::new("Stranger", queue(), "[]".to_owned()).unwrap();
    let of = |config: &Config| {
        with_rules(config, |rules| {
            rules.unknown_class(stranger(), Bytes::new(), STARTED_AT)
        })
    };
    let failed = of(&Config::default());
    assert_eq!(failed.ending, Ending::Retry);
    assert_eq!((failed.took, failed.number), (None, u64::MAX));
    let waits = of(&Config {
        unknown_class: UnknownClass::RequeueAfter(SECOND),
        ..Config::default()
    });
    assert_eq!(waits.ending, Ending::Snoozed);
    assert_eq!(stored(&waits).failures(), 0);
    assert_eq!(stored(&waits).queue(), Some(&queue()));
}

#[test]
fn what_cannot_run_is_settled_without_a_run() {
    with_rules(&Config::default(), |rules| {
        let expired = rules.expired(job(), Bytes::new(), STARTED_AT);
        assert_eq!(expired.ending, Ending::Discarded);
        assert_eq!(expired.settlement.to, Target::Ack);

        let encrypted = rules.encrypted(job(), Bytes::new(), STARTED_AT);
        assert_eq!(encrypted.ending, Ending::Retry);

        let held = Bytes::from_static(b"{");
        let reason = Job::decode(held.clone()).unwrap_err();
        let malformed = rules.malformed(held.clone(), &reason, STARTED_AT);
        assert_eq!(malformed.ending, Ending::Malformed);
        let to = &malformed.settlement.to;
        assert!(
            matches!(to, Target::Dead { job, .. } if job.job == held && job.at == STARTED_AT),
            "it is kept as it is: {to:?}"
        );
        for pending in [expired, encrypted, malformed] {
            assert_eq!(pending.took, None);
            assert_eq!(pending.event.at, STARTED_AT);
        }
    });
}
