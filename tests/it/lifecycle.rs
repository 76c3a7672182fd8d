//! A job from enqueue to its end.

use std::time::Duration;

use bytes::Bytes;
use verk::{
    Event, EventKind, Job, QueueName, State,
    config::UnknownClass,
    events::AfterFailure,
    prelude::*,
    storage::{JobSet, Source},
    time::unix_seconds,
};
use verk_testing::within;

use crate::support::{ALL, Fixture, Log, Logged, PATIENCE, at_once, queue_name, until};

#[verk::worker]
pub(crate) async fn note(text: String, State(log): State<Log>) {
    log.push(text);
}

/// Fails until the given attempt.
#[verk::worker(retry_at = at_once)]
pub(crate) async fn stubborn(
    succeeds_at: u32,
    State(log): State<Log>,
    ctx: JobContext,
) -> Result<(), String> {
    log.push(format!("attempt {}", ctx.attempt()));
    if ctx.attempt() < succeeds_at {
        Err(format!("attempt {} failed", ctx.attempt()))
    } else {
        Ok(())
    }
}

#[verk::worker(max_retry_count = 2, retry_at = at_once)]
pub(crate) async fn hopeless() -> Result<(), std::io::Error> {
    Err(std::io::Error::other("no way"))
}

#[verk::worker(max_retry_count = 0)]
async fn panicking(message: String) {
    panic!("{message}");
}

#[verk::worker(max_retry_count = 0, timeout = "5s")]
async fn endless(State(log): State<Log>) {
    struct Dropped(Log);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.push("dropped");
        }
    }
    let _dropped = Dropped(log);
    std::future::pending().await
}

#[verk::worker]
async fn answering(answer: String) -> Result<Outcome, String> {
    match answer.as_str() {
        "snooze" => Ok(Outcome::Snooze(Duration::from_secs(60))),
        "discard" => Ok(Outcome::Discard("not needed".into())),
        "kill" => Ok(Outcome::Kill("hopeless".into())),
        _ => Err("what?".into()),
    }
}

/// The client is the one of the running job's own Verk.
#[verk::worker]
pub(crate) async fn parent() -> Result<(), verk::EnqueueError> {
    Note::enqueue("from the parent").await?;
    Ok(())
}

#[tokio::test]
async fn a_job_runs_and_leaves_nothing() {
    let mut it = Fixture::new().await;
    let jid = it.verk.enqueue(Note::new("hello")).await.unwrap();
    it.verk.start().unwrap();
    let finished = it.wait_for(|event| match event {
        Event {
            what: EventKind::JobFinished { .. },
            job: Some(job),
            ..
        } => Some(job),
        _ => None,
    });
    let finished = finished.await;
    assert_eq!(
        (finished.class(), finished.jid(), finished.args()),
        ("Note", &jid, r#"["hello"]"#)
    );
    assert_eq!(it.log.entries(), ["hello"]);
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_failing_job_is_retried_until_it_succeeds() {
    let mut it = Fixture::new().await;
    // Keys of other programs survive every move.
    let payload = r#"{"class":"Stubborn","args":[3],"jid":"b4a577edbccf1d805744efa9","queue":"default","retry":true,"bid":"b-1","big":12345678901234567}"#;
    it.verk
        .storage()
        .enqueue(&queue_name("default"), &[Bytes::from(payload)])
        .await
        .unwrap();
    it.verk.start().unwrap();
    it.wait_for(|event| match event {
        Event {
            what: EventKind::JobFinished { .. },
            job: Some(job),
            ..
        } => {
            assert_eq!(job.failures(), 2);
            assert_eq!(job.get("bid"), Some(r#""b-1""#));
            assert_eq!(job.get("big"), Some("12345678901234567"));
            assert_eq!(job.get("retry"), Some("true"));
            assert_eq!(job.get("retry_count"), Some("1"), "Sidekiq counts from 0");
            assert_eq!(job.error_message().as_deref(), Some("attempt 2 failed"));
            assert_eq!(job.error_class().as_deref(), Some("String"));
            Some(())
        }
        _ => None,
    })
    .await;
    assert_eq!(it.log.entries(), ["attempt 1", "attempt 2", "attempt 3"]);
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_job_that_is_out_of_retries_is_dead() {
    let mut it = Fixture::new().await;
    it.verk.enqueue(Hopeless::new()).await.unwrap();
    it.verk.start().unwrap();
    for expected in [None, None, Some(AfterFailure::Dead)] {
        let then = it.wait_for(|event| match event {
            Event {
                what: EventKind::JobFailed { then, .. },
                ..
            } => Some(then),
            _ => None,
        });
        let then = then.await;
        assert_eq!(then == AfterFailure::Dead, expected.is_some(), "{then:?}");
    }
    it.verk.shutdown().await;
    let dead = it.set(JobSet::Dead).await;
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].class(), dead[0].failures()), ("Hopeless", 3));
    assert_eq!(it.set(JobSet::Retry).await.len(), 0);
}

#[tokio::test]
async fn without_dead_the_job_is_dropped() {
    let mut it = Fixture::new().await;
    for options in [r#""retry":false"#, r#""retry":0,"dead":false"#] {
        let payload =
            format!(r#"{{"class":"Hopeless","args":[],"jid":"abc","queue":"default",{options}}}"#);
        it.verk
            .storage()
            .enqueue(&queue_name("default"), &[Bytes::from(payload)])
            .await
            .unwrap();
    }
    it.verk.start().unwrap();
    for _ in 0..2 {
        let then = it.wait_for(|event| match event {
            Event {
                what: EventKind::JobFailed { then, .. },
                ..
            } => Some(then),
            _ => None,
        });
        assert_eq!(then.await, AfterFailure::Discarded);
    }
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_retry_waits_for_verks_backoff() {
    let mut it = Fixture::new().await;
    // The class has a `retry_at`; one that nobody registered has the default.
    let job = Job::new(
        "NoSuchWorker",
        QueueName::new("default").unwrap(),
        "[]".into(),
    )
    .unwrap();
    it.verk.enqueue(job).await.unwrap();
    it.verk.start().unwrap();
    let (at, failure) = it
        .wait_for(|event| match event {
            Event {
                what:
                    EventKind::JobFailed {
                        failure,
                        then: AfterFailure::Retry { at },
                        ..
                    },
                ..
            } => Some((at, failure)),
            _ => None,
        })
        .await;
    assert_eq!(failure.error_class, "UnknownClass");
    assert_eq!(
        failure.error_message,
        "no worker of this program has the class \"NoSuchWorker\"; if its worker is in another crate: `use that_crate as _;`"
    );
    let delay = unix_seconds(at) - unix_seconds(verk::time::Clock::now(&it.clock));
    // 1^4 + 15 + U(1..30) * 2
    assert!((18.0..=76.0).contains(&delay), "{delay}");
    it.verk.shutdown().await;
    assert_eq!(it.set(JobSet::Retry).await.len(), 1);
}

#[tokio::test]
async fn a_job_of_an_unknown_class_may_wait_for_a_node_that_has_it() {
    let delay = Duration::from_secs(30);
    let old = UnknownClass::RequeueAfter(delay);
    let mut it = Fixture::with(|builder| builder.queue("default", 1).unknown_class(old)).await;
    let payload = r#"{"class":"NoSuchWorker","args":[1.10],"jid":"abc","queue":"default","retry":0,"ours":[ 1 ]}"#;
    let enqueue = [Bytes::from(payload)];
    let default = queue_name("default");
    it.verk.storage().enqueue(&default, &enqueue).await.unwrap();
    it.verk.start().unwrap();
    // However often: no attempt is counted, although the job allows no retry.
    for _ in 0..3 {
        let until = it.wait_for(|event| match event {
            Event {
                what: EventKind::JobSnoozed { until, .. },
                ..
            } => Some(until),
            Event {
                what: EventKind::JobFailed { .. },
                ..
            } => panic!("it counted"),
            _ => None,
        });
        assert_eq!(until.await, verk::time::Clock::now(&it.clock) + delay);
        let waiting = it
            .verk
            .storage()
            .list(&Source::Set(JobSet::Schedule), &ALL.into())
            .await;
        let waiting = waiting.unwrap().jobs;
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting[0].job, payload);
        it.advance(delay);
    }
    it.verk.shutdown().await;
    assert_eq!(it.set(JobSet::Retry).await.len(), 0);
    assert_eq!(it.set(JobSet::Dead).await.len(), 0);
}

#[tokio::test]
async fn a_node_warns_of_waiting_jobs_of_unknown_classes() {
    let it = Fixture::new().await;
    for class in ["NoSuchWorker", "Note", "NoSuchWorker"] {
        let job = Job::new(class, queue_name("default"), r#"["a"]"#.to_owned()).unwrap();
        it.verk.enqueue(job).await.unwrap();
    }
    // They stay in the queue, to be read.
    it.verk.pause_queue("default").unwrap();
    let (logged, _guard) = Logged::capture();
    it.verk.start().unwrap();
    let unknown = [
        "WARN",
        "wait in a queue",
        "class=\"NoSuchWorker\"",
        "jobs=2",
    ];
    let warned = async {
        while logged.lines_with(&unknown) == 0 {
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, warned).await;
    it.verk.shutdown().await;
    assert_eq!(
        logged.lines_with(&["wait in a queue"]),
        1,
        "once, and of no other class"
    );
}

/// An error with three sources, each a line of the backtrace.
#[derive(Debug, thiserror::Error)]
#[error("deep {0}")]
struct Deep(u32, #[source] Option<Box<Deep>>);

#[verk::worker(retry_at = at_once)]
async fn deep_failure() -> Result<(), Deep> {
    let mut error = Deep(0, None);
    for depth in 1..4 {
        error = Deep(depth, Some(Box::new(error)));
    }
    Err(error)
}

#[tokio::test]
async fn the_configured_limits_hold_for_jobs_that_name_none() {
    let mut it = Fixture::with(|builder| {
        builder
            .queue("default", 1)
            .max_retry_count(1)
            .failed_job_stacktrace_size(2)
            .max_dead_jobs(2)
            .dead_timeout(Duration::from_secs(3600))
    })
    .await;
    for _ in 0..3 {
        it.verk.enqueue(DeepFailure::new()).await.unwrap();
    }
    it.verk.start().unwrap();
    for _ in 0..3 {
        let dead = it.wait_for(|event| match event {
            Event {
                what: EventKind::JobFailed { then, .. },
                job: Some(job),
                ..
            } => (then == AfterFailure::Dead).then_some(job),
            _ => None,
        });
        assert_eq!(dead.await.failures(), 2, "one run, and one retry");
    }
    it.verk.shutdown().await;
    let dead = it.set(JobSet::Dead).await;
    assert_eq!(dead.len(), 2, "the set is cut to its cap");
    let lines = ["caused by: deep 2", "caused by: deep 1"];
    assert_eq!(dead[0].error_backtrace(), lines);
}

#[tokio::test]
async fn wrong_args_are_a_failure_that_says_which() {
    let mut it = Fixture::new().await;
    let wrong = [
        (
            "[7]",
            "Note: argument 1 (`text`) does not decode: found an integer, expected a string",
        ),
        ("[]", "Note: argument 1 (`text`) is missing: the job has 0"),
        (
            r#"["a","b"]"#,
            "Note: the job has 2 arguments, the worker takes 1",
        ),
    ];
    it.verk.start().unwrap();
    for (args, message) in wrong {
        let job = Job::new("Note", queue_name("default"), args.to_owned()).unwrap();
        it.verk.enqueue(job).await.unwrap();
        let failure = it.wait_for(|event| match event {
            Event {
                what: EventKind::JobFailed { failure, .. },
                ..
            } => Some(failure),
            _ => None,
        });
        let failure = failure.await;
        assert_eq!(failure.error_class, "ArgsError");
        assert!(
            failure.error_message.starts_with(message),
            "{}",
            failure.error_message
        );
    }
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_panic_is_a_failure_and_gives_its_permit_back() {
    let mut it = Fixture::with(|builder| builder.queue("default", 1)).await;
    it.verk.enqueue(Panicking::new("oh no")).await.unwrap();
    it.verk.enqueue(Note::new("after")).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_finished(1).await;
    assert_eq!(it.log.entries(), ["after"]);
    it.verk.shutdown().await;
    let dead = it.set(JobSet::Dead).await;
    assert_eq!(dead[0].error_class().as_deref(), Some("Panic"));
    assert_eq!(dead[0].error_message().as_deref(), Some("oh no"));
}

#[tokio::test]
async fn a_job_that_runs_too_long_is_stopped() {
    let mut it = Fixture::new().await;
    it.verk.enqueue(Endless::new()).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for(|event| matches!(event.what, EventKind::JobStarted).then_some(()))
        .await;
    it.advance(Duration::from_secs(5));
    let failure = it.wait_for(|event| match event {
        Event {
            what: EventKind::JobFailed { failure, .. },
            ..
        } => Some(failure),
        _ => None,
    });
    let failure = failure.await;
    assert_eq!(failure.error_class, "Timeout");
    assert_eq!(failure.error_message, "ran longer than its timeout of 5s");
    assert_eq!(it.log.entries(), ["dropped"]);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn what_is_no_job_is_buried_as_it_is() {
    let mut it = Fixture::new().await;
    let payloads =
        [&b"{not json"[..], b"[]", b"\xff\xfe", br#"{"args":[]}"#].map(Bytes::from_static);
    it.verk
        .storage()
        .enqueue(&queue_name("default"), &payloads)
        .await
        .unwrap();
    it.verk.enqueue(Note::new("after")).await.unwrap();
    it.verk.start().unwrap();
    for _ in &payloads {
        it.wait_for(|event| matches!(event.what, EventKind::JobMalformed { .. }).then_some(()))
            .await;
    }
    it.verk.shutdown().await;
    let dead = it
        .verk
        .storage()
        .list(&Source::Set(JobSet::Dead), &crate::support::ALL.into())
        .await
        .unwrap()
        .jobs;
    let mut dead: Vec<Bytes> = dead.into_iter().map(|member| member.job).collect();
    dead.sort();
    let mut payloads = payloads.to_vec();
    payloads.sort();
    assert_eq!(dead, payloads);
}

#[tokio::test]
async fn a_scheduled_job_runs_at_its_time_and_not_before() {
    let mut it = Fixture::new().await;
    let start = verk::time::Clock::instant(&it.clock);
    it.verk.start().unwrap();
    it.verk
        .enqueue(Note::new("later").schedule_in(Duration::from_secs(90)))
        .await
        .unwrap();
    it.verk
        .enqueue(Note::new("sooner").schedule_in(Duration::from_millis(1_500)))
        .await
        .unwrap();
    let scheduled = it.set(JobSet::Schedule).await;
    assert_eq!(
        scheduled.iter().map(Job::enqueued_at).collect::<Vec<_>>(),
        [None, None]
    );

    let sooner = start + Duration::from_millis(1_500);
    until(|| it.clock.next_deadline() == Some(sooner)).await;
    it.clock.advance_to(sooner - Duration::from_millis(1));
    assert_eq!(it.set(JobSet::Schedule).await.len(), 2);
    it.clock.advance_to(sooner);
    it.wait_for_finished(1).await;
    assert_eq!(it.log.entries(), ["sooner"]);
    // The rest of the wait, at most `poll_interval` at a time.
    it.advance(Duration::from_secs(90));
    it.wait_for_finished(1).await;
    assert_eq!(it.log.entries(), ["sooner", "later"]);
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_time_in_the_past_is_now() {
    let it = Fixture::new().await;
    let past = verk::time::from_unix_seconds(1.0);
    it.verk
        .enqueue(Note::new("now").schedule_at(past))
        .await
        .unwrap();
    assert_eq!(it.queued("default").await.len(), 1);
    assert_eq!(it.set(JobSet::Schedule).await.len(), 0);
}

#[tokio::test]
async fn a_due_member_without_a_queue_is_buried_and_polled_once() {
    let mut it = Fixture::new().await;
    let at = verk::time::from_unix_seconds(1.0);
    let due = [
        br#"{"class":"Note","args":["x"],"jid":"1"}"#.as_slice(),
        b"not json",
    ];
    let due = due.map(|job| verk::storage::Due {
        at,
        job: Bytes::from_static(job),
    });
    it.verk.storage().schedule(&due).await.unwrap();
    it.verk.start().unwrap();
    it.verk.enqueue(Note::new("alive")).await.unwrap();
    it.wait_for_finished(1).await;
    // Due now, so it is moved after the two.
    it.verk
        .enqueue(Note::new("due").schedule_in(Duration::from_secs(1)))
        .await
        .unwrap();
    it.advance(Duration::from_secs(10));
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    assert_eq!(it.set_len(JobSet::Dead).await, 2);
    assert_eq!(it.set_len(JobSet::Schedule).await, 0);
}

#[tokio::test]
async fn a_worker_may_answer_that_its_job_should_not_be_retried_or_not_yet() {
    let mut it = Fixture::new().await;
    it.verk.start().unwrap();

    it.verk.enqueue(Answering::new("snooze")).await.unwrap();
    it.wait_for(|event| matches!(event.what, EventKind::JobSnoozed { .. }).then_some(()))
        .await;
    let snoozed = it.set(JobSet::Schedule).await;
    assert_eq!(
        (snoozed.len(), snoozed[0].failures()),
        (1, 0),
        "no attempt is counted"
    );

    it.verk.enqueue(Answering::new("discard")).await.unwrap();
    it.wait_for(|event| matches!(event.what, EventKind::JobDiscarded { .. }).then_some(()))
        .await;

    it.verk.enqueue(Answering::new("kill")).await.unwrap();
    it.wait_for(|event| {
        matches!(
            event,
            Event {
                what: EventKind::JobFailed {
                    then: AfterFailure::Dead,
                    ..
                },
                ..
            }
        )
        .then_some(())
    })
    .await;
    let dead = it.set(JobSet::Dead).await;
    assert_eq!(
        (dead.len(), dead[0].error_message().as_deref()),
        (1, Some("hopeless"))
    );
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_queue_can_be_added_to_a_running_node() {
    let mut it = Fixture::new().await;
    it.verk.start().unwrap();
    it.verk
        .enqueue(Note::new("low").queue("low"))
        .await
        .unwrap();
    it.verk.add_queue("low", 1).unwrap();
    it.wait_for_finished(1).await;
    assert!(it.verk.add_queue("low", 0).is_err());
    it.verk.shutdown().await;
    it.assert_empty().await;
}
