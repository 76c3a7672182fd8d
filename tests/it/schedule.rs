//! Due jobs: when they start, and which node moves them.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use verk::{
    Job, QueueName, Verk,
    names::NodeId,
    prelude::*,
    redis::RedisStorage,
    storage::{Due, DueStore, JobSet, JobStore, Lease, Page, Source, Storage, WaitingStore},
    time::Clock,
};
use verk_testing::{
    CuttingProxy, MemoryStorage, RedisCommand, RedisServer, VirtualClock,
    conformance::{Harness as _, ScoredJob},
    within,
};

use crate::support::{Fixture, Log, PATIENCE, States, queue_name, until};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

#[verk::worker]
async fn punctual(number: u32, State(log): State<Log>) {
    log.push(number.to_string());
}

/// Whether a node has the lease now.
async fn lease_is_held(storage: &dyn Storage) -> bool {
    let nobody = NodeId::from("nobody");
    let poll = storage.poll_schedule(&nobody, Duration::ZERO).await;
    poll.unwrap().lease != Lease::Granted
}

#[tokio::test]
async fn a_node_without_the_lease_moves_what_it_stored_itself() {
    let clock = VirtualClock::new();
    let storage = MemoryStorage::new(Arc::new(clock.clone()));
    let start = clock.instant();
    // The holder of the lease polls twice an hour.
    let other = NodeId::from("other");
    storage.poll_schedule(&other, HOUR).await.unwrap();
    let mut it = Fixture::on_clock(storage, clock, |builder| {
        builder.queue("default", 1).poll_interval(HOUR)
    })
    .await;
    it.verk.start().unwrap();
    // Sooner than anything else wakes.
    for seconds in [3, 4] {
        let job = Punctual::new(seconds).schedule_in(Duration::from_secs(seconds.into()));
        it.verk.enqueue(job).await.unwrap();
    }
    for seconds in [3, 4] {
        it.sleep_until(start + Duration::from_secs(seconds)).await;
        it.wait_for_finished(1).await;
    }
    assert_eq!(it.log.entries(), ["3", "4"]);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_lease_that_nobody_renews_delays_jobs_by_poll_interval_at_most() {
    let clock = VirtualClock::new();
    let storage = MemoryStorage::new(Arc::new(clock.clone()));
    let start = clock.instant();
    let dead = NodeId::from("dead");
    storage.poll_schedule(&dead, 4 * SECOND).await.unwrap();
    // Another program stored a job that is due.
    let due = Due {
        at: clock.now(),
        job: payload("default", 1),
    };
    storage.schedule(&[due]).await.unwrap();
    let mut it = Fixture::on_clock(storage, clock, |builder| {
        builder.queue("default", 1).poll_interval(4 * SECOND)
    })
    .await;
    it.verk.start().unwrap();
    until(|| it.clock.next_deadline() == Some(start + 4 * SECOND)).await;
    assert_eq!(it.set(JobSet::Schedule).await.len(), 1, "left to the other");
    it.clock.advance_to(start + 4 * SECOND);
    it.wait_for_finished(1).await;
    assert!(lease_is_held(&it.storage).await);
    it.verk.shutdown().await;
    assert!(!lease_is_held(&it.storage).await, "it is given back");
}

/// Puts jobs into the dead set that died just now, as a program might that does not cut it.
async fn bury(storage: &MemoryStorage, clock: &VirtualClock, numbers: Range<u32>) {
    let died = clock
        .now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    for number in numbers {
        let member = ScoredJob {
            score: died,
            job: payload("default", number),
        };
        storage.add_member(JobSet::Dead, member).await;
    }
}

/// No job has to die for it.
#[tokio::test]
async fn the_node_with_the_lease_cuts_the_dead_set_every_minute() {
    let clock = VirtualClock::new();
    let storage = MemoryStorage::new(Arc::new(clock.clone()));
    bury(&storage, &clock, 0..2_500).await;
    let it = Fixture::on_clock(storage, clock, |builder| {
        builder
            .queue("default", 1)
            .max_dead_jobs(100)
            .dead_timeout(24 * HOUR)
            .poll_interval(HOUR)
    })
    .await;
    it.verk.start().unwrap();
    let cut_to = async |expected| {
        within(PATIENCE, async {
            while it.set_len(JobSet::Dead).await != expected {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    cut_to(100).await;
    bury(&it.storage, &it.clock, 2_500..4_000).await;
    // It polls when its sleep is over; by then a minute has passed.
    it.advance(HOUR);
    cut_to(100).await;
    it.verk.shutdown().await;
}

fn payload(queue: &str, number: u32) -> Bytes {
    let job = Job::new("Punctual", queue_name(queue), format!("[{number}]"));
    job.unwrap().encode()
}

/// What nodes send to move jobs.
#[derive(Debug, Default)]
struct Calls {
    /// How many jobs each call of the script `move` had.
    promoted: Vec<usize>,
    /// The first of them.
    first: Option<RedisCommand>,
}

/// A proxy that counts.
fn counting(redis: &RedisServer) -> (CuttingProxy, Arc<Mutex<Calls>>) {
    let proxy = CuttingProxy::start(redis);
    let calls = Arc::new(Mutex::new(Calls::default()));
    let counts = Arc::clone(&calls);
    proxy.lose_request(move |command| {
        if let Some(jobs) = promoted(command) {
            let mut counts = counts.lock().unwrap();
            // Another test of this process may have loaded the script to another server: then this
            // one does not know it, and is asked again.
            if counts.first.as_ref() != Some(command) {
                counts.first.get_or_insert_with(|| command.clone());
                counts.promoted.push(jobs);
            }
        }
        false
    });
    (proxy, calls)
}

/// How many due jobs a call of the script `move` has: five arguments each, after the kind and the
/// time.
fn promoted(command: &RedisCommand) -> Option<usize> {
    let args = command.args();
    let keys: usize = std::str::from_utf8(args.get(2)?).ok()?.parse().ok()?;
    let is_move =
        command.name() == "EVALSHA" && args.get(3)? == "schedule" && args.get(4)? == "dead";
    is_move.then(|| (args.len() - 5 - keys) / 5)
}

async fn schedule(server: &RedisServer, queue: &str, count: u32) -> RedisStorage {
    let storage = RedisStorage::connect(server.url()).await.unwrap();
    let start = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let numbers: Vec<u32> = (0..count).collect();
    for numbers in numbers.chunks(1_000) {
        let due = numbers.iter().map(|number| Due {
            at: start + Duration::from_millis((*number).into()),
            job: payload(queue, *number),
        });
        storage.schedule(&due.collect::<Vec<_>>()).await.unwrap();
    }
    storage
}

/// The arguments of all jobs of a queue, in order.
async fn numbers(storage: &RedisStorage, queue: &QueueName) -> Vec<u32> {
    let mut numbers = Vec::new();
    loop {
        let page = Page {
            offset: numbers.len(),
            limit: 1_000,
        };
        let jobs = storage
            .list(&Source::Queue(queue.clone()), &page.into())
            .await
            .unwrap()
            .jobs;
        if jobs.is_empty() {
            return numbers;
        }
        numbers.extend(jobs.into_iter().map(|waiting| {
            let job = Job::decode(waiting.job).unwrap();
            let number = job.args().trim_matches(['[', ']']);
            number.parse::<u32>().unwrap()
        }));
    }
}

async fn wait_until_moved(storage: &RedisStorage) {
    let moved = async {
        let clock: &dyn Clock = &verk::time::SystemClock;
        while storage.len(&Source::Set(JobSet::Schedule)).await.unwrap() > 0 {
            clock.sleep(Duration::from_millis(20)).await;
        }
    };
    within(PATIENCE * 20, moved).await;
}

/// Moves them while another queue runs; prints what it took.
async fn move_many(count: u32) {
    let redis = RedisServer::builder()
        .setting("slowlog-log-slower-than", "1000")
        .setting("slowlog-max-len", "100000")
        .start();
    let storage = schedule(&redis, "bulk", count).await;
    redis.command(&["SLOWLOG", "RESET"]);
    redis.command(&["CONFIG", "RESETSTAT"]);
    let (proxy, calls) = counting(&redis);
    let states = States::new();
    let builder = Verk::builder().redis(proxy.url()).queue("default", 5);
    let verk = states.give(builder).build().await.unwrap();
    let clock = verk::time::SystemClock;
    let start = clock.instant();
    verk.start().unwrap();
    let stop = AtomicBool::new(false);
    let enqueue = async {
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            verk.enqueue(Punctual::new(number)).await.unwrap();
            number += 1;
            until(|| states.log.entries().len() >= number as usize).await;
        }
        number
    };
    let moved = async {
        wait_until_moved(&storage).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (ran, ()) = tokio::join!(enqueue, moved);
    let took = clock.instant() - start;
    verk.shutdown().await;

    let slow = redis
        .command(&["SLOWLOG", "GET", "-1"])
        .into_array()
        .unwrap();
    let slowest = slow
        .into_iter()
        .filter_map(|entry| entry.into_array()?.get(2)?.as_integer())
        .max();
    let stats = redis.info("commandstats");
    let scripts = stats
        .lines()
        .find(|line| line.starts_with("cmdstat_evalsha"));
    println!(
        "{count} moved in {took:?} beside {ran} other jobs; slowest step in us over 1000: {slowest:?}; {scripts:?}"
    );

    let queue = queue_name("bulk");
    assert_eq!(
        numbers(&storage, &queue).await,
        (0..count).collect::<Vec<_>>()
    );
    let promoted = &calls.lock().unwrap().promoted;
    assert!(promoted.iter().all(|jobs| *jobs <= 100));
    assert_eq!(
        promoted.iter().sum::<usize>(),
        count as usize,
        "each was sent once"
    );
    assert_eq!(promoted.len(), (count as usize).div_ceil(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn very_many_due_jobs_are_moved_in_order_in_small_steps() {
    move_many(20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute"]
async fn a_million_due_jobs_are_moved_in_order_in_small_steps() {
    move_many(1_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_both_have_the_lease_move_each_job_once() {
    let redis = RedisServer::start();
    let storage = schedule(&redis, "bulk", 10_000).await;
    // What nobody can read, everybody has.
    redis.command(&["LPUSH", "verk:schedule_manager", "x"]);
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let builder = Verk::builder().redis(redis.url()).queue("default", 1);
        nodes.push(States::new().give(builder).build().await.unwrap());
    }
    for verk in &nodes {
        verk.start().unwrap();
    }
    wait_until_moved(&storage).await;
    let mut moved = numbers(&storage, &queue_name("bulk")).await;
    moved.sort_unstable();
    assert_eq!(moved, (0..10_000).collect::<Vec<_>>());
    for verk in nodes {
        verk.shutdown().await;
    }
}

#[test]
fn a_node_that_is_killed_with_the_lease_is_followed_by_another() {
    let redis = RedisServer::start();
    let node = || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let verk = runtime.block_on(async {
            let builder = Verk::builder()
                .redis(redis.url())
                .queue("default", 1)
                .poll_interval(SECOND / 2);
            let states = States::new();
            let verk = states.give(builder).build().await.unwrap();
            verk.start().unwrap();
            (verk, states.log)
        });
        (runtime, verk)
    };
    let (first, _verk) = node();
    let storage = first.block_on(RedisStorage::connect(redis.url())).unwrap();
    first.block_on(async {
        within(PATIENCE, async {
            while !lease_is_held(&storage).await {
                tokio::task::yield_now().await;
            }
        })
        .await;
    });
    drop(storage);
    let holder = redis.command(&["GET", "verk:schedule_manager"]);
    let (second, (verk, log)) = node();
    first.shutdown_background();
    second.block_on(async {
        let storage = schedule(&redis, "default", 10).await;
        wait_until_moved(&storage).await;
        until(|| log.entries().len() == 10).await;
        assert!(lease_is_held(&storage).await);
        assert_ne!(redis.command(&["GET", "verk:schedule_manager"]), holder);
        verk.shutdown().await;
    });
}
