//! What a client middleware learns of the store, and how many jobs pass middleware at once.

use std::{future::pending, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::poll_immediate};
use tokio::sync::{Notify, Semaphore};
use verk::{
    BoxError, Client, EnqueueError, Job,
    job::RetryLimit,
    middleware::{ClientMiddleware, ClientNext, Enqueued},
    prelude::*,
    redis::RedisConfig,
    storage::{JobSet, Source},
};
use verk_testing::{CuttingProxy, MemoryStorage, RedisServer, within};

use crate::{
    lifecycle::Note,
    support::{Fixture, Gauge, Log, PATIENCE, calls, queue_name},
};

fn tell(result: &Result<Enqueued, EnqueueError>) -> String {
    match result {
        Ok(Enqueued::New(_)) => "new".to_owned(),
        Ok(other) => format!("{other:?}"),
        Err(error) => {
            let kind = match error {
                EnqueueError::Stopped { .. } => "stopped",
                EnqueueError::Middleware { .. } => "middleware",
                EnqueueError::Storage { .. } => "storage",
                EnqueueError::TooLarge { .. } => "too large",
                EnqueueError::BulkFailed { .. } => "bulk failed",
                _ => "another",
            };
            match error.may_be_stored() {
                true => format!("{kind}, may be stored"),
                false => format!("{kind}, not stored"),
            }
        }
    }
}

/// Logs the result of each job.
struct Witness(Log);

impl ClientMiddleware for Witness {
    async fn call(&self, job: &mut Job, next: ClientNext<'_>) -> Result<Enqueued, BoxError> {
        let result = next.run(job).await;
        self.0.push(format!("{} {}", job.args(), tell(&result)));
        Ok(result?)
    }
}

/// Returns its own answer, whether the job was stored or not.
struct Liar(&'static str);

impl ClientMiddleware for Liar {
    async fn call(&self, job: &mut Job, next: ClientNext<'_>) -> Result<Enqueued, BoxError> {
        let jid = job.jid().clone();
        match self.0 {
            "stored, without run" => Ok(Enqueued::New(jid)),
            "stored, whatever happens" => {
                let _ = next.run(job).await;
                Ok(Enqueued::New(jid))
            }
            "stopped, after run" => {
                let _ = next.run(job).await;
                Err(EnqueueError::Stopped { jid }.into())
            }
            "fails after run" => {
                next.run(job).await?;
                Err("too late".into())
            }
            "gives up" => {
                let _ = poll_immediate(next.run(job)).await;
                Err("no time".into())
            }
            "another's error" => {
                let other = Job::new("Other", "default".parse()?, "[]".to_owned())?;
                Err(EnqueueError::NoQueue {
                    jid: other.jid().clone(),
                }
                .into())
            }
            other => unreachable!("{other}"),
        }
    }
}

/// Lets so many through at once, from before the job is stored until after.
struct Turnstile(Semaphore, Gauge);

impl ClientMiddleware for Turnstile {
    async fn call(&self, job: &mut Job, next: ClientNext<'_>) -> Result<Enqueued, BoxError> {
        self.1.enter();
        let turn = self.0.acquire().await?;
        let stored = next.run(job).await;
        drop(turn);
        self.1.leave();
        Ok(stored?)
    }
}

/// Holds "refused" until "c" has come, and refuses it then.
#[derive(Default)]
struct RefusesLate(Notify);

impl ClientMiddleware for RefusesLate {
    async fn call(&self, job: &mut Job, next: ClientNext<'_>) -> Result<Enqueued, BoxError> {
        match job.args() {
            r#"["refused"]"# => {
                self.0.notified().await;
                return Err("refused".into());
            }
            r#"["c"]"# => self.0.notify_one(),
            _ => {}
        }
        Ok(next.run(job).await?)
    }
}

/// Is busy with other things in between.
struct Busy;

impl ClientMiddleware for Busy {
    async fn call(&self, job: &mut Job, next: ClientNext<'_>) -> Result<Enqueued, BoxError> {
        tokio::task::yield_now().await;
        Ok(next.run(job).await?)
    }
}

fn numbers(count: usize) -> impl Iterator<Item = Note> + Send {
    (0..count).map(|number| Note::new(number.to_string()))
}

async fn args_in(it: &Fixture, queue: &str) -> Vec<String> {
    let jobs = it.queued(queue).await;
    let args = jobs
        .into_iter()
        .map(|job| Job::decode(job).unwrap().args().to_owned());
    args.collect()
}

#[tokio::test]
async fn middleware_sees_what_became_of_the_store() {
    let log = Log::default();
    let it = Fixture::with(|builder| {
        builder
            .max_payload_bytes(1000)
            .client_middleware(Witness(log.clone()))
    })
    .await;
    let later = |text: &str| Note::new(text).schedule_in(Duration::from_secs(60));
    let client = it.verk.client();

    client.enqueue(Note::new("now")).await.unwrap();
    client.enqueue(later("later")).await.unwrap();
    let many = [Note::new("b").queue("other"), later("c"), later("d")];
    client.enqueue_all(many).await.unwrap();
    client
        .enqueue(Note::new("x".repeat(1000)))
        .await
        .unwrap_err();
    it.storage.faults().set_full(true);
    client.enqueue(Note::new("e")).await.unwrap_err();
    client.enqueue(later("f")).await.unwrap_err();
    let refused = client.enqueue_all([later("g")]).await.unwrap_err();
    assert!(matches!(refused.source, EnqueueError::Storage { .. }));

    let large = format!("[\"{}\"] too large, not stored", "x".repeat(1000));
    assert_eq!(
        log.entries(),
        [
            "[\"now\"] new",
            "[\"later\"] new",
            "[\"b\"] new",
            "[\"c\"] new",
            "[\"d\"] new",
            &large,
            "[\"e\"] storage, not stored",
            "[\"f\"] storage, not stored",
            "[\"g\"] storage, not stored",
        ]
    );
    assert_eq!(it.set(JobSet::Schedule).await.len(), 3);
    assert_eq!(args_in(&it, "default").await, [r#"["now"]"#]);
    assert_eq!(args_in(&it, "other").await, [r#"["b"]"#]);
}

#[tokio::test]
async fn middleware_sees_that_the_reply_was_lost() {
    let redis = RedisServer::start();
    let proxy = CuttingProxy::start(&redis);
    let log = Log::default();
    let verk = Verk::builder()
        .redis(RedisConfig::new(proxy.url()))
        .client_middleware(Witness(log.clone()))
        .build()
        .await
        .unwrap();
    proxy.lose_reply(|command| command.name() == "LPUSH");
    let error = verk.enqueue(Note::new("one")).await.unwrap_err();
    assert!(error.may_be_stored());
    proxy.lose_reply(|command| command.name() == "LPUSH");
    let error = verk.client().enqueue_all(numbers(2)).await.unwrap_err();
    assert!(error.stored.is_empty() && error.source.may_be_stored());
    assert_eq!(
        log.entries(),
        [
            "[\"one\"] storage, may be stored",
            "[\"0\"] storage, may be stored",
            "[\"1\"] storage, may be stored",
        ]
    );
}

#[tokio::test]
async fn no_answer_of_a_middleware_hides_what_became_of_the_job() {
    for (lie, full, seen) in [
        ("stored, without run", false, "stopped, not stored"),
        ("stored, whatever happens", false, "new"),
        ("stored, whatever happens", true, "middleware, not stored"),
        ("stopped, after run", false, "middleware, may be stored"),
        ("stopped, after run", true, "middleware, not stored"),
        ("fails after run", false, "middleware, may be stored"),
        ("fails after run", true, "storage, not stored"),
        ("gives up", false, "middleware, may be stored"),
        ("another's error", false, "middleware, not stored"),
    ] {
        let log = Log::default();
        let it = Fixture::with(|builder| {
            builder
                .client_middleware(Witness(log.clone()))
                .client_middleware(Liar(lie))
        })
        .await;
        it.storage.faults().set_full(full);
        let one = it.verk.enqueue(Note::new("a")).await;
        assert_eq!(tell(&one.map(Enqueued::New)), seen, "{lie}");
        let many = it.verk.client().enqueue_all([Note::new("b")]).await;
        let is_stored = it.queued("default").await.len() == 2;
        match many {
            Ok(jids) => assert_eq!(jids.len(), usize::from(is_stored), "{lie}"),
            Err(error) => {
                assert_eq!(error.stored.len(), usize::from(is_stored), "{lie}");
                // Of a chunk that the storage refused, this is the cause.
                let cause = if full { "storage, not stored" } else { seen };
                assert_eq!(tell(&Err(error.source)), cause, "{lie}");
            }
        }
        let entries = [format!("[\"a\"] {seen}"), format!("[\"b\"] {seen}")];
        assert_eq!(log.entries(), entries, "{lie}");
    }
}

#[tokio::test]
async fn a_bulk_passes_a_middleware_that_lets_one_job_through_at_a_time() {
    let gauge = Gauge::default();
    let it = Fixture::with(|builder| {
        builder.client_middleware(Turnstile(Semaphore::new(1), gauge.clone()))
    })
    .await;
    let bulk = it.verk.client();
    let jids = within(PATIENCE, bulk.enqueue_all(numbers(2500))).await;
    assert_eq!(jids.unwrap().len(), 2500);
    let expected: Vec<String> = (0..2500).map(|number| format!("[\"{number}\"]")).collect();
    assert_eq!(args_in(&it, "default").await, expected);
    assert!(gauge.most() <= 1000, "{} jobs lived at once", gauge.most());
}

#[tokio::test]
async fn a_bulk_with_middleware_is_sent_in_full_chunks() {
    let redis = RedisServer::start();
    let verk = Verk::builder()
        .redis(RedisConfig::new(redis.url()))
        .client_middleware(Turnstile(Semaphore::new(800), Gauge::default()))
        .client_middleware(Busy)
        .build()
        .await
        .unwrap();
    let jids = verk.client().enqueue_all(numbers(1200)).await.unwrap();
    assert_eq!(jids.len(), 1200);
    assert_eq!(calls(&redis, "lpush"), 3);
    let stored = verk.storage();
    let stored = stored
        .len(&Source::Queue(queue_name("default")))
        .await
        .unwrap();
    assert_eq!(stored, 1200);

    // Each queue gets its jobs at once, though they take turns.
    let jobs = numbers(100).enumerate();
    let jobs = jobs.map(|(number, job)| job.queue(["even", "odd"][number % 2]));
    verk.client().enqueue_all(jobs).await.unwrap();
    assert_eq!(calls(&redis, "lpush"), 5);
}

#[tokio::test]
async fn a_bulk_of_large_jobs_is_sent_in_chunks_of_a_mebibyte() {
    let redis = RedisServer::start();
    let verk = Verk::builder()
        .redis(RedisConfig::new(redis.url()))
        .client_middleware(Busy)
        .build()
        .await
        .unwrap();
    let large = (0..10).map(|_| Note::new("x".repeat(300 * 1024)));
    assert_eq!(verk.client().enqueue_all(large).await.unwrap().len(), 10);
    assert_eq!(calls(&redis, "lpush"), 4);
}

#[tokio::test]
async fn a_job_that_is_refused_late_stops_the_jobs_after_it() {
    let log = Log::default();
    let it = Fixture::with(|builder| {
        builder
            .client_middleware(Witness(log.clone()))
            .client_middleware(RefusesLate::default())
    })
    .await;
    let jobs = ["a", "refused", "b", "c"].map(Note::new);
    let error = it.verk.client().enqueue_all(jobs).await.unwrap_err();
    assert!(matches!(error.source, EnqueueError::Middleware { .. }));
    assert_eq!(error.stored.len(), 1);
    assert_eq!(args_in(&it, "default").await, [r#"["a"]"#]);
    let mut entries = log.entries();
    entries.sort();
    assert_eq!(
        entries,
        [
            "[\"a\"] new",
            "[\"b\"] bulk failed, not stored",
            "[\"c\"] bulk failed, not stored",
            "[\"refused\"] middleware, not stored",
        ]
    );
}

#[tokio::test]
async fn a_bulk_that_the_storage_refuses_takes_no_more_jobs() {
    let log = Log::default();
    let it = Fixture::with(|builder| builder.client_middleware(Witness(log.clone()))).await;
    it.storage.faults().set_full(true);
    let error = it.verk.client().enqueue_all(numbers(10_000)).await;
    let error = error.unwrap_err();
    assert!(error.stored.is_empty());
    assert!(matches!(error.source, EnqueueError::Storage { .. }));
    let entries = log.entries();
    // All that were taken got an answer.
    assert!((500..=1000).contains(&entries.len()), "{}", entries.len());
    assert!(entries[0].ends_with("storage, not stored"));
}

#[tokio::test]
async fn arguments_that_do_not_encode_stop_a_bulk_after_the_jobs_before() {
    let it = Fixture::with(|builder| builder.client_middleware(Busy)).await;
    let jobs = ["default", "", "default"].map(|queue| Note::new("x").queue(queue));
    let error = it.verk.client().enqueue_all(jobs).await.unwrap_err();
    assert!(matches!(error.source, EnqueueError::InvalidName(_)));
    assert_eq!(error.stored.len(), 1);
    assert_eq!(it.queued("default").await.len(), 1);
}

#[tokio::test]
async fn a_dropped_bulk_drops_the_middleware_of_its_jobs() {
    /// Holds a turn until the job comes back, which it does not.
    struct Holds(Arc<Semaphore>);
    impl ClientMiddleware for Holds {
        async fn call(&self, _: &mut Job, _: ClientNext<'_>) -> Result<Enqueued, BoxError> {
            let _turn = self.0.acquire().await?;
            pending().await
        }
    }
    let turns = Arc::new(Semaphore::new(3));
    let client = Client::new(Arc::new(MemoryStorage::default()));
    let client = client.client_middleware(Holds(Arc::clone(&turns)));
    {
        let mut bulk = pin!(client.enqueue_all(numbers(3)));
        assert!(poll_immediate(&mut bulk).await.is_none());
        assert_eq!(turns.available_permits(), 0);
    }
    assert_eq!(turns.available_permits(), 3);
}

#[tokio::test]
async fn a_middleware_may_set_anything_before_the_job_is_stored() {
    /// Gives up on jobs at once.
    struct Once;
    impl ClientMiddleware for Once {
        async fn call(&self, job: &mut Job, next: ClientNext<'_>) -> Result<Enqueued, BoxError> {
            job.set_retry_limit(RetryLimit::Never);
            assert_eq!(job.enqueued_at(), None);
            let stored = next.run(job).await?;
            assert_eq!(stored.jid(), job.jid());
            // As it was stored.
            assert!(job.enqueued_at().is_some());
            Ok(stored)
        }
    }
    let it = Fixture::with(|builder| builder.client_middleware(Once)).await;
    it.verk.enqueue(Note::new("a")).await.unwrap();
    it.verk.client().enqueue_all(numbers(2)).await.unwrap();
    for job in it.queued("default").await {
        assert_eq!(Job::decode(job).unwrap().get("retry"), Some("false"));
    }
}

/// Panics before or after the store of one job.
struct Panics {
    args: &'static str,
    after: bool,
}

impl ClientMiddleware for Panics {
    async fn call(&self, job: &mut Job, next: ClientNext<'_>) -> Result<Enqueued, BoxError> {
        let panics = job.class() == "Note" && job.args() == self.args;
        assert!(!panics || self.after, "as it was told");
        let stored = next.run(job).await?;
        assert!(!panics, "as it was told");
        Ok(stored)
    }
}

#[tokio::test]
async fn a_panic_of_a_middleware_reaches_who_enqueues_and_leaves_the_client_well() {
    for after in [false, true] {
        for number in ["[\"1\"]", "[\"700\"]"] {
            let mut it = Fixture::with(|builder| {
                let args = number;
                let panics = Panics { args, after };
                builder.queue("default", 2).client_middleware(panics)
            })
            .await;
            let jobs = || (0..1000).map(|number: u32| Note::new(number.to_string()));
            let bulk = AssertUnwindSafe(it.verk.client().enqueue_all(jobs()));
            bulk.catch_unwind().await.unwrap_err();
            let stored = it.queued("default").await.len();

            // Nothing of verk is left wrong: others are stored and run.
            let others = jobs().filter(|job| !["1", "700"].contains(&&*job.text));
            let others = it.verk.client().enqueue_all(others).await.unwrap();
            assert_eq!(others.len(), 998);
            it.verk.start().unwrap();
            it.wait_for_finished(stored + 998).await;
            it.verk.shutdown().await;
            it.assert_empty().await;
        }
    }
}

#[verk::worker(max_retry_count = 0)]
async fn passes_on(text: String, ctx: JobContext) -> Result<(), EnqueueError> {
    ctx.client().enqueue(Note::new(text)).await?;
    Ok(())
}

#[tokio::test]
async fn a_panic_of_a_middleware_in_a_worker_is_a_failure_of_that_job() {
    let mut it = Fixture::with(|builder| {
        let panics = Panics {
            args: "[\"no\"]",
            after: true,
        };
        builder.queue("default", 1).client_middleware(panics)
    })
    .await;
    for text in ["no", "no", "yes"] {
        it.verk.enqueue(PassesOn::new(text)).await.unwrap();
    }
    it.verk.start().unwrap();
    // One passes on, and of the notes all are stored.
    it.wait_for_finished(4).await;
    it.verk.shutdown().await;
    let dead = it.set(JobSet::Dead).await;
    assert_eq!(dead.len(), 2);
    assert_eq!(dead[0].error_class().as_deref(), Some("Panic"));
    it.assert_signed_off().await;
}
