//! Nodes in one slot of a cluster: the slot moves, its primary fails, or its migration is stuck.

use std::{collections::BTreeMap, time::Duration};

use tokio::task::block_in_place;
use verk::{Verk, health::Reason, prelude::*, redis::RedisConfig};
use verk_testing::{RedisCluster, RedisServer, within};

use crate::support::{Gate, Log, PATIENCE, States, a_moment, offset, until_slowly, wait_for};

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
