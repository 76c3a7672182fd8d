//! Enqueues to the cells of one primary go to it together.

use std::{process::Command, time::Duration};

use futures_util::future::join_all;
use verk_redis::{RedisConfig, RedisStorage};
use verk_testing::{RedisCluster, RedisServer, within};

use super::{PATIENCE, enqueue, jobs};

const POOL_SIZE: u32 = 8;
/// How many connections each primary then has.
const CONNECTIONS: usize = 4;
/// Longer than any test: nothing ends because time ran out.
const FOREVER: Duration = Duration::from_secs(600);
const JOBS: [&str; 3] = ["1", "2", "3"];

fn cluster() -> RedisCluster {
    RedisCluster::builder()
        .without_replicas()
        .setting("cluster-node-timeout", "60000")
        .start()
}

/// Cells whose connections are all open, and have been used.
async fn connect_cells(cluster: &RedisCluster, cells: usize) -> Vec<RedisStorage> {
    let config = RedisConfig::new(cluster.url())
        .cells(cells)
        .pool_size(POOL_SIZE)
        .connect_timeout(FOREVER)
        .response_timeout(FOREVER);
    let cells = within(PATIENCE, RedisStorage::connect_cells(config)).await;
    let cells = cells.unwrap();
    within(PATIENCE, async {
        while !cluster.servers().iter().all(all_used) {
            for cell in &cells {
                enqueue(cell, "first", "0").await;
            }
        }
    })
    .await;
    cells
}

fn all_used(server: &RedisServer) -> bool {
    let clients = server.command(&["CLIENT", "LIST"]).into_bytes().unwrap();
    let clients = String::from_utf8(clients.to_vec()).unwrap();
    let lines = clients.lines();
    let used = lines.filter(|line| line.contains(" name=verk-") && line.contains(" cmd=lpush "));
    used.count() == CONNECTIONS
}

/// Enqueues each job to each of the cells by a call of its own, all at once.
async fn enqueue_each(cells: &[&RedisStorage]) {
    let calls = JOBS.iter().flat_map(|job| {
        let cells = cells.iter();
        cells.map(|cell| enqueue(cell, "default", job))
    });
    join_all(calls).await;
}

async fn assert_each_is_stored(cells: &[RedisStorage], times: usize) {
    for (number, cell) in cells.iter().enumerate() {
        let mut jobs = jobs(cell, "default").await;
        jobs.sort();
        let expected = JOBS.iter().flat_map(|job| [*job].repeat(times));
        assert!(
            expected.eq(jobs.iter().map(String::as_str)),
            "{number}: {jobs:?}"
        );
    }
}

/// A figure of `INFO`, which begins after `name`.
fn figure(server: &RedisServer, section: &str, name: &[&str]) -> usize {
    let info = server.info(section);
    let mut line = info.lines().find(|line| line.starts_with(name[0]));
    for part in name {
        line = line.and_then(|line| Some(line.split_once(part)?.1));
    }
    let digits = line
        .unwrap_or("0")
        .split(|byte: char| !byte.is_ascii_digit());
    digits.into_iter().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_cells_of_a_primary_share_requests() {
    let cluster = cluster();
    let cells = connect_cells(&cluster, 16).await;
    let reads = || {
        let servers = cluster.servers().iter();
        let reads = servers.map(|it| figure(it, "stats", &["total_reads_processed:"]));
        reads.collect::<Vec<_>>()
    };
    let before = reads();
    enqueue_each(&cells.iter().collect::<Vec<_>>()).await;
    for (before, after) in before.iter().zip(reads()) {
        // One has the first call, and one all others. The server also counts the end of the
        // connection that asked before, and the INFO.
        assert!((3..=4).contains(&(after - before)), "{before} {after}");
    }
    assert_each_is_stored(&cells, 1).await;
}

#[tokio::test]
async fn only_what_goes_to_a_slot_that_moved_is_sent_again() {
    let cluster = cluster();
    let cells = connect_cells(&cluster, 4).await;
    let slots = cells_of_the_first_primary(&cluster);
    let (from, to) = (cluster.owner(slots[1]), cluster.other_primary(slots[1]));
    cluster.migrate(slots[1], to).finish();
    for server in cluster.servers() {
        server.command(&["CONFIG", "RESETSTAT"]);
    }
    enqueue_each(&cells.iter().collect::<Vec<_>>()).await;
    assert_each_is_stored(&cells, 1).await;

    let lpush = |server, figure_of| figure(server, "commandstats", &["cmdstat_lpush:", figure_of]);
    assert_eq!(lpush(from, "rejected_calls="), 1);
    // A first one of each primary, and one of each cell.
    let servers = cluster.servers().iter();
    let taken: usize = servers.map(|server| lpush(server, "calls=")).sum();
    assert_eq!(taken, 3 + 4);
}

/// The slots of the cells 0 and 2 of four.
fn cells_of_the_first_primary(cluster: &RedisCluster) -> [u16; 2] {
    let slots = ["{0.18298}", "{2.1796}"].map(|tag| cluster.slot_of(tag));
    for slot in slots {
        assert_eq!(cluster.owner(slot).port(), cluster.servers()[0].port());
    }
    slots
}

#[tokio::test]
async fn a_primary_that_stands_still_holds_up_no_cell_of_another() {
    let cluster = cluster();
    let cells = connect_cells(&cluster, 4).await;
    let slots = cells_of_the_first_primary(&cluster);
    // To that of cell 1.
    let stopped = &cluster.servers()[1];
    cluster.migrate(slots[1], stopped).finish();
    signal(stopped, "-STOP");
    let there = [&cells[1], &cells[2]];
    let mut held_up = Box::pin(enqueue_each(&there));
    let others = async {
        for _ in 0..10 {
            enqueue_each(&[&cells[0], &cells[3]]).await;
        }
    };
    tokio::select! {
        biased;
        () = &mut held_up => panic!("the server that stands still has answered"),
        () = within(PATIENCE, others) => {}
    }
    signal(stopped, "-CONT");
    within(PATIENCE, held_up).await;
    assert_each_is_stored(&cells[1..3], 1).await;
    for cell in [0, 3] {
        assert_each_is_stored(&cells[cell..=cell], 10).await;
    }
}

fn signal(server: &RedisServer, signal: &str) {
    let pid = server.pid().unwrap().to_string();
    let status = Command::new("kill").args([signal, &pid]).status();
    assert!(status.unwrap().success());
}
