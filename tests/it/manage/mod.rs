//! An operator's work on jobs, on both storages, while other programs change them.

mod audit;
mod cells;
mod chosen;
mod enqueue;
mod executions;
mod fleet;
mod lists;
mod nodes;
mod payloads;
mod shown;
mod tail;
mod why;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio_util::sync::CancellationToken;
use verk::{
    Client, Job, QueueName,
    cells::Cells,
    manage::{Admin, Query},
    names::{InvalidName, NodeId},
    storage::{
        Cleared, DeadLimits, DequeueRequest, Dequeued, Due, DueSet, Inprogress, JobSet, Move,
        MoveTarget, QueueConnection, Source, Storage,
    },
    time::{Clock, SystemClock},
};
use verk_redis::{RedisConfig, RedisStorage};
use verk_testing::{Key, MemoryStorage, RedisServer, conformance::Harness as _};

use crate::support::{self, ALL, queue_name};

/// A storage that two programs use.
struct Shared {
    one: Admin,
    other: Admin,
    storage: Arc<dyn Storage>,
    /// The cells of it, which may be one.
    cells: Vec<Arc<dyn Storage>>,
    /// The cell in which the nodes work that run the queue `default`.
    of_node: Arc<dyn Storage>,
    _redis: Option<RedisServer>,
}

/// In memory, in several cells in memory, in Redis, in Redis under a prefix, and in several cells
/// in Redis.
async fn storages() -> Vec<Shared> {
    let memory = || Arc::new(MemoryStorage::default()) as Arc<dyn Storage>;
    let in_memory = [1, 3, 16].map(|count| {
        let storages: Vec<Arc<dyn Storage>> = std::iter::repeat_with(memory).take(count).collect();
        Shared::of_cells(storages)
    });
    let mut all = Vec::from(in_memory);
    for prefix in ["", "app"] {
        let redis = RedisServer::start();
        let config = RedisConfig::new(redis.url()).prefix(prefix.to_owned());
        let one: Arc<dyn Storage> = Arc::new(RedisStorage::connect(config.clone()).await.unwrap());
        let other = Arc::new(RedisStorage::connect(config).await.unwrap());
        all.push(Shared {
            one: Client::new(Arc::clone(&one)).admin(),
            other: Client::new(other).admin(),
            cells: vec![Arc::clone(&one)],
            of_node: Arc::clone(&one),
            storage: one,
            _redis: Some(redis),
        });
    }
    let redis = RedisServer::start();
    let mut storages: Vec<Arc<dyn Storage>> = Vec::new();
    for number in 0..3 {
        let config = RedisConfig::new(redis.url()).prefix(format!("cell-{number}"));
        storages.push(Arc::new(RedisStorage::connect(config).await.unwrap()));
    }
    let of_cells = Shared::of_cells(storages);
    all.push(Shared {
        _redis: Some(redis),
        ..of_cells
    });
    all
}

impl Shared {
    fn of_cells(storages: Vec<Arc<dyn Storage>>) -> Self {
        let cells: Cells = storages.iter().cloned().collect();
        Self {
            one: Client::new(cells.view()).admin(),
            other: Client::new(cells.view()).admin(),
            storage: cells.view(),
            of_node: Arc::clone(&storages[cells.of(&queue_name("default"))]),
            cells: storages,
            _redis: None,
        }
    }

    async fn enqueue(&self, payloads: &[Bytes]) {
        let queue = queue_name("default");
        for payloads in payloads.chunks(100) {
            self.storage.enqueue(&queue, payloads).await.unwrap();
        }
    }

    /// Puts payloads into a set as they are.
    async fn add(&self, set: JobSet, payloads: &[Bytes]) {
        self.enqueue_aside(payloads).await;
        let target = |payload: &Bytes| {
            let job = Due {
                at: SystemClock.now(),
                job: payload.clone(),
            };
            match set {
                JobSet::Schedule => MoveTarget::Set {
                    set: DueSet::Schedule,
                    job,
                },
                JobSet::Retry => MoveTarget::Set {
                    set: DueSet::Retry,
                    job,
                },
                JobSet::Dead => MoveTarget::Dead {
                    job,
                    limits: DeadLimits {
                        max_jobs: 100_000,
                        timeout: Duration::from_secs(1_000_000_000),
                    },
                },
            }
        };
        let moves: Vec<Move> = payloads
            .iter()
            .map(|payload| Move::new(payload.clone(), target(payload)))
            .collect();
        let aside = Source::Queue(queue_name("aside"));
        self.storage.move_jobs(&aside, &moves, None).await;
        assert_eq!(self.storage.clear(&aside).await.unwrap(), Cleared::Jobs(0));
    }

    async fn enqueue_aside(&self, payloads: &[Bytes]) {
        let newest_first: Vec<Bytes> = payloads.iter().rev().cloned().collect();
        for payloads in newest_first.chunks(100) {
            let aside = queue_name("aside");
            self.storage.enqueue(&aside, payloads).await.unwrap();
        }
    }

    async fn queued(&self) -> Vec<Bytes> {
        let queue = Source::Queue(queue_name("default"));
        support::payloads(self.storage.list(&queue, &ALL.into()).await.unwrap().jobs)
    }

    async fn members(&self, set: JobSet) -> Vec<Bytes> {
        let members = self
            .storage
            .list(&Source::Set(set), &ALL.into())
            .await
            .unwrap()
            .jobs;
        members.into_iter().map(|member| member.job).collect()
    }

    /// A node that fetches from the queue.
    async fn consumer(&self) -> Consumer {
        let held = Inprogress {
            queue: queue_name("default"),
            node: NodeId::register("web").unwrap(),
        };
        let queues = std::slice::from_ref(&held.queue);
        let ttl = Duration::from_secs(600);
        self.of_node
            .register(&held.node, queues, ttl, &Default::default())
            .await
            .unwrap();
        Consumer(self.of_node.open_queue(&held).await.unwrap())
    }
}

struct Consumer(Box<dyn QueueConnection>);

impl Consumer {
    async fn fetch(&mut self, max_jobs: usize) -> Vec<Bytes> {
        let request = DequeueRequest {
            max_jobs,
            max_bytes: usize::MAX,
            prefetched: 0,
            wait: Duration::ZERO,
            interrupt: CancellationToken::new(),
        };
        match self.0.dequeue(request).await.unwrap() {
            Dequeued::Jobs(jobs) => jobs,
            other => panic!("{other:?}"),
        }
    }
}

fn payload(class: &str, jid: impl std::fmt::Display) -> Bytes {
    Bytes::from(format!(
        r#"{{"class":"{class}","jid":"{jid}","queue":"default","args":[]}}"#
    ))
}

fn payloads(class: &str, jids: std::ops::Range<u32>) -> Vec<Bytes> {
    jids.map(|jid| payload(class, jid)).collect()
}

/// The payload without the time that a requeue puts there.
fn requeued(payload: &Bytes) -> String {
    let job = Job::decode(payload.clone()).unwrap();
    let enqueued_at = format!(r#","enqueued_at":{}"#, job.get("enqueued_at").unwrap());
    String::from_utf8(payload.to_vec())
        .unwrap()
        .replace(&enqueued_at, "")
}

#[tokio::test]
async fn what_two_operators_ask_for_at_once_happens_once() {
    for shared in storages().await {
        shared.add(JobSet::Retry, &payloads("A", 0..500)).await;
        let (one, other) = tokio::join!(
            shared.one.retry_set().select().requeue(),
            shared.other.retry_set().select().requeue(),
        );
        assert_eq!(one.unwrap() + other.unwrap(), 500);
        let queued: BTreeSet<String> = shared.queued().await.iter().map(requeued).collect();
        assert_eq!(queued.len(), 500);
        assert_eq!(
            shared.one.queue("default").unwrap().count().await.unwrap(),
            500
        );

        shared.add(JobSet::Dead, &[payload("A", "twice")]).await;
        let entry = shared.one.dead_set().find("twice").await.unwrap().unwrap();
        let same = shared
            .other
            .dead_set()
            .find("twice")
            .await
            .unwrap()
            .unwrap();
        let (one, other) = tokio::join!(entry.requeue(), same.requeue());
        assert_ne!(one.unwrap(), other.unwrap());
        assert!(!entry.requeue().await.unwrap());
        assert!(!entry.delete().await.unwrap());
        assert_eq!(shared.queued().await.len(), 501);
    }
}

#[tokio::test]
async fn ten_thousand_members_are_counted_read_found_and_moved() {
    for shared in storages().await {
        let mut jobs = payloads("A", 0..5_000);
        jobs.extend(payloads("B", 5_000..10_000));
        shared.add(JobSet::Dead, &jobs).await;
        let dead = shared.one.dead_set();
        assert_eq!(dead.count().await.unwrap(), 10_000);

        let entries: Vec<_> = dead.select().entries().try_collect().await.unwrap();
        let read: BTreeSet<&Bytes> = entries.iter().map(|entry| entry.payload()).collect();
        assert_eq!(read, jobs.iter().collect());
        let found = dead.find("7777").await.unwrap().unwrap();
        assert_eq!(found.payload(), &jobs[7_777]);
        assert!(dead.find("777x").await.unwrap().is_none());

        assert_eq!(dead.select().class("A").delete().await.unwrap(), 5_000);
        assert_eq!(
            dead.select().text(r#""jid":"9"#).requeue().await.unwrap(),
            1_000
        );
        assert_eq!(dead.count().await.unwrap(), 4_000);
        let queue = shared.one.queue("default").unwrap();
        let ends_in_7 = queue.select().filter(|entry| {
            entry
                .job()
                .is_ok_and(|job| job.jid().as_str().ends_with('7'))
        });
        assert_eq!(ends_in_7.kill().await.unwrap(), 100);
        assert_eq!(queue.count().await.unwrap(), 900);
        assert_eq!(dead.clear().await.unwrap(), 4_100);
        assert_eq!(queue.select().delete().await.unwrap(), 900);
        assert_eq!(dead.count().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_page_is_in_order_with_its_times() {
    for shared in storages().await {
        shared.enqueue(&payloads("A", 0..5)).await;
        let queue = shared.one.queue("default").unwrap();
        let page = queue
            .list(&Query::new().limit(4))
            .await
            .unwrap()
            .entries
            .split_off(1);
        let jids: Vec<_> = page
            .iter()
            .map(|entry| entry.job().unwrap().jid().as_str().to_owned())
            .collect();
        assert_eq!(jids, ["1", "2", "3"]);
        assert!(
            page.iter()
                .all(|entry| entry.score().is_none() && entry.at().is_none())
        );
        assert_eq!(page[0].source(), &Source::Queue(queue_name("default")));

        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        assert!(page[1].reschedule(at).await.unwrap());
        let scheduled = shared
            .one
            .scheduled_set()
            .list(&Query::new())
            .await
            .unwrap()
            .entries;
        let times: Vec<_> = scheduled
            .iter()
            .map(|entry| (entry.score(), entry.at()))
            .collect();
        assert_eq!(times, [(Some(2e9), Some(at))]);
        assert_eq!(scheduled[0].source(), &Source::Set(JobSet::Schedule));
    }
}

#[tokio::test]
async fn a_queue_that_others_use_is_read_and_emptied_whole() {
    for shared in storages().await {
        let jobs = payloads("A", 0..1_000);
        shared.enqueue(&jobs).await;
        let mut consumer = shared.consumer().await;
        let mut fetched = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut entries = shared.one.queue("default").unwrap().select().entries();
        let mut number = 0;
        while let Some(entry) = entries.try_next().await.unwrap() {
            if seen.insert(entry.payload().clone()) && number % 2 == 0 {
                entry.delete().await.unwrap();
            }
            if number % 10 == 0 {
                fetched.extend(consumer.fetch(3).await);
                shared.enqueue(&payloads("New", number..number + 4)).await;
            }
            number += 1;
        }
        for job in &jobs {
            assert!(seen.contains(job) || fetched.contains(job), "{job:?}");
        }

        // Whatever disturbs the selection, no job of class A is left, and no other job is missing.
        let others = shared
            .queued()
            .await
            .iter()
            .filter(|job| job.windows(3).any(|part| part == b"New"))
            .count();
        shared.enqueue(&payloads("A", 2_000..2_250)).await;
        let selection = shared.one.queue("default").unwrap().select().class("A");
        let deleted = selection.delete().await.unwrap();
        assert!(deleted >= 250, "{deleted}");
        assert_eq!(shared.queued().await.len(), others);
    }
}

#[tokio::test]
async fn a_set_that_others_use_is_requeued_whole() {
    for shared in storages().await {
        shared.add(JobSet::Retry, &payloads("A", 0..2_000)).await;
        let retries = shared.one.retry_set();
        let (moved, ()) = tokio::join!(retries.select().class("A").requeue(), async {
            for number in 0..20 {
                let name = format!("new {number}");
                shared.add(JobSet::Retry, &[payload("B", &name)]).await;
                let entry = shared
                    .other
                    .retry_set()
                    .find(format!("{number}"))
                    .await
                    .unwrap();
                if let Some(entry) = entry {
                    entry.kill().await.unwrap();
                }
            }
        });
        let killed = shared.one.dead_set().count().await.unwrap();
        assert_eq!(moved.unwrap() + killed, 2_000);
        assert_eq!(shared.queued().await.len() + killed, 2_000);
        assert_eq!(retries.count().await.unwrap(), 20);
    }
}

#[tokio::test]
async fn a_selection_goes_on_past_what_cannot_be_moved() {
    let storage = MemoryStorage::default();
    let client = Client::new(Arc::new(storage.clone()));
    let at = SystemClock.now() + Duration::from_secs(60);
    for number in 0..300 {
        let queue: QueueName = if number % 3 == 0 { "broken" } else { "default" }
            .parse()
            .unwrap();
        let job = Job::new("A", queue, format!("[{number}]")).unwrap();
        client.enqueue(job).await.unwrap();
    }
    let admin = client.admin();
    for queue in ["broken", "default"] {
        admin
            .queue(queue)
            .unwrap()
            .select()
            .reschedule(at)
            .await
            .unwrap();
    }
    let broken = Key::Queue("broken".parse().unwrap());
    storage.break_key(&broken).await;
    let error = admin.scheduled_set().select().requeue().await.unwrap_err();
    assert_eq!(error.done, 200);
    assert_eq!(error.source.applied(), verk::error::Applied::NotApplied);
    storage.mend_key(&broken).await;

    storage.lose_reply(verk_testing::Operation::MoveJobs).await;
    let error = admin.scheduled_set().select().requeue().await.unwrap_err();
    assert_eq!(
        (error.done, error.source.applied()),
        (0, verk::error::Applied::Unknown)
    );
    assert_eq!(admin.queue("broken").unwrap().count().await.unwrap(), 100);
    assert_eq!(admin.scheduled_set().select().requeue().await.unwrap(), 0);
}

#[tokio::test]
async fn a_queue_name_is_checked() {
    let admin = Client::new(Arc::new(MemoryStorage::default())).admin();
    let refused: InvalidName = admin.queue("").unwrap_err();
    assert!(refused.to_string().contains("queue name"));
}
