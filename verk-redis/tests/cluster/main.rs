//! A storage in one slot of a cluster, while that slot moves; and one in each of several.

mod cells;
mod joined;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;
use verk_core::{
    QueueName,
    error::{Applied, StorageErrorKind},
    names::NodeId,
    storage::{
        DequeueRequest, Dequeued, Due, Inprogress, JobSet, JobStore, NameClaim, NodeStore, Page,
        Server, Settled, Settlement, Source, StatsStore, StoredNodeInfo, Target, WaitingStore,
    },
    time::{Clock, SystemClock},
};
use verk_redis::{Error, RedisConfig, RedisStorage};
use verk_testing::{RedisCluster, RedisServer, within};

const PATIENCE: Duration = Duration::from_secs(60);
const PREFIX: &str = "{shop}";
const TTL: Duration = Duration::from_secs(600);
const ALL: Page = Page {
    offset: 0,
    limit: 1_000_000,
};

fn config(cluster: &RedisCluster) -> RedisConfig {
    RedisConfig::new(cluster.url())
        .prefix(PREFIX.to_owned())
        .connect_timeout(Duration::from_secs(30))
}

async fn connect(cluster: &RedisCluster) -> RedisStorage {
    RedisStorage::connect(config(cluster)).await.unwrap()
}

fn cluster() -> RedisCluster {
    RedisCluster::builder().without_replicas().start()
}

fn name(queue: &str) -> QueueName {
    queue.parse().unwrap()
}

fn key(key: &str) -> String {
    format!("{PREFIX}:{key}")
}

async fn enqueue(storage: &RedisStorage, queue: &str, job: &str) {
    let (queue, jobs) = (name(queue), [Bytes::copy_from_slice(job.as_bytes())]);
    let stored = within(PATIENCE, storage.enqueue(&queue, &jobs));
    stored.await.unwrap();
}

/// The jobs of a queue, the next to be fetched first.
async fn jobs(storage: &RedisStorage, queue: &str) -> Vec<String> {
    let source = Source::Queue(name(queue));
    let page = within(PATIENCE, storage.list(&source, &ALL.into())).await;
    let jobs = page.unwrap().jobs.into_iter();
    jobs.map(|waiting| String::from_utf8(waiting.job.to_vec()).unwrap())
        .collect()
}

fn request(wait: Duration) -> DequeueRequest {
    DequeueRequest {
        max_jobs: 10,
        max_bytes: 1_000_000,
        prefetched: 0,
        wait,
        interrupt: CancellationToken::new(),
    }
}

fn exists(server: &RedisServer, name: &str) -> bool {
    // At the server that gets the slot, only after ASKING: the keys of the slot are counted.
    let slot = server.command(&["CLUSTER", "KEYSLOT", PREFIX]).as_integer();
    let slot = slot.unwrap().to_string();
    let keys = server.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]);
    let mut keys = keys.into_array().unwrap().into_iter();
    keys.any(|found| found.into_bytes().unwrap() == key(name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enqueue_goes_where_its_queue_is() {
    let cluster = cluster();
    let storage = connect(&cluster).await;
    let slot = cluster.slot_of(PREFIX);
    let (from, to) = (cluster.owner(slot), cluster.other_primary(slot));
    enqueue(&storage, "here", "1").await;
    let migration = cluster.migrate(slot, to);

    enqueue(&storage, "here", "2").await;
    enqueue(&storage, "there", "3").await;
    assert!(exists(from, "queue:here") && !exists(from, "queue:there"));
    assert!(!exists(to, "queue:here") && exists(to, "queue:there"));
    assert!(migration.move_key(&key("queue:here")));
    enqueue(&storage, "here", "4").await;
    assert!(migration.move_key(&key("queues")));
    enqueue(&storage, "here", "5").await;
    assert!(!exists(from, "queues") && !exists(from, "queue:here"));
    let due = Due {
        at: SystemTime::UNIX_EPOCH,
        job: "6".into(),
    };
    within(PATIENCE, storage.schedule(&[due])).await.unwrap();
    assert!(exists(to, "schedule"));

    migration.finish();
    enqueue(&storage, "here", "7").await;
    assert_eq!(jobs(&storage, "here").await, ["1", "2", "4", "5", "7"]);
    assert_eq!(jobs(&storage, "there").await, ["3"]);
    let scheduled = storage.len(&Source::Set(JobSet::Schedule)).await;
    assert_eq!(scheduled.unwrap(), 1);
    let queues = storage.queues().await.unwrap();
    assert_eq!(queues, [name("here"), name("there")]);
    assert!(
        storage
            .address()
            .contains(&format!("slot {slot} of the cluster"))
    );
}

/// One request has several commands. Of a slot that moves, a server takes those commands whose keys
/// it still has. Only the others go to the new server.
#[tokio::test]
async fn what_a_server_took_goes_to_no_other() {
    let cluster = cluster();
    let storage = connect(&cluster).await;
    let slot = cluster.slot_of(PREFIX);
    let (from, to) = (cluster.owner(slot), cluster.other_primary(slot));
    for queue in ["here", "there"] {
        enqueue(&storage, queue, "0").await;
    }
    let migration = cluster.migrate(slot, to);
    // The first command of each request changes this key, and the next ones push.
    assert!(migration.move_key(&key("queues")));
    enqueue(&storage, "here", "1").await;
    assert!(exists(from, "queue:here") && !exists(to, "queue:here"));

    assert!(migration.move_key(&key("queue:there")));
    // The first call makes a request of its own, and the others share one, on the single thread of
    // this test.
    let calls = ["here", "there", "here", "there", "here"];
    join_all(calls.map(|queue| enqueue(&storage, queue, "2"))).await;
    assert!(exists(from, "queue:here") && !exists(to, "queue:here"));
    assert!(!exists(from, "queue:there") && exists(to, "queue:there"));
    migration.finish();
    assert_eq!(jobs(&storage, "here").await, ["0", "1", "2", "2", "2"]);
    assert_eq!(jobs(&storage, "there").await, ["0", "2", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_is_lost_or_twice_while_the_slot_moves() {
    let cluster = cluster();
    let (storage, slot) = (connect(&cluster).await, cluster.slot_of(PREFIX));
    run_jobs_while_it_moves(cluster, storage, slot).await;
}

/// Enqueues, fetches and settles while the slot moves there and back.
async fn run_jobs_while_it_moves(cluster: RedisCluster, storage: RedisStorage, slot: u16) {
    let cluster = Arc::new(cluster);
    let node = NodeId::register("one").unwrap();
    let info = StoredNodeInfo::default();
    storage.register(&node, &[], TTL, &info).await.unwrap();

    let (moved, enqueued) = (AtomicBool::new(false), Arc::new(AtomicUsize::new(0)));
    let produce = join_all((0..4).map(|_| async {
        while !moved.load(Ordering::Relaxed) {
            let number = enqueued.fetch_add(1, Ordering::Relaxed);
            let queue = ["a", "b"][number % 2];
            enqueue(&storage, queue, &number.to_string()).await;
        }
    }));
    let produced = AtomicBool::new(false);
    let produce = async {
        produce.await;
        produced.store(true, Ordering::Relaxed);
    };
    let consume = join_all(["a", "b"].map(|queue| consume(&storage, queue, &node, &produced)));
    let moving = {
        let (cluster, enqueued) = (Arc::clone(&cluster), Arc::clone(&enqueued));
        tokio::spawn(async move {
            let (old, new) = (cluster.owner(slot), cluster.other_primary(slot));
            for to in [new, old, new, old] {
                let migration = block_in_place(|| cluster.migrate(slot, to));
                more(&enqueued).await;
                block_in_place(|| migration.finish());
                more(&enqueued).await;
            }
        })
    };
    let moving = async {
        moving.await.unwrap();
        moved.store(true, Ordering::Relaxed);
    };
    let all = async { tokio::join!(produce, consume, moving) };
    let ((), ran, ()) = within(PATIENCE, all).await;
    let mut ran: Vec<usize> = ran.concat();
    ran.sort_unstable();
    let expected: Vec<usize> = (0..enqueued.load(Ordering::Relaxed)).collect();
    assert_eq!(ran, expected);
}

/// Waits until more jobs are enqueued.
async fn more(enqueued: &AtomicUsize) {
    let clock: &dyn Clock = &SystemClock;
    let enough = enqueued.load(Ordering::Relaxed) + 50;
    while enqueued.load(Ordering::Relaxed) < enough {
        clock.sleep(Duration::from_millis(1)).await;
    }
}

/// Takes all jobs of a queue, as a node does, and returns their numbers.
async fn consume(
    storage: &RedisStorage,
    queue: &str,
    node: &NodeId,
    produced: &AtomicBool,
) -> Vec<usize> {
    let list = Inprogress {
        queue: name(queue),
        node: node.clone(),
    };
    let mut connection = storage.open_queue(&list).await.unwrap();
    let (mut held, mut ran) = (Vec::<Bytes>::new(), Vec::new());
    loop {
        let last = produced.load(Ordering::Relaxed);
        let wait = if last { 0 } else { 100 };
        let request = request(Duration::from_millis(wait));
        let acks: Vec<_> = held
            .iter()
            .map(|job| Settlement::new(job.clone(), Target::Ack))
            .collect();
        let dequeued = if acks.is_empty() {
            connection.dequeue(request).await
        } else {
            let (settled, dequeued) = connection.settle_and_dequeue(&acks, &request).await;
            // A lost reply would be another matter: no connection breaks here.
            assert!(
                settled.iter().all(|it| matches!(it, Settled::Done)),
                "{settled:?}"
            );
            dequeued
        };
        let Dequeued::Jobs(jobs) = dequeued.unwrap() else {
            panic!("the node is registered, and the queue not paused");
        };
        for job in &jobs {
            ran.push(std::str::from_utf8(job).unwrap().parse().unwrap());
        }
        held = jobs;
        if last && held.is_empty() {
            return ran;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_a_job_goes_on_at_the_new_owner() {
    let cluster = cluster();
    let storage = connect(&cluster).await;
    let slot = cluster.slot_of(PREFIX);
    let node = NodeId::register("one").unwrap();
    let info = StoredNodeInfo::default();
    storage.register(&node, &[], TTL, &info).await.unwrap();
    let list = Inprogress {
        queue: name("default"),
        node,
    };
    let mut connection = storage.open_queue(&list).await.unwrap();
    let wait = tokio::spawn(async move {
        loop {
            let dequeued = connection.dequeue(request(Duration::from_secs(5))).await;
            match dequeued.unwrap() {
                Dequeued::Jobs(jobs) if jobs.is_empty() => {}
                dequeued => return dequeued,
            }
        }
    });
    let owner = cluster.owner(slot);
    within(PATIENCE, async {
        let clock: &dyn Clock = &SystemClock;
        while !owner.info("clients").contains("blocked_clients:1") {
            clock.sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    cluster.migrate(slot, cluster.other_primary(slot)).finish();
    enqueue(&storage, "default", "1").await;
    let dequeued = within(PATIENCE, wait).await.unwrap();
    assert_eq!(dequeued, Dequeued::Jobs(vec!["1".into()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_survives_a_migration() {
    let cluster = cluster();
    let storage = connect(&cluster).await;
    beat_while_it_moves(&cluster, &storage, PREFIX).await;
}

async fn beat_while_it_moves(cluster: &RedisCluster, storage: &RedisStorage, prefix: &str) {
    let slot = cluster.slot_of(prefix);
    let (from, to) = (cluster.owner(slot), cluster.other_primary(slot));
    let node = NodeId::register("one").unwrap();
    let claim = storage.claim_name(&node, TTL).await.unwrap();
    assert_eq!(claim, NameClaim::Granted);
    let info = StoredNodeInfo::default();
    storage.register(&node, &[], TTL, &info).await.unwrap();
    let mut heartbeat = storage.open_heartbeat(&node, TTL).await.unwrap();
    let first = heartbeat.beat().await.unwrap();
    assert!(first.alive && first.paused.is_some());

    let migration = cluster.migrate(slot, to);
    let keys = [format!("verk:node:{node}"), "verk:name:one".to_owned()];
    let keys = keys.map(|key| format!("{prefix}:{key}"));
    for moved in [false, true] {
        for key in &keys {
            from.command(&["PEXPIRE", key, "60000"]);
            if moved {
                assert!(migration.move_key(key));
            }
        }
        let beat = within(PATIENCE, heartbeat.beat()).await.unwrap();
        assert!(beat.alive && !beat.all_alive);
        assert_eq!((beat.server, beat.paused), (first.server.clone(), None));
    }
    // A node that is not registered has no heartbeat, wherever it looks.
    let other = NodeId::register("two").unwrap();
    let mut none = storage.open_heartbeat(&other, TTL).await.unwrap();
    assert!(!within(PATIENCE, none.beat()).await.unwrap().alive);

    migration.finish();
    for key in &keys {
        let left = to.command(&["PTTL", key]).as_integer();
        assert!(left > Some(60_000), "{left:?}");
    }
    let beat = within(PATIENCE, async {
        loop {
            // The connection to the old owner is given up, and the next beat opens another.
            if let Ok(beat) = heartbeat.beat().await {
                return beat;
            }
        }
    })
    .await;
    assert!(beat.alive && beat.paused.is_some() && beat.server != first.server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_cluster_is_said() {
    let cluster = cluster();
    for prefix in [None, Some("shop".to_owned()), Some("{}".to_owned())] {
        let config = RedisConfig::new(cluster.url()).prefix(prefix);
        let error = RedisStorage::connect(config).await.unwrap_err();
        assert!(matches!(error, Error::NoHashTag { .. }), "{error}");
        assert_eq!(error.kind(), StorageErrorKind::Misconfigured);
    }
    let password = cluster.url().replace("://", "://:hunter2@");
    let password = RedisConfig::new(password).prefix(PREFIX.to_owned());
    let error = RedisStorage::connect(password).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(matches!(error, Error::Connect { .. }), "{text}");
    assert!(
        text.contains("no server of the cluster") && !text.contains("hunter2"),
        "{text}"
    );
    let alone = RedisServer::builder().tcp().start();
    let alone = alone.url().replace("redis://", "redis+cluster://");
    let alone = RedisConfig::new(alone).prefix(PREFIX.to_owned());
    let error = RedisStorage::connect(alone).await.unwrap_err();
    assert!(
        error.to_string().contains("cluster support disabled"),
        "{error}"
    );

    let cells = || RedisConfig::new(cluster.url()).cells(2);
    let error = RedisStorage::connect(cells()).await.unwrap_err();
    assert!(
        matches!(error, Error::InvalidCells { cells: 2, .. }),
        "{error}"
    );
    assert_eq!(error.kind(), StorageErrorKind::Misconfigured);
    let tagged = RedisStorage::connect_cells(cells().prefix(PREFIX.to_owned()));
    let error = tagged.await.unwrap_err();
    assert!(
        matches!(error, Error::TagWithCells { cells: 2, .. }),
        "{error}"
    );
    assert_eq!(error.kind(), StorageErrorKind::Misconfigured);

    // One of its servers alone.
    let slot = cluster.slot_of(PREFIX);
    let wrong = RedisConfig::new(cluster.other_primary(slot).url()).prefix(PREFIX.to_owned());
    let wrong = RedisStorage::connect(wrong).await.unwrap();
    let error = wrong.enqueue(&name("a"), &["1".into()]).await.unwrap_err();
    assert_eq!(error.applied(), Applied::NotApplied);
    assert!(error.to_string().contains("redis+cluster"), "{error}");

    let config = config(&cluster).connect_timeout(Duration::from_secs(1));
    let storage = RedisStorage::connect(config).await.unwrap();
    enqueue(&storage, "a", "1").await;
    let migration = cluster.migrate(slot, cluster.other_primary(slot));
    let node = NodeId::register("one").unwrap();
    let (queues, info) = ([name("a")], StoredNodeInfo::default());
    let error = within(PATIENCE, storage.register(&node, &queues, TTL, &info));
    let error = error.await.unwrap_err();
    assert_eq!(error.applied(), Applied::NotApplied);
    assert_eq!(error.kind(), StorageErrorKind::Unavailable);
    let (text, expected) = (error.to_string(), format!("slot {slot}: ASK for "));
    assert!(text.contains(&expected), "{text}");
    migration.cancel();
    storage.register(&node, &queues, TTL, &info).await.unwrap();
    storage.stats(&[]).await.unwrap();
}
