//! What middleware sees and decides, on both sides.

use std::{
    panic,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use verk::{
    BoxError, Client, EnqueueError, Event, EventKind, Job, State,
    job::Failure,
    middleware::{ClientMiddleware, ClientNext, Enqueued, Next, ServerMiddleware},
    outcome::PerformError,
    prelude::*,
    storage::JobSet,
};
use verk_testing::MemoryStorage;

use crate::{
    lifecycle::{Note, Stubborn},
    support::{Fixture, Log},
};

tokio::task_local! {
    static TENANT: String;
}

/// Says for whom it runs, and enqueues a note if the job says so.
#[verk::worker(max_retry_count = 0)]
async fn for_tenant(then_note: bool, State(log): State<Log>) -> Result<(), EnqueueError> {
    log.push(format!("for {}", TENANT.with(String::clone)));
    if then_note {
        Note::enqueue("a note").await?;
    }
    Ok(())
}

#[verk::worker(max_retry_count = 0, timeout = "5s")]
async fn impatient() {}

/// Logs what it wraps.
struct Around(&'static str, Log);

impl ServerMiddleware for Around {
    async fn call(&self, ctx: &JobContext, next: Next) -> Result<Outcome, PerformError> {
        let Self(name, log) = self;
        log.push(format!("{name} before {}", ctx.job().class()));
        let outcome = next.run().await;
        log.push(match &outcome {
            Ok(outcome) => format!("{name} after {outcome:?}"),
            Err(error) => format!("{name} after {}", error.failure.error_message),
        });
        outcome
    }
}

/// Runs a closure instead of the worker.
struct Instead<F>(F);

impl<F> ServerMiddleware for Instead<F>
where
    F: Fn() -> Result<Outcome, PerformError> + Send + Sync + 'static,
{
    async fn call(&self, _: &JobContext, _: Next) -> Result<Outcome, PerformError> {
        (self.0)()
    }
}

struct Pending;

impl ServerMiddleware for Pending {
    async fn call(&self, _: &JobContext, _: Next) -> Result<Outcome, PerformError> {
        std::future::pending().await
    }
}

/// Sets the tenant of a run from the job.
struct ReadTenant;

impl ServerMiddleware for ReadTenant {
    async fn call(&self, ctx: &JobContext, next: Next) -> Result<Outcome, PerformError> {
        let tenant = ctx.job().get("tenant").unwrap_or("null");
        let tenant = serde_json::from_str(tenant).map_err(PerformError::new)?;
        TENANT.scope(tenant, next.run()).await
    }
}

/// Notes the current tenant in the job.
struct WriteTenant;

impl ClientMiddleware for WriteTenant {
    async fn call(&self, job: &mut Job, next: ClientNext<'_>) -> Result<Enqueued, BoxError> {
        if let Ok(tenant) = TENANT.try_with(String::clone) {
            job.set("tenant", &tenant)?;
        }
        Ok(next.run(job).await?)
    }
}

/// Logs what passes, and may stop or refuse it.
struct Gatekeeper(Log);

impl ClientMiddleware for Gatekeeper {
    async fn call(&self, job: &mut Job, next: ClientNext<'_>) -> Result<Enqueued, BoxError> {
        self.0.push(format!("{} passes", job.args()));
        match job.args() {
            r#"["stop"]"# => next.stop(job),
            r#"["refuse"]"# => Err("refused".into()),
            r#"["elsewhere"]"# => {
                job.set_queue("elsewhere".parse()?);
                Ok(next.run(job).await?)
            }
            _ => Ok(next.run(job).await?),
        }
    }
}

async fn failure(it: &mut Fixture) -> Failure {
    it.wait_for(|event| match event {
        Event {
            what: EventKind::JobFailed { failure, .. },
            ..
        } => Some(failure),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn server_middleware_wraps_the_worker_in_order() {
    let log = Log::default();
    let mut it = Fixture::with(|builder| {
        builder
            .queue("default", 1)
            .server_middleware(Around("outer", log.clone()))
            .server_middleware(Around("inner", log.clone()))
    })
    .await;
    it.verk.start().unwrap();
    it.verk.enqueue(Note::new("hello")).await.unwrap();
    it.wait_for_finished(1).await;
    it.verk
        .enqueue(Job::new("Note", "default".parse().unwrap(), "[7]".to_owned()).unwrap())
        .await
        .unwrap();
    let failure = failure(&mut it).await;
    assert_eq!(failure.error_class, "ArgsError");
    let of_args = &failure.error_message;
    assert_eq!(
        log.entries(),
        [
            "outer before Note",
            "inner before Note",
            "inner after Done",
            "outer after Done",
            "outer before Note",
            "inner before Note",
            &format!("inner after {of_args}"),
            &format!("outer after {of_args}"),
        ]
    );
    assert_eq!(it.log.entries(), ["hello"]);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn server_middleware_answers_in_place_of_the_worker() {
    let runs = AtomicUsize::new(0);
    let answer = move || match runs.fetch_add(1, Ordering::Relaxed) {
        0 => Ok(Outcome::Snooze(Duration::from_secs(60))),
        1 => Err(PerformError::new(std::fmt::Error)),
        _ => panic!("in the middleware"),
    };
    let mut it = Fixture::with(|builder| {
        builder
            .queue("default", 1)
            .server_middleware(Instead(answer))
    })
    .await;
    it.verk.start().unwrap();
    it.verk.enqueue(Note::new("never")).await.unwrap();
    it.wait_for(|event| matches!(event.what, EventKind::JobSnoozed { .. }).then_some(()))
        .await;
    it.verk.enqueue(Note::new("never")).await.unwrap();
    assert_eq!(failure(&mut it).await.error_class, "Error");
    it.verk.enqueue(Note::new("never")).await.unwrap();
    let panicked = failure(&mut it).await;
    assert_eq!(
        (&*panicked.error_class, &*panicked.error_message),
        ("Panic", "in the middleware")
    );
    assert!(it.log.entries().is_empty());
    it.verk.shutdown().await;
}

#[tokio::test]
async fn the_workers_timeout_limits_middleware_too() {
    let mut it =
        Fixture::with(|builder| builder.queue("default", 1).server_middleware(Pending)).await;
    it.verk.start().unwrap();
    it.verk.enqueue(Impatient::new()).await.unwrap();
    it.wait_for_started(1).await;
    it.advance(Duration::from_secs(5));
    assert_eq!(failure(&mut it).await.error_class, "Timeout");
    it.verk.shutdown().await;
}

#[tokio::test]
async fn what_client_middleware_notes_server_middleware_reads() {
    let mut it = Fixture::with(|builder| {
        builder
            .queue("default", 1)
            .client_middleware(WriteTenant)
            .server_middleware(ReadTenant)
    })
    .await;
    it.verk.start().unwrap();
    let enqueue = it.verk.enqueue(ForTenant::new(true));
    TENANT.scope("acme".to_owned(), enqueue).await.unwrap();
    let note = it.wait_for(|event| match event {
        Event {
            what: EventKind::JobFinished { .. },
            job: Some(job),
            ..
        } if job.class() == "Note" => Some(job),
        _ => None,
    });
    // The job that a job enqueues has the tenant of that job.
    assert_eq!(note.await.get("tenant"), Some(r#""acme""#));
    assert_eq!(it.log.entries(), ["for acme", "a note"]);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn client_middleware_stops_refuses_and_moves_jobs() {
    let log = Log::default();
    let it = Fixture::with(|builder| {
        builder
            .queue("default", 1)
            .client_middleware(WriteTenant)
            .client_middleware(Gatekeeper(log.clone()))
    })
    .await;
    let stopped = it.verk.enqueue(Note::new("stop")).await.unwrap_err();
    assert!(matches!(stopped, EnqueueError::Stopped { .. }));
    assert!(!stopped.may_be_stored() && stopped.jid().is_some());
    let later = Note::new("stop").schedule_in(Duration::from_secs(1));
    assert!(matches!(
        it.verk.enqueue(later).await,
        Err(EnqueueError::Stopped { .. })
    ));
    let refused = it.verk.enqueue(Note::new("refuse")).await.unwrap_err();
    let EnqueueError::Middleware { source, .. } = &refused else {
        panic!("{refused}");
    };
    assert_eq!(source.to_string(), "refused");
    assert!(!refused.may_be_stored());
    it.assert_no_jobs().await;

    let many = ["a", "stop", "elsewhere", "b"].map(Note::new);
    let jids = it.verk.client().enqueue_all(many).await.unwrap();
    let queued = |queue: &'static str| it.queued(queue);
    let args = |payloads: Vec<bytes::Bytes>| -> Vec<(String, String)> {
        let jobs = payloads.into_iter().map(|job| Job::decode(job).unwrap());
        jobs.map(|job| (job.jid().to_string(), job.args().to_owned()))
            .collect()
    };
    let [a, moved, b] = &jids[..] else {
        panic!("{jids:?}");
    };
    assert_eq!(
        args(queued("default").await),
        [
            (a.to_string(), r#"["a"]"#.to_owned()),
            (b.to_string(), r#"["b"]"#.to_owned())
        ]
    );
    assert_eq!(
        args(queued("elsewhere").await),
        [(moved.to_string(), r#"["elsewhere"]"#.to_owned())]
    );

    let error = it
        .verk
        .client()
        .enqueue_all(["c", "refuse", "d"].map(Note::new))
        .await
        .unwrap_err();
    assert_eq!(error.stored.len(), 1);
    assert!(matches!(error.source, EnqueueError::Middleware { .. }));
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_job_passes_client_middleware_once() {
    let log = Log::default();
    let mut it = Fixture::with(|builder| {
        builder
            .queue("default", 1)
            .client_middleware(Gatekeeper(log.clone()))
    })
    .await;
    it.verk.start().unwrap();
    let minute = Duration::from_secs(60);
    let later = Stubborn::new(2).schedule_in(minute);
    it.verk.enqueue(later).await.unwrap();
    assert_eq!(it.set(JobSet::Schedule).await.len(), 1);
    it.advance(minute);
    it.wait_for_finished(1).await;
    assert_eq!(it.log.entries(), ["attempt 1", "attempt 2"]);
    assert_eq!(log.entries(), ["[2] passes"]);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_client_without_a_verk_takes_middleware_too() {
    let log = Log::default();
    let client = Client::new(std::sync::Arc::new(MemoryStorage::default()))
        .client_middleware(Gatekeeper(log.clone()));
    client.enqueue(Note::new("hello")).await.unwrap();
    assert_eq!(log.entries(), [r#"["hello"] passes"#]);
}
