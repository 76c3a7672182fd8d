//! What verk promises to tests: `TestVerk`, and crash points.
//!
//! A binary of its own: not every worker in here has its state, and two have one class, which only
//! a `TestVerk` lets pass.

mod assertions;
mod crash;
mod debounce;
mod hanging;
mod isolation;
#[cfg(feature = "cron")]
mod periodic;
mod unique;

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use futures_util::FutureExt;
use verk::{
    BoxError, EnqueueError, Job,
    middleware::{ClientMiddleware, ClientNext, Enqueued, Next, ServerMiddleware},
    outcome::{PerformError, backoff},
    prelude::*,
};
use verk_testing::TestVerk;

/// What the workers of one test tell it.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn push(&self, entry: impl Into<String>) {
        self.0.lock().unwrap().push(entry.into());
    }

    fn entries(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Virtual time stands still.
fn at_once(failed_at: SystemTime, _retry_count: u32) -> SystemTime {
    failed_at
}

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[verk::worker(queue = "mailers")]
async fn greet(name: String, State(log): State<Log>) {
    log.push(name);
}

#[verk::worker]
async fn always_fails(State(log): State<Log>, ctx: JobContext) -> Result<(), String> {
    log.push(format!("attempt {}", ctx.attempt()));
    Err("no".into())
}

#[verk::worker(retry_at = at_once, max_retry_count = 2)]
async fn fails_at_once() -> Result<(), String> {
    Err("no".into())
}

/// Enqueues the one below it, down to 0.
#[verk::worker]
async fn countdown(number: u32, State(log): State<Log>) -> Result<(), EnqueueError> {
    if number > 0 {
        Countdown::enqueue(number - 1).await?;
    }
    log.push(number.to_string());
    Ok(())
}

/// Enqueues from a task of its own, which has no current job, and waits for it.
#[verk::worker]
async fn spawns(State(log): State<Log>) -> Result<(), EnqueueError> {
    let spawned = tokio::spawn(async { Greet::enqueue("spawned").await });
    spawned.await.unwrap()?;
    log.push("spawns");
    Ok(())
}

#[verk::worker]
async fn sleeps(seconds: u64, State(log): State<Log>, ctx: JobContext) {
    ctx.sleep(Duration::from_secs(seconds)).await;
    log.push(format!("slept {seconds}"));
}

#[verk::worker(timeout = "5s", max_retry_count = 0)]
async fn sleeps_too_long(ctx: JobContext) {
    ctx.sleep(HOUR).await;
}

#[verk::worker]
async fn hangs(_name: String) {
    std::future::pending::<()>().await;
}

#[verk::worker]
async fn outcomes(answer: String) -> Result<Outcome, String> {
    match answer.as_str() {
        "snooze" => Ok(Outcome::Snooze(HOUR)),
        "discard" => Ok(Outcome::Discard("not needed".into())),
        "kill" => Ok(Outcome::Kill("hopeless".into())),
        _ => Ok(Outcome::Done),
    }
}

/// Never given to any builder.
#[derive(Clone)]
struct Forgotten;

#[verk::worker]
async fn needs_the_forgotten(_forgotten: State<Forgotten>) {}

fn with_log() -> (TestVerk, Log) {
    let log = Log::default();
    (TestVerk::builder().state(log.clone()).build(), log)
}

async fn panic_message(work: impl Future) -> String {
    let result = AssertUnwindSafe(work).catch_unwind().await;
    let panic = result.err().expect("it panics");
    panic.downcast_ref::<String>().unwrap().clone()
}

#[tokio::test]
async fn jobs_are_collected_until_they_are_drained() {
    let (verk, log) = with_log();
    for name in ["ada", "bob", "eve"] {
        Greet::enqueue(name).await.unwrap();
    }
    tokio::task::yield_now().await;
    verk.assert_enqueued(|job: &Greet| job.name == "bob");
    assert_eq!(log.entries().len(), 0);

    let done = verk.drain().await;
    assert_eq!((done.succeeded, done.ended()), (3, 3));
    assert_eq!(log.entries(), ["ada", "bob", "eve"]);
    verk.refute_enqueued(|_: &Greet| true);

    Greet::enqueue("zoe").await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(
        verk.all_enqueued::<Greet>().len(),
        1,
        "the gate is closed again"
    );
    assert_eq!(verk.drain().await.succeeded, 1);
    assert_eq!(verk.totals().succeeded, 4);
}

#[tokio::test]
async fn a_drain_runs_what_its_jobs_enqueue_and_what_is_due() {
    let (verk, log) = with_log();
    Countdown::enqueue(3u32).await.unwrap();
    FailsAtOnce::enqueue().await.unwrap();
    let done = verk.drain().await;
    assert_eq!(done.succeeded, 4);
    assert_eq!((done.failed, done.retried, done.dead), (3, 2, 1));
    assert_eq!(done.errors, ["FailsAtOnce: no"; 3]);
    assert_eq!(log.entries(), ["3", "2", "1", "0"]);
    assert_eq!(verk.all_dead::<FailsAtOnce>().len(), 1);
}

#[tokio::test]
async fn one_job_is_performed_at_a_time_the_oldest_first() {
    let (verk, log) = with_log();
    assert_eq!(verk.perform_one().await.ended(), 0);
    Countdown::enqueue(1u32).await.unwrap();
    verk.advance(Duration::ZERO).await;
    Greet::new("later")
        .schedule_in(HOUR)
        .enqueue()
        .await
        .unwrap();
    Countdown::enqueue(2u32).await.unwrap();
    assert_eq!(verk.perform_one().await.succeeded, 1);
    assert_eq!(verk.all_enqueued::<Countdown>().len(), 1);
    assert_eq!(verk.perform_one().await.succeeded, 1);
    assert_eq!(log.entries(), ["1", "0", "2", "1"]);
}

#[tokio::test]
async fn three_weeks_of_retries_pass_at_once() {
    let (verk, log) = with_log();
    AlwaysFails::enqueue().await.unwrap();
    let started = verk.verk().client().clock().now();

    let mut done = verk.drain().await;
    assert_eq!((done.failed, done.retried), (1, 1));
    assert_eq!(verk.all_retrying::<AlwaysFails>().len(), 1);
    // The first retry is due no earlier than its backoff without the random part.
    done = verk.advance(backoff(1, 0) - Duration::from_secs(1)).await;
    assert_eq!(done.ended(), 0);

    done = verk.advance(60 * DAY).await;
    assert_eq!((done.failed, done.retried, done.dead), (25, 24, 1));
    let expected: Vec<String> = (1..=26).map(|n| format!("attempt {n}")).collect();
    assert_eq!(log.entries(), expected);
    assert_eq!(verk.all_dead::<AlwaysFails>().len(), 1);
    let passed = verk.verk().client().clock().now().duration_since(started);
    assert_eq!(
        passed.unwrap(),
        60 * DAY + backoff(1, 0) - Duration::from_secs(1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scheduled_jobs_run_in_the_order_of_their_times() {
    let (verk, log) = with_log();
    for hours in [3, 1, 2, 48] {
        Greet::new(hours.to_string())
            .schedule_in(HOUR * hours)
            .enqueue()
            .await
            .unwrap();
    }
    verk.assert_scheduled(|job: &Greet| job.name == "48", 2 * DAY);
    let at: SystemTime = verk.client().clock().now() + HOUR;
    verk.assert_scheduled(|job: &Greet| job.name == "1", at);
    assert_eq!(verk.drain().await.ended(), 0, "time stands still");
    assert_eq!(
        verk.advance(HOUR - Duration::from_millis(1)).await.ended(),
        0
    );
    assert_eq!(verk.advance(Duration::from_millis(1)).await.succeeded, 1);
    assert_eq!(verk.advance(2 * HOUR).await.succeeded, 2);
    assert_eq!(log.entries(), ["1", "2", "3"]);
    assert_eq!(verk.all_scheduled::<Greet>().len(), 1);
}

#[tokio::test]
async fn inline_jobs_have_run_when_the_enqueue_returns() {
    let log = Log::default();
    let verk = TestVerk::builder().state(log.clone()).inline().build();
    Countdown::enqueue(3u32).await.unwrap();
    assert_eq!(log.entries().len(), 4);
    Spawns::enqueue().await.unwrap();
    assert_eq!(log.entries()[4..], ["spawned", "spawns"]);
    verk.client()
        .enqueue_all((0..250).map(|number| Greet::new(number.to_string())))
        .await
        .unwrap();
    assert_eq!(log.entries().len(), 256);
    AlwaysFails::enqueue().await.unwrap();
    assert_eq!(verk.totals().retried, 1, "retries wait for the time");
    assert_eq!(verk.advance(60 * DAY).await.dead, 1);
}

#[tokio::test]
async fn a_requeued_job_runs_like_one_that_was_enqueued() {
    let log = Log::default();
    let verk = TestVerk::builder().state(log.clone()).build();
    Greet::enqueue("ada").await.unwrap();
    let queue = verk.client().admin().queue("mailers").unwrap();
    assert_eq!(queue.select().class("Greet").kill().await.unwrap(), 1);
    assert_eq!(verk.drain().await.succeeded, 0);
    let dead = verk.client().admin().dead_set();
    assert_eq!(dead.select().requeue().await.unwrap(), 1);
    assert_eq!(verk.drain().await.succeeded, 1);
    assert_eq!(log.entries(), ["ada"]);
}

#[tokio::test]
async fn an_inline_job_has_run_when_the_requeue_returns() {
    let log = Log::default();
    let verk = TestVerk::builder().state(log.clone()).inline().build();
    Greet::new("ada").schedule_in(HOUR).enqueue().await.unwrap();
    assert_eq!(log.entries(), [""; 0]);
    let scheduled = verk.client().admin().scheduled_set();
    assert_eq!(scheduled.select().requeue().await.unwrap(), 1);
    assert_eq!(log.entries(), ["ada"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inline_jobs_of_many_tasks_have_run_too() {
    let log = Log::default();
    let _verk = TestVerk::builder().state(log.clone()).inline().build();
    let tasks = (0..50).map(|task| {
        let log = log.clone();
        tokio::spawn(async move {
            let name = format!("of task {task}");
            Greet::enqueue(&name).await.unwrap();
            assert!(log.entries().contains(&name));
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(log.entries().len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sleeping_jobs_wake_with_the_time() {
    let log = Log::default();
    let verk = TestVerk::builder()
        .state(log.clone())
        .concurrency(2)
        .build();
    Sleeps::enqueue(60u64).await.unwrap();
    Sleeps::enqueue(30u64).await.unwrap();
    SleepsTooLong::new().queue("aside").enqueue().await.unwrap();
    let done = verk.drain().await;
    assert_eq!((done.ended(), done.sleeping), (0, 3));

    let done = verk.advance(Duration::from_secs(59)).await;
    assert_eq!((done.succeeded, done.dead, done.sleeping), (1, 1, 1));
    assert!(done.errors[0].contains("timeout"), "{:?}", done.errors);
    assert_eq!(log.entries(), ["slept 30"]);
    assert_eq!(verk.advance(Duration::from_secs(1)).await.succeeded, 1);
}

#[tokio::test]
async fn every_outcome_is_counted() {
    let verk = TestVerk::new();
    for answer in ["snooze", "discard", "kill", "done"] {
        Outcomes::enqueue(answer).await.unwrap();
    }
    let done = verk.drain().await;
    assert_eq!((done.snoozed, done.discarded, done.succeeded), (1, 1, 1));
    assert_eq!((done.failed, done.dead), (1, 1));
    assert_eq!(done.errors, ["Outcomes: hopeless"]);
    let snoozed = verk.advance(3 * HOUR).await;
    assert_eq!(snoozed.snoozed, 3, "once an hour");
}

#[tokio::test]
async fn a_drain_that_takes_too_long_says_what_still_runs() {
    let verk = TestVerk::builder().deadline(Duration::from_secs(1)).build();
    Hangs::enqueue("a").await.unwrap();
    Hangs::enqueue("b").await.unwrap();
    let line = line!() + 1;
    let message = panic_message(verk.drain()).await;
    let here = format!("drain() at {}:{line}:", file!());
    assert!(message.starts_with(&here), "{message}");
    let still = "gave up after 1s of real time; still to be done:\n  runs: Hangs [\"a\"] in queue default\n  1 in queue default\n";
    assert!(message.contains(still), "{message}");
    let message = panic_message(verk.advance(DAY)).await;
    assert!(message.starts_with("advance() at "), "{message}");
}

#[tokio::test]
async fn state_is_asked_for_when_a_job_needs_it() {
    let verk = TestVerk::new();
    NeedsTheForgotten::enqueue().await.unwrap();
    let message = panic_message(verk.drain()).await;
    assert!(
        message.contains("worker NeedsTheForgotten (tests/testing/main.rs:")
            && message.contains("needs State<")
            && message.contains("add `.state(value)`"),
        "{message}"
    );
}

#[tokio::test]
async fn a_lost_reply_is_healed() {
    let (verk, log) = with_log();
    verk.storage()
        .faults()
        .lose_reply(verk_testing::Operation::Settle);
    Greet::enqueue("ada").await.unwrap();
    assert_eq!(verk.drain().await.succeeded, 1);
    assert_eq!(log.entries(), ["ada"]);
}

#[tokio::test]
async fn many_jobs_are_all_counted() {
    let log = Log::default();
    let verk = TestVerk::builder()
        .state(log.clone())
        .queue("mailers", 25)
        .deadline(Duration::from_secs(60))
        .build();
    let jobs = (0..10_000).map(|number| Greet::new(number.to_string()));
    verk.client().enqueue_all(jobs).await.unwrap();
    assert_eq!(verk.drain().await.succeeded, 10_000);
    assert_eq!(log.entries().len(), 10_000);
}

/// Notes each run and each job that passes.
struct Noting(Log);

impl ServerMiddleware for Noting {
    async fn call(&self, ctx: &JobContext, next: Next) -> Result<Outcome, PerformError> {
        self.0.push(format!(
            "runs {}",
            ctx.job().get("note").unwrap_or_default()
        ));
        next.run().await
    }
}

impl ClientMiddleware for Noting {
    async fn call(&self, job: &mut Job, next: ClientNext<'_>) -> Result<Enqueued, BoxError> {
        job.set("note", &7)?;
        Ok(next.run(job).await?)
    }
}

#[tokio::test]
async fn middleware_works_as_in_production() {
    let log = Log::default();
    let verk = TestVerk::builder()
        .state(log.clone())
        .client_middleware(Noting(log.clone()))
        .server_middleware(Noting(log.clone()))
        .build();
    Greet::enqueue("ada").await.unwrap();
    assert_eq!(verk.drain().await.succeeded, 1);
    assert_eq!(log.entries(), ["runs 7", "ada"]);
}

#[tokio::test]
async fn jobs_of_a_bulk_with_middleware_run_inline() {
    let log = Log::default();
    let verk = TestVerk::builder()
        .inline()
        .state(log.clone())
        .client_middleware(Noting(log.clone()))
        .build();
    let greetings = ["ada", "bob"].map(Greet::new);
    verk.client().enqueue_all(greetings).await.unwrap();
    let mut entries = log.entries();
    entries.sort();
    assert_eq!(entries, ["ada", "bob"]);
}
