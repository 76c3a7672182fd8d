//! The timetable of a fleet on a real server.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use verk_core::{
    Client, Job, Verk,
    cron::{Cron, Tick, Timetable},
    storage::{CronStore, CronTick, Page, Source, StoredCron, Ticked, WaitingStore},
};
use verk_redis::RedisStorage;
use verk_testing::{RedisServer, within};

const PATIENCE: Duration = Duration::from_secs(60);
const NODES: usize = 6;
const ROUNDS: u64 = 20;

async fn entry(storage: &RedisStorage, name: &str) -> StoredCron {
    let mut named = storage.cron_named(&[name.to_owned()]).await.unwrap();
    named.pop().flatten().unwrap()
}

async fn jobs(storage: &RedisStorage, queue: &str) -> Vec<Job> {
    let queue = Source::Queue(queue.parse().unwrap());
    let all = Page {
        offset: 0,
        limit: 1000,
    };
    let jobs = storage.list(&queue, &all.into()).await.unwrap().jobs;
    let decode = |job| Job::decode(job).unwrap();
    jobs.into_iter()
        .map(|waiting| decode(waiting.job))
        .collect()
}

fn timetable(storage: &RedisStorage) -> Timetable {
    Client::new(Arc::new(storage.clone())).admin().cron()
}

/// Makes an entry so late that each node may take its run.
async fn make_late(storage: &RedisStorage, name: &str, by: Duration) {
    let was = entry(storage, name).await;
    let late = CronTick {
        seen: was.seen(),
        next: was.next.map(|next| next - by),
        pushes: Vec::new(),
        missed: 0,
        locked: None,
        record: "{}".into(),
    };
    let done = storage.tick_cron(name, &late).await.unwrap();
    assert_eq!(done, Ticked::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_race_take_each_run_once() {
    let server = RedisServer::start();
    let storage = RedisStorage::connect(server.url()).await.unwrap();
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        let storage = RedisStorage::connect(server.url()).await.unwrap();
        let node = Verk::builder()
            .storage(storage)
            .queue("nobody", 1)
            .poll_interval(Duration::from_millis(20));
        let node = node.build().await.unwrap();
        node.start().unwrap();
        nodes.push(node);
    }
    let daily = Cron::every("1d").class("A", [0]).queue("waits");
    timetable(&storage).upsert("a", daily).await.unwrap();
    let day = Duration::from_secs(86_400);
    for round in 1..=ROUNDS {
        // Ten minutes late.
        make_late(&storage, "a", day + Duration::from_secs(600)).await;
        within(PATIENCE, async {
            while entry(&storage, "a").await.runs < round {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    for node in nodes {
        node.shutdown().await;
    }
    assert_eq!(entry(&storage, "a").await.runs, ROUNDS);
    let jobs = jobs(&storage, "waits").await;
    assert_eq!(jobs.len() as u64, ROUNDS, "each run once");
    for job in jobs {
        let tick = Tick::of(&job).unwrap();
        assert_eq!((tick.name(), tick.missed()), ("a", 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_store_an_entry_at_once_make_one() {
    let server = RedisServer::start();
    let storage = RedisStorage::connect(server.url()).await.unwrap();
    let tables: Vec<Timetable> = (0..50).map(|_| timetable(&storage)).collect();
    for round in 1..=ROUNDS {
        let upserts = tables.iter().map(|timetable| {
            let cron = Cron::period(Duration::from_secs(60 * round));
            timetable.upsert("a", cron.class("A", [0]))
        });
        let changed = join_all(upserts).await;
        let changed = changed.into_iter().filter(|it| *it.as_ref().unwrap());
        assert_eq!(changed.count(), 1, "round {round}");
        let entries = storage.cron_entries(Page {
            offset: 0,
            limit: 10,
        });
        let entries = entries.await.unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].revision, round);
    }
    let due = server.command(&["ZCARD", "verk:crondue"]);
    assert_eq!(due.as_integer(), Some(1));
}
