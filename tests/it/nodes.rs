//! What nodes can rely on of each other. The rules of the protocol, and what shows each of them:
//!
//! | rule | tests |
//! |---|---|
//! | N1 an id for each registration; a configured name has one holder, and the next one takes over | `names` in verk-core; `build::a_node_id_has_one_holder`, `restore::what_an_earlier_holder_of_the_node_id_left_runs_again`; conformance `a_name_has_one_holder`, `a_beat_leaves_the_name_of_another` |
//! | N2 registered before the first fetch, and again with each; nothing is taken without the own heartbeat | conformance `register_lists_the_node`, `dequeue_registers_the_queue_of_the_node`, `an_unregistered_node_takes_nothing`, `a_dead_node_takes_nothing` |
//! | N3 heartbeats from a thread of their own; no fetch without one | [`a_worker_that_blocks_every_thread_does_not_stop_the_heartbeat`], [`nothing_is_fetched_while_heartbeats_are_not_acknowledged`], [`a_job_does_not_begin_in_a_process_that_stood_still`] |
//! | N4 dead after two looks by a node that is well | `node::judge` and `node::registration` in verk-core, [`nobody_is_judged_while_the_judge_itself_is_not_well`]; conformance `a_node_that_came_back_keeps_its_jobs` |
//! | N5 in order and in pages, watched until the lists stay empty; a node that was declared dead drains and takes a new id | `restore::a_dead_node_is_found_by_another_and_leaves_once_its_lists_stay_empty`, [`what_a_pending_fetch_brings_to_a_dead_node_is_restored`], `faults::a_node_that_was_declared_dead_goes_on_under_a_new_id`, [`lists_of_foreign_nodes_are_reported_and_not_touched`]; of a node that stops: `shutdown::what_does_not_finish_goes_back_to_the_front_in_order_and_uncounted` |
//! | N6 poison pills | [`poison`](crate::poison), `poison` in verk-core, conformance `poison` |

use std::{
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use verk::{
    Event, EventKind, State, Verk,
    health::Reason,
    names::NodeId,
    prelude::*,
    storage::NodeStore,
    time::{Clock, SystemClock},
};
use verk_testing::{MemoryStorage, RedisServer, conformance::Harness, within};

use crate::support::{
    Fixture, Gate, Log, Logged, PATIENCE, SLEEPERS, States, calls, until, wait_for,
};

/// The pause between two looks of a thread that waits, so that others run.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[verk::worker]
async fn present(State(log): State<Log>) {
    log.push("present");
}

/// Keeps the thread that it runs on.
#[verk::worker]
async fn seizing(State(gate): State<Gate>) {
    while !gate.try_pass() {
        thread::sleep(LOOK_AGAIN);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_that_blocks_every_thread_does_not_stop_the_heartbeat() {
    let mut it = Fixture::in_real_time(|builder| {
        builder
            .queue("default", 1)
            .heartbeat(Duration::from_secs(3))
    })
    .await;
    it.verk.enqueue(Seizing::new()).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_started(1).await;
    // The one thread of the runtime is taken; this test has its own. Each heartbeat renews the time
    // to live.
    let node = it.storage.nodes().await.unwrap().remove(0).id;
    let until = SystemClock.instant() + PATIENCE;
    let (mut beats, mut before) = (0, Duration::MAX);
    while beats < 3 && SystemClock.instant() < until {
        let ttl = Harness::heartbeat_ttl(&it.storage, &node).await;
        let ttl = ttl.unwrap_or_default();
        beats += u32::from(ttl > before);
        before = ttl;
        thread::sleep(LOOK_AGAIN);
    }
    it.gate.open();
    assert_eq!(beats, 3);
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    it.assert_empty().await;
}

/// Waits for a job, and from now on none of its heartbeats is acknowledged.
async fn waiting_without_heartbeats(heartbeat: Duration) -> Fixture {
    let it = Fixture::with(|builder| builder.queue("default", 1).heartbeat(heartbeat)).await;
    it.verk.start().unwrap();
    it.storage.wait_for_dequeues(1).await;
    it.storage.faults().set_losing_heartbeats(true);
    it
}

#[tokio::test]
async fn nothing_is_fetched_while_heartbeats_are_not_acknowledged() {
    let heartbeat = Duration::from_secs(10);
    let mut it = waiting_without_heartbeats(heartbeat).await;
    // The heartbeat is older than it may be, and still there. The fetch that waited is over.
    it.advance(heartbeat + Duration::from_secs(1));
    it.verk.enqueue(Present::new()).await.unwrap();
    within(PATIENCE, it.clock.wait_for_sleepers(SLEEPERS)).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    it.storage.faults().set_losing_heartbeats(false);
    let acknowledged = it.clock.now() + Duration::from_secs(5);
    it.advance(Duration::from_secs(5));
    let started = it.wait_for(|event| match event {
        Event {
            what: EventKind::JobStarted,
            at: started_at,
            ..
        } => Some(started_at),
        _ => None,
    });
    let started: SystemTime = started.await;
    assert!(started >= acknowledged);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_job_does_not_begin_in_a_process_that_stood_still() {
    let heartbeat = Duration::from_secs(10);
    let mut it = waiting_without_heartbeats(heartbeat).await;
    // Published before the task of the run has its first turn: this one has it earlier.
    let (mut events, clock) = (it.verk.events(), it.clock.clone());
    let stands_still = tokio::spawn(async move {
        let started = |event: Event| matches!(event.what, EventKind::JobStarted).then_some(());
        wait_for(&mut events, started).await;
        clock.advance(heartbeat + Duration::from_secs(1));
    });
    it.verk.enqueue(Present::new()).await.unwrap();
    it.wait_for(|event| matches!(event.what, EventKind::JobHandedBack).then_some(()))
        .await;
    stands_still.await.unwrap();
    assert!(it.log.entries().is_empty());

    within(PATIENCE, it.clock.wait_for_sleepers(SLEEPERS)).await;
    it.storage.faults().set_losing_heartbeats(false);
    it.advance(Duration::from_secs(5));
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn nobody_is_judged_while_the_judge_itself_is_not_well() {
    let heartbeat = Duration::from_secs(9);
    let it = Fixture::with(|builder| builder.queue("default", 1).heartbeat(heartbeat)).await;
    let other = NodeId::register("other").unwrap();
    it.storage
        .register(&other, &[], Duration::from_secs(1), &Default::default())
        .await
        .unwrap();
    it.verk.start().unwrap();
    let loses = |it: &Fixture| {
        let mut reasons = it.verk.health().reasons.into_iter();
        reasons.any(
            |reason| matches!(reason, Reason::StorageFailing { part, .. } if part == "heartbeat"),
        )
    };
    let step = async |it: &Fixture, losing: bool| {
        it.storage.faults().set_losing_heartbeats(losing);
        // The queue waits for a job as well.
        within(PATIENCE, it.clock.wait_for_sleepers(SLEEPERS + 1)).await;
        it.advance(heartbeat / 3);
        let beaten = async {
            while loses(it) != losing {
                tokio::task::yield_now().await;
            }
        };
        within(PATIENCE, beaten).await;
    };
    // It fails now and then, and is acknowledged in between. For long, the other has been missing.
    for round in 0..40 {
        step(&it, round % 4 == 0).await;
    }
    assert_eq!(it.storage.nodes().await.unwrap().len(), 2);
    let alone = async {
        while it.storage.nodes().await.unwrap().len() > 1 {
            step(&it, false).await;
        }
    };
    within(PATIENCE, alone).await;
    it.verk.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pending_fetch_brings_to_a_dead_node_is_restored() {
    let redis = Arc::new(RedisServer::start());
    let exists = |key: &str| redis.command(&["EXISTS", key]).as_integer() == Some(1);

    // A node that died, of which the server still has a fetch in hand.
    let node = NodeId::register("worker-0").unwrap();
    redis.command(&["SADD", &format!("verk:node:{node}:queues"), "slow"]);
    redis.command(&["SADD", "verk_nodes", node.as_str()]);
    let inprogress = format!("inprogress:slow:{node}");
    let fetch = {
        let (redis, to) = (Arc::clone(&redis), inprogress.clone());
        let command = ["BLMOVE", "queue:slow", &to, "RIGHT", "LEFT", "60"].map(str::to_owned);
        tokio::task::spawn_blocking(move || redis.command(&command))
    };
    until(|| redis.info("clients").contains("blocked_clients:1\r\n")).await;

    let builder = Verk::builder()
        .redis(redis.url())
        .queue("default", 1)
        .node_id("worker-0".to_owned())
        .heartbeat(Duration::from_millis(500));
    let verk = States::new().give(builder).build().await.unwrap();
    verk.start().unwrap();
    // It has checked, found the list empty, and checked again: each check asks for the nodes, and
    // for the queues of both.
    until(|| calls(&redis, "smembers") >= 9).await;
    redis.command(&["LPUSH", "queue:slow", "late"]);
    within(PATIENCE, fetch).await.unwrap();
    until(|| exists("queue:slow")).await;
    assert!(!exists(&inprogress) && !exists("dead") && !exists("schedule"));
    until(|| redis.command(&["SCARD", "verk_nodes"]).as_integer() == Some(1)).await;
    verk.shutdown().await;
}

#[tokio::test]
async fn lists_of_foreign_nodes_are_reported_and_not_touched() {
    let redis = RedisServer::start();
    for number in 0..3_000 {
        // More keys than one part of a scan has.
        redis.command(&["SET", &format!("other:{number}"), ""]);
    }
    redis.command(&["RPUSH", "inprogress:a:b:elixir", "x", "y"]);
    let (logged, _guard) = Logged::capture();
    let builder = Verk::builder()
        .redis(redis.url())
        .queue("default", 1)
        .heartbeat(Duration::from_millis(500));
    let verk = States::new().give(builder).build().await.unwrap();
    verk.start().unwrap();
    let lists = verk.admin().foreign_lists().await.unwrap();
    let found: Vec<_> = lists.iter().map(|list| (&*list.key, list.jobs)).collect();
    assert_eq!(found, [("inprogress:a:b:elixir", 2)]);
    let warning = ["WARN", "inprogress:a:b:elixir", "jobs=2"];
    let warned = async {
        while logged.lines_with(&warning) == 0 {
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, warned).await;
    verk.shutdown().await;
    assert_eq!(logged.lines_with(&warning), 1, "once");
    let left = redis.command(&["LRANGE", "inprogress:a:b:elixir", "0", "-1"]);
    assert_eq!(left.into_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_program_that_only_enqueues_can_ask_for_foreign_lists() {
    let verk = Verk::builder()
        .storage(MemoryStorage::default())
        .build()
        .await
        .unwrap();
    assert_eq!(verk.admin().foreign_lists().await.unwrap(), []);
}
