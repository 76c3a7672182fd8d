//! Cells: several slots of a cluster, or several servers.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::block_in_place;
use verk_core::{
    BuildError, Verk,
    names::NodeId,
    storage::{Dequeued, Inprogress, JobStore, NodeStore, Server, StoredNodeInfo},
    time::{Clock, SystemClock},
};
use verk_redis::{Error, RedisBuilderExt, RedisConfig, RedisStorage};
use verk_testing::{RedisCluster, RedisServer, within};

use super::{
    PATIENCE, TTL, beat_while_it_moves, cluster, enqueue, jobs, name, request,
    run_jobs_while_it_moves,
};

async fn connect_cells(cluster: &RedisCluster, cells: usize) -> Vec<RedisStorage> {
    let config = RedisConfig::new(cluster.url())
        .cells(cells)
        .connect_timeout(Duration::from_secs(30));
    let cells = RedisStorage::connect_cells(config);
    within(PATIENCE, cells).await.unwrap()
}

/// How many keys of this pattern each primary has.
fn counts(cluster: &RedisCluster, pattern: &str) -> Vec<usize> {
    let servers = cluster.servers().iter();
    servers
        .map(|server| server.command(&["KEYS", pattern]).into_array().unwrap())
        .map(|keys| keys.len())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_are_spread_over_the_primaries() {
    let cluster = cluster();
    let with = |query: &str| RedisConfig::new(format!("{}/{query}", cluster.url()));
    let build = async |config: RedisConfig| {
        let building = Verk::builder()
            .redis(config.prefix("shop".to_owned()))
            .build();
        within(PATIENCE, building).await
    };
    build(with("?cells=16")).await.unwrap();
    assert_eq!(counts(&cluster, "shop:{*}:verk:layout"), [6, 5, 5]);
    assert_eq!(counts(&cluster, "*").iter().sum::<usize>(), 16);
    // The same again, and others.
    build(with("").cells(16)).await.unwrap();
    for cells in [8, 32] {
        let error = build(with("").cells(cells)).await.unwrap_err();
        let BuildError::Layout { wanted, found, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*wanted, format!("cells={cells} cell=0 hash=1"));
        assert_eq!(found, "cells=16 cell=0 hash=1");
    }
    assert_eq!(counts(&cluster, "*").iter().sum::<usize>(), 16);

    let cells = RedisStorage::connect_cells(with("?cells=16").prefix("shop".to_owned()));
    let cells = within(PATIENCE, cells).await.unwrap();
    assert_eq!(cells.len(), 16);
    for (number, cell) in cells.iter().enumerate() {
        assert!(jobs(cell, "default").await.is_empty(), "{number}");
        enqueue(cell, "default", &number.to_string()).await;
        assert_eq!(jobs(cell, "default").await, [number.to_string()]);
    }
    assert_eq!(counts(&cluster, "shop:{*}:queue:default"), [6, 5, 5]);
    let addresses: Vec<_> = cells.iter().map(Server::address).collect();
    assert!(
        addresses[0].starts_with("slot 32 of the cluster 127.0.0.1:"),
        "{addresses:?}"
    );
    cells[3].delete_prefix().await.unwrap();
    assert_eq!(counts(&cluster, "*:{3.57383}:*"), [0, 0, 0]);
    assert_eq!(
        counts(&cluster, "*:queue:default").iter().sum::<usize>(),
        15
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cell_moves_alone() {
    let cluster = cluster();
    let cells = connect_cells(&cluster, 4).await;
    let all = async |job: &str| {
        for cell in &cells {
            enqueue(cell, "default", job).await;
        }
    };
    all("1").await;
    let slot = cluster.slot_of("{0.18298}");
    assert_eq!(slot, 32);
    let migration = cluster.migrate(slot, cluster.other_primary(slot));
    all("2").await;
    migration.finish();
    all("3").await;
    cluster.migrate(slot, cluster.other_primary(slot)).finish();
    all("4").await;
    for cell in &cells {
        assert_eq!(jobs(cell, "default").await, ["1", "2", "3", "4"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_nobody_has_is_named() {
    let cluster = cluster();
    // That of cell 2.
    for server in cluster.servers() {
        server.command(&["CLUSTER", "DELSLOTS", "4128"]);
    }
    let config = RedisConfig::new(cluster.url()).cells(4);
    let error = within(PATIENCE, RedisStorage::connect_cells(config)).await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(
        error.to_string().contains("slot 4128 of the cluster"),
        "{error}"
    );
    // It has no other cell.
    let two = RedisStorage::connect_cells(RedisConfig::new(cluster.url()).cells(2));
    assert_eq!(within(PATIENCE, two).await.unwrap().len(), 2);
}

/// How many connections of verk each server has.
fn connections(cluster: &RedisCluster) -> Vec<usize> {
    let count = |server: &RedisServer| {
        let clients = server.command(&["CLIENT", "LIST"]).into_bytes().unwrap();
        let clients = String::from_utf8(clients.to_vec()).unwrap();
        clients.matches(" name=verk-").count()
    };
    cluster.servers().iter().map(count).collect()
}

fn lost(cells: &[RedisStorage]) -> Vec<u64> {
    cells.iter().map(Server::lost_connections).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_share_the_connections_to_their_primaries() {
    let cluster = cluster();
    let cells = connect_cells(&cluster, 16).await;
    let all = async || {
        let enqueued = cells.iter().map(|cell| async {
            let many = (0..4).map(|_| enqueue(cell, "default", "1"));
            join_all(many).await;
        });
        join_all(enqueued).await;
    };
    all().await;
    let open = connections(&cluster);
    assert!(open.iter().all(|count| (1..=2).contains(count)), "{open:?}");
    for (number, cell) in cells.iter().enumerate() {
        let address = cell.address();
        assert!(address.contains(", at 127.0.0.1:"), "{number}: {address}");
    }
    assert_eq!(lost(&cells), [0; 16]);
    let mut heartbeats = Vec::new();
    for cell in &cells {
        let (node, info) = (NodeId::register("one").unwrap(), StoredNodeInfo::default());
        cell.register(&node, &[], TTL, &info).await.unwrap();
        let mut heartbeat = cell.open_heartbeat(&node, TTL).await.unwrap();
        assert!(heartbeat.beat().await.unwrap().alive);
        heartbeats.push(heartbeat);
    }
    let open = connections(&cluster);
    assert!(open.iter().all(|count| (2..=3).contains(count)), "{open:?}");

    let (killed, first) = (&cluster.servers()[0], connections(&cluster)[0] as u64);
    killed.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    wait_until(|| lost(&cells)[0] >= first).await;
    all().await;
    for heartbeat in &mut heartbeats {
        assert!(heartbeat.beat().await.unwrap().alive);
    }
    // The first counts for all.
    assert_eq!(lost(&cells)[1..], [0; 15]);
    for cell in &cells {
        assert_eq!(jobs(cell, "default").await.len(), 8);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_share_the_connections_that_wait() {
    let cluster = cluster();
    let config = RedisConfig::new(cluster.url()).cells(8);
    let cells = RedisStorage::connect_cells(config.blocking_connections(2));
    let cells = within(PATIENCE, cells).await.unwrap();
    let mut queues = Vec::new();
    for cell in &cells {
        let node = NodeId::register("one").unwrap();
        let info = StoredNodeInfo::default();
        cell.register(&node, &[], TTL, &info).await.unwrap();
        let queue = name("default");
        queues.push(cell.open_queue(&Inprogress { queue, node }).await.unwrap());
    }
    for round in ["1", "2", "3"] {
        for (cell, queue) in cells.iter().zip(&mut queues) {
            enqueue(cell, "default", round).await;
            let dequeued = queue.dequeue(request(PATIENCE)).await.unwrap();
            assert_eq!(dequeued, Dequeued::Jobs(vec![round.into()]));
            let dequeued = queue.dequeue(request(Duration::from_millis(1))).await;
            assert_eq!(dequeued.unwrap(), Dequeued::Jobs(Vec::new()));
            // Two of each primary are for commands.
            let open = || connections(&cluster).iter().sum::<usize>() <= 3 * 2 + 2;
            wait_until(open).await;
        }
    }
    assert_eq!(lost(&cells), [0; 8]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_follow_their_slots_to_the_replica_that_takes_over() {
    let cluster = RedisCluster::builder()
        .setting("cluster-node-timeout", "2000")
        .start();
    let cells = connect_cells(&cluster, 4).await;
    let all = async |job: &str| {
        join_all(cells.iter().map(|cell| enqueue(cell, "default", job))).await;
    };
    let slot = cluster.slot_of("{0.18298}");
    all("1").await;
    block_in_place(|| cluster.fail_over(slot));
    all("2").await;
    for cell in &cells {
        assert_eq!(jobs(cell, "default").await, ["1", "2"]);
    }
    // This one crashes, and its replica has all that it had.
    let (owner, replica) = (cluster.owner(slot), cluster.replica(slot));
    let written = offset(owner);
    wait_until(|| offset(replica) >= written).await;
    owner.stop();
    for cell in &cells {
        let (queue, jobs) = (name("default"), ["3".into()]);
        // A lost reply is an error, too.
        let stored = async { while cell.enqueue(&queue, &jobs).await.is_err() {} };
        within(PATIENCE, stored).await;
    }
    for cell in &cells {
        let jobs = jobs(cell, "default").await;
        assert_eq!(jobs[..3], ["1", "2", "3"]);
    }
}

/// How much of the stream of writes a server has.
fn offset(server: &RedisServer) -> u64 {
    let info = server.info("replication");
    let mut lines = info.lines();
    let offset = lines.find_map(|line| line.strip_prefix("master_repl_offset:"));
    offset.unwrap().parse().unwrap()
}

async fn wait_until(is_so: impl Fn() -> bool) {
    within(PATIENCE, async {
        let clock: &dyn Clock = &SystemClock;
        while !is_so() {
            clock.sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_servers_are_cells() {
    let servers = [(); 3].map(|()| RedisServer::start());
    let [one, two, three] = servers.each_ref().map(|server| server.url().to_owned());
    let build = async |urls: &[&String]| {
        let urls = urls.iter().map(|url| url.as_str());
        let building = Verk::builder()
            .redis_cells(urls)
            .prefix("shop".to_owned())
            .build();
        within(PATIENCE, building).await
    };
    build(&[&one, &two]).await.unwrap();
    let layout = |server: &RedisServer| {
        let layout = server.command(&["GET", "shop:verk:layout"]).into_bytes();
        layout.map(|layout| String::from_utf8(layout.to_vec()).unwrap())
    };
    let layouts = || servers.each_ref().map(layout);
    let expected = [0, 1].map(|cell| format!("cells=2 cell={cell} hash=1"));
    assert_eq!(layouts()[..2], expected.clone().map(Some));
    build(&[&one, &two]).await.unwrap();
    for others in [&[&two, &one][..], &[&one, &two, &three]] {
        let error = build(others).await.unwrap_err();
        assert!(matches!(error, BuildError::Layout { .. }), "{error}");
    }
    // The same one twice.
    let error = build(&[&three, &three]).await.unwrap_err();
    assert!(matches!(error, BuildError::Layout { .. }), "{error}");
    // One alone keeps nothing.
    servers[2].command(&["FLUSHALL"]);
    build(&[&three]).await.unwrap();
    assert_eq!(layouts()[2], None);

    let error = build(&[]).await.unwrap_err();
    assert!(matches!(error, BuildError::Config(_)), "{error}");
    assert!(error.to_string().contains("redis_cells"), "{error}");
    // One of them is down.
    servers[1].stop();
    let error = build(&[&one, &two]).await.unwrap_err();
    assert!(matches!(error, BuildError::Storage(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_is_lost_or_twice_while_a_cell_moves() {
    let cluster = cluster();
    let mut cells = connect_cells(&cluster, 4).await;
    let slot = cluster.slot_of("{0.18298}");
    run_jobs_while_it_moves(cluster, cells.swap_remove(0), slot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_heartbeats_of_a_cell_survive_its_migration() {
    let cluster = cluster();
    let cells = connect_cells(&cluster, 4).await;
    beat_while_it_moves(&cluster, &cells[0], "{0.18298}").await;
}
