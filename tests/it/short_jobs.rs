//! Jobs that end within a round trip run in a row, one after the other in one task: only as long as
//! none of them waits, and not for long.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::ensure;
use tracing::{Subscriber, span};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};
use verk::{EventKind, events::Events, prelude::*, storage::Source};
use verk_testing::{CuttingProxy, RedisServer, within};

use crate::support::{
    Fixture, Gate, Log, PATIENCE, SlowClock, States, Thread, queue_name, until, wait_for,
};

/// How many jobs a row may have.
const CONCURRENCY: usize = 10;
const JOBS: u32 = 300;
/// How many of them, the last, are not short where that matters.
const LONG: u32 = 20;

/// Notes which task it runs in, and then does what its number says.
#[verk::worker]
async fn in_a_row(
    number: u32,
    does: String,
    State(log): State<Log>,
    State(gate): State<Gate>,
) -> anyhow::Result<()> {
    log.push(tokio::task::id().to_string());
    match does.as_str() {
        // Each waits for one that comes later.
        "pairs" if number.is_multiple_of(2) => gate.pass().await,
        "pairs" => gate.open_once(),
        "panics" => assert!(!number.is_multiple_of(3), "every third"),
        "fails" => ensure!(!number.is_multiple_of(3), "every third"),
        // Longer than a row lasts, less than a trip.
        "blocks" => thread::sleep(Duration::from_millis(1)),
        // That is not short: the first of them run among those that are.
        "enqueues" if number >= JOBS - LONG => {
            InARow::new(number, "").queue("others").enqueue().await?;
            tokio::task::yield_now().await;
            InARow::new(number, "").queue("others").enqueue().await?;
        }
        _ => {}
    }
    Ok(())
}

/// The results of jobs that a node had behind a slow network.
struct Ran {
    /// The tasks that the jobs ran in.
    tasks: HashSet<String>,
    succeeded: u32,
    failed: u32,
    /// How many jobs the queue `others` has.
    others: usize,
}

async fn run(does: &str) -> Ran {
    let redis = RedisServer::start();
    let proxy = CuttingProxy::start(&redis);
    let states = States::new();
    let builder = Verk::builder()
        .redis(proxy.url())
        .clock(SlowClock::new())
        .queue("default", CONCURRENCY)
        .shutdown_timeout(Duration::ZERO);
    let verk = states.give(builder).build().await.unwrap();
    let jobs = (0..JOBS).map(|number| InARow::new(number, does));
    verk.client().enqueue_all(jobs).await.unwrap();
    proxy.set_delay(Duration::from_millis(10));

    let mut events = verk.events();
    verk.start().unwrap();
    let (mut succeeded, mut failed) = (0, 0);
    while succeeded + failed < JOBS {
        let event = wait_for(&mut events, Some).await;
        succeeded += u32::from(matches!(event.what, EventKind::JobFinished { .. }));
        failed += u32::from(matches!(event.what, EventKind::JobFailed { .. }));
    }
    let others = Source::Queue(queue_name("others"));
    let others = verk.storage().len(&others).await;
    verk.shutdown().await;
    Ran {
        tasks: states.log.entries().into_iter().collect(),
        succeeded,
        failed,
        others: others.unwrap(),
    }
}

#[tokio::test]
async fn several_share_a_task() {
    let ran = run("nothing").await;
    assert_eq!((ran.succeeded, ran.failed), (JOBS, 0));
    assert!(ran.tasks.len() < JOBS as usize, "{} tasks", ran.tasks.len());
}

/// How many short jobs run, and which of them keeps its thread.
const MANY: u32 = 2_000;
const KEEPS: u32 = 1_000;

/// Ends at once, but for one, which keeps its thread until the test is done with it.
#[verk::worker]
async fn one_keeps_its_thread(number: u32, State(thread): State<Thread>) {
    if number == KEEPS {
        thread.keep();
    }
}

/// A node that runs many short jobs, one of which keeps its thread.
async fn with_a_kept_thread() -> (Verk, Events, RedisServer, Thread) {
    let redis = RedisServer::start();
    let states = States::new();
    let builder = Verk::builder()
        .redis(redis.url())
        .clock(SlowClock::new())
        .queue("default", CONCURRENCY);
    let verk = states.give(builder).build().await.unwrap();
    let jobs = (0..MANY).map(OneKeepsItsThread::new);
    verk.client().enqueue_all(jobs).await.unwrap();
    let events = verk.events();
    verk.start().unwrap();
    (verk, events, redis, states.thread)
}

async fn finished(events: &mut Events, count: u32) {
    for _ in 0..count {
        wait_for(events, |event| {
            matches!(event.what, EventKind::JobFinished { .. }).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_keeps_its_thread_holds_up_no_other() {
    let (verk, mut events, redis, thread) = with_a_kept_thread().await;
    let _release = thread.release_on_drop();
    // The outcomes of all others are stored meanwhile.
    finished(&mut events, MANY - 1).await;
    assert!(thread.is_kept());
    let verk = Arc::new(verk);
    let shutdown = {
        let verk = Arc::clone(&verk);
        tokio::spawn(async move { verk.shutdown().await })
    };
    // The others are settled, and the list has only the job that runs.
    let held = || {
        let keys = redis.command(&["KEYS", "inprogress:default:*"]);
        let key = keys.into_array().unwrap().remove(0).into_bytes().unwrap();
        let key = std::str::from_utf8(&key).unwrap().to_owned();
        redis.command(&["LLEN", &key]).as_integer()
    };
    until(|| held() == Some(1)).await;
    thread.release();
    within(PATIENCE, shutdown).await.unwrap();
    assert!(
        redis
            .command(&["KEYS", "inprogress:*"])
            .into_array()
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_arrives_alone_may_keep_its_thread() {
    let (redis, states) = (RedisServer::start(), States::new());
    let _release = states.thread.release_on_drop();
    let builder = Verk::builder()
        .redis(redis.url())
        .clock(SlowClock::new())
        .queue("default", CONCURRENCY);
    let verk = states.give(builder).build().await.unwrap();
    let short = (0..KEEPS).map(OneKeepsItsThread::new);
    verk.client().enqueue_all(short).await.unwrap();
    let mut events = verk.events();
    verk.start().unwrap();
    finished(&mut events, KEEPS).await;
    // The queue waits for it, and would fetch again once it has ended.
    let client = verk.client();
    client.enqueue(OneKeepsItsThread::new(KEEPS)).await.unwrap();
    until(|| states.thread.is_kept()).await;
    client.enqueue(OneKeepsItsThread::new(0)).await.unwrap();
    finished(&mut events, 1).await;
    assert!(states.thread.is_kept());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_job_of_a_class_may_keep_its_thread() {
    let (redis, states) = (RedisServer::start(), States::new());
    let _release = states.thread.release_on_drop();
    let builder = Verk::builder()
        .redis(redis.url())
        .queue("default", 1)
        .queue("others", 1);
    let verk = states.give(builder).build().await.unwrap();
    verk.start().unwrap();
    let mut events = verk.events();
    verk.client()
        .enqueue(OneKeepsItsThread::new(KEEPS))
        .await
        .unwrap();
    until(|| states.thread.is_kept()).await;
    // Another process enqueues, so nothing in this one wakes a thread.
    let job = r#"{"class":"OneKeepsItsThread","args":[0],"jid":"0","queue":"others"}"#;
    redis.command(&["LPUSH", "queue:others", job]);
    finished(&mut events, 1).await;
    assert!(states.thread.is_kept());
    states.thread.release();
    within(PATIENCE, verk.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn after_a_job_that_kept_the_only_thread_the_others_run() {
    let (verk, mut events, _redis, thread) = with_a_kept_thread().await;
    // The test has a thread of its own, and no timer and no event wakes it meanwhile.
    while !thread.is_kept() {
        thread::yield_now();
    }
    thread.release();
    finished(&mut events, MANY).await;
    within(PATIENCE, verk.shutdown()).await;
}

#[tokio::test]
async fn one_that_waits_lets_the_others_run() {
    let ran = run("pairs").await;
    assert_eq!((ran.succeeded, ran.failed), (JOBS, 0));
}

#[tokio::test]
async fn a_failure_is_that_of_one_job() {
    for does in ["panics", "fails"] {
        let ran = run(does).await;
        assert_eq!((ran.succeeded, ran.failed), (JOBS / 3 * 2, JOBS / 3));
    }
}

/// Panics when this many runs have ended.
struct Fragile(AtomicU32);

impl<S: Subscriber> Layer<S> for Fragile {
    fn on_close(&self, _: span::Id, _: Context<'_, S>) {
        assert_ne!(self.0.fetch_sub(1, Ordering::Relaxed), 1, "fragile");
    }
}

#[tokio::test]
async fn a_subscriber_that_panics_when_a_run_ends_costs_no_job() {
    // In the midst of a row.
    let fragile = Fragile(AtomicU32::new(JOBS / 2 + 5));
    let _guard = tracing_subscriber::registry().with(fragile).set_default();
    let ran = run("nothing").await;
    assert_eq!((ran.succeeded, ran.failed), (JOBS, 0));
}

#[tokio::test]
async fn a_row_ends_when_its_time_is_up() {
    let ran = run("blocks").await;
    assert_eq!(ran.tasks.len(), JOBS as usize);
}

#[tokio::test]
async fn each_finds_its_own_verk() {
    // The first that is built is the one of who has none.
    let other = Fixture::new().await;
    let ran = run("enqueues").await;
    assert_eq!((ran.succeeded, ran.failed), (JOBS, 0));
    assert_eq!(ran.others, 2 * LONG as usize);
    other.assert_no_jobs().await;
}
