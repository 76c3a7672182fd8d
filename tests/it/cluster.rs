//! Nodes in one slot of a cluster: the slot moves, its primary fails, or its migration is stuck.
//! And a node on cells, whose cluster grows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;
use verk::{
    Verk,
    cells::Cells,
    health::Reason,
    prelude::*,
    redis::{RedisConfig, RedisStorage},
};
use verk_testing::{RedisCluster, RedisServer, within};

use crate::support::{
    Gate, Log, PATIENCE, States, a_moment, calls, offset, queue_name, until_slowly, wait_for,
};

const PREFIX: &str = "{shop}";

#[verk::worker]
async fn slot_number(number: u32, State(log): State<Log>) {
    log.push(number.to_string());
}

#[verk::worker(timeout = "60s")]
async fn gated_number(number: u32, State(log): State<Log>, State(gate): State<Gate>) {
    gate.pass().await;
    log.push(number.to_string());
}

fn config(cluster: &RedisCluster) -> RedisConfig {
    RedisConfig::new(cluster.url())
        .prefix(PREFIX.to_owned())
        .connect_timeout(Duration::from_secs(20))
}

async fn start(config: RedisConfig, states: &States) -> Verk {
    let builder = Verk::builder()
        .redis(config)
        .queue("default", 10)
        .heartbeat(Duration::from_secs(5));
    let verk = states.give(builder).build().await.unwrap();
    verk.start().unwrap();
    verk
}

/// How often each number ran.
fn ran(states: &States) -> BTreeMap<u32, usize> {
    let mut ran = BTreeMap::new();
    for number in states.log.entries() {
        *ran.entry(number.parse().unwrap()).or_default() += 1;
    }
    ran
}

/// What is left in the slot besides statistics and what a live node has.
fn left(owner: &RedisServer) -> Vec<String> {
    let left = owner.command(&["KEYS", "*:default*"]);
    let left = left.into_array().unwrap().into_iter();
    let left = left.map(|key| String::from_utf8(key.into_bytes().unwrap().to_vec()).unwrap());
    left.filter(|key| !key.contains("stat:")).collect()
}

/// Enqueues 40 jobs, of which 15 run, and the others wait for the gate.
async fn run_15_of_40(verk: &Verk, states: &States) {
    let jobs = (0..40).map(GatedNumber::new);
    verk.client().enqueue_all(jobs).await.unwrap();
    let mut events = verk.events();
    for _ in 0..15 {
        states.gate.open_once();
    }
    while states.log.entries().len() < 15 {
        wait_for(&mut events, Some).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_job_runs_once_while_the_slot_moves_there_and_back() {
    let cluster = RedisCluster::builder().without_replicas().start();
    let states = States::new();
    let verk = start(config(&cluster), &states).await;
    let client = verk.client();
    let slot = cluster.slot_of(PREFIX);
    let (here, there) = (cluster.owner(slot), cluster.other_primary(slot));
    let mut enqueued = 0;
    for to in [there, here] {
        let migration = block_in_place(|| cluster.migrate(slot, to));
        // While some keys are at each server, and when all have moved.
        for step in 0..4 {
            if step == 2 {
                block_in_place(|| migration.move_keys());
            }
            let jobs = (enqueued..enqueued + 25).map(SlotNumber::new);
            client.enqueue_all(jobs).await.unwrap();
            enqueued += 25;
        }
        block_in_place(|| migration.finish());
        for _ in 0..50 {
            client.enqueue(SlotNumber::new(enqueued)).await.unwrap();
            enqueued += 1;
        }
        until_slowly(|| ran(&states).len() == enqueued as usize).await;
    }
    until_slowly(|| verk.health().ready).await;
    verk.shutdown().await;
    let ran = ran(&states);
    assert!(ran.values().all(|times| *times == 1), "{ran:?}");
    assert_eq!(left(cluster.owner(slot)), <[&str; 0]>::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_on_request_each_job_runs_once() {
    let cluster = RedisCluster::start();
    let states = States::new();
    let verk = start(config(&cluster), &states).await;
    let slot = cluster.slot_of(PREFIX);
    run_15_of_40(&verk, &states).await;
    block_in_place(|| cluster.fail_over(slot));
    verk.enqueue(GatedNumber::new(40)).await.unwrap();
    states.gate.open();
    until_slowly(|| ran(&states).len() == 41).await;
    until_slowly(|| verk.health().ready).await;
    verk.shutdown().await;
    let ran = ran(&states);
    assert!(ran.values().all(|times| *times == 1), "{ran:?}");
    assert_eq!(left(cluster.owner(slot)), <[&str; 0]>::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_primary_was_killed_all_jobs_run() {
    let cluster = RedisCluster::builder()
        .setting("cluster-node-timeout", "2000")
        .start();
    let states = States::new();
    let verk = start(config(&cluster), &states).await;
    let slot = cluster.slot_of(PREFIX);
    run_15_of_40(&verk, &states).await;
    let (old, replica) = (cluster.owner(slot), cluster.replica(slot));
    // Writes that no replica has are lost with the primary, for every client: not here.
    let written = offset(old);
    until_slowly(|| offset(replica) >= written).await;

    old.stop();
    within(PATIENCE, async {
        while verk.enqueue(GatedNumber::new(40)).await.is_err() {
            a_moment().await;
        }
    })
    .await;
    assert_eq!(cluster.owner(slot).port(), replica.port());
    states.gate.open();
    until_slowly(|| ran(&states).len() == 41).await;
    until_slowly(|| verk.health().ready).await;
    verk.shutdown().await;
    assert_eq!(left(replica), <[&str; 0]>::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_is_stuck_is_a_reason_not_to_be_ready() {
    let cluster = RedisCluster::builder().without_replicas().start();
    let states = States::new();
    let config = config(&cluster).connect_timeout(Duration::from_millis(500));
    let verk = start(config, &states).await;
    let slot = cluster.slot_of(PREFIX);
    until_slowly(|| verk.health().ready).await;
    let migration = block_in_place(|| cluster.migrate(slot, cluster.other_primary(slot)));
    verk.enqueue(SlotNumber::new(1)).await.unwrap();
    let stuck = || {
        let health = verk.health();
        health.live
            && health.reasons.iter().any(|reason| {
                let text = reason.to_string();
                let is_of_queue = matches!(
                    reason,
                    Reason::StorageFailing { part, .. } if part == "queue default"
                );
                is_of_queue && text.contains(&format!("slot {slot}: TRYAGAIN for "))
            })
    };
    until_slowly(stuck).await;
    // The node stays registered meanwhile.
    let fresh = |reason: &Reason| !matches!(reason, Reason::RegistrationLost);
    assert!(verk.health().reasons.iter().all(fresh));
    block_in_place(|| migration.finish());
    until_slowly(|| verk.health().ready && ran(&states).len() == 1).await;
    verk.shutdown().await;
}

/// The slot of a cell.
fn slot_of_cell(cluster: &RedisCluster, cell: usize) -> u16 {
    let pattern = format!("{{{cell}.*}}:verk:layout");
    let mut servers = cluster.servers().iter();
    let key = servers.find_map(|server| {
        let keys = server.command(&["KEYS", &pattern]).into_array().unwrap();
        keys.into_iter().next()?.into_bytes()
    });
    cluster.slot_of(std::str::from_utf8(&key.unwrap()).unwrap())
}

/// Three primaries become five, and each of the new ones gets three cells whose queues work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_job_runs_once_while_the_cluster_grows() {
    let mut cluster = RedisCluster::builder().without_replicas().start();
    let config = RedisConfig::new(cluster.url())
        .cells(16)
        .connect_timeout(Duration::from_secs(20));
    let cells = RedisStorage::connect_cells(config.clone()).await.unwrap();
    let cells: Cells = cells.into_iter().collect();
    let queues: Vec<_> = (0..24).map(|number| format!("queue-{number}")).collect();
    let builder = Verk::builder()
        .redis(config)
        .heartbeat(Duration::from_secs(5));
    let builder = queues.iter().fold(builder, |it, queue| it.queue(queue, 2));
    let states = States::new();
    let verk = states.give(builder).build().await.unwrap();
    verk.start().unwrap();

    let with_queues = queues.iter().map(|queue| cells.of(&queue_name(queue)));
    let with_queues: BTreeSet<_> = with_queues.collect();
    let slots: Vec<_> = with_queues.into_iter().take(6).collect();
    let slots: Vec<_> = (slots.into_iter())
        .map(|cell| slot_of_cell(&cluster, cell))
        .collect();
    let (enqueued, enough) = (Arc::new(AtomicU32::new(0)), CancellationToken::new());
    let producer = {
        let (verk, enqueued, enough) = (verk.clone(), Arc::clone(&enqueued), enough.clone());
        tokio::spawn(async move {
            for queue in queues.iter().cycle() {
                let number = enqueued.load(Ordering::Relaxed);
                if enough.is_cancelled() {
                    return;
                }
                let job = SlotNumber::new(number).queue(queue);
                verk.enqueue(job).await.unwrap();
                enqueued.store(number + 1, Ordering::Relaxed);
            }
        })
    };
    // Some for each queue.
    let more = async || {
        let enough = enqueued.load(Ordering::Relaxed) + 100;
        until_slowly(|| enqueued.load(Ordering::Relaxed) >= enough).await;
    };
    for slots in slots.chunks(3) {
        block_in_place(|| cluster.add_primary());
        let new = cluster.servers().last().unwrap();
        for slot in slots {
            let migration = block_in_place(|| cluster.migrate(*slot, new));
            more().await;
            block_in_place(|| migration.finish());
            more().await;
        }
    }
    let new = &cluster.servers()[3..];
    for (server, slots) in new.iter().zip(slots.chunks(3)) {
        assert_eq!(slots.len(), 3);
        for slot in slots {
            assert_eq!(cluster.owner(*slot).port(), server.port());
        }
        server.command(&["CONFIG", "RESETSTAT"]);
    }
    more().await;
    enough.cancel();
    producer.await.unwrap();
    let enqueued = enqueued.load(Ordering::Relaxed);
    until_slowly(|| ran(&states).len() == enqueued as usize).await;
    until_slowly(|| verk.health().ready).await;
    for server in new {
        assert!(calls(server, "lpush") > 0, "jobs are enqueued there");
        assert!(calls(server, "evalsha") > 0, "jobs are fetched there");
    }
    verk.shutdown().await;
    let ran = ran(&states);
    assert!(ran.values().all(|times| *times == 1), "{ran:?}");
    for server in cluster.servers() {
        for keys in ["*:queue:*", "*:inprogress:*"] {
            let left = server.command(&["KEYS", keys]).into_array();
            assert_eq!(left, Some(Vec::new()));
        }
    }
}
