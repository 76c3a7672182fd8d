//! Unique jobs on real nodes: never two at once, whatever happens to a node, and no lock that
//! nobody holds.

use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use verk::{
    Enqueued, EventKind, Job, OnConflict, Unique, Until, Verk,
    client::IntoJob,
    names::NodeId,
    prelude::*,
    redis::RedisStorage,
    storage::{
        DequeueRequest, EffectStore, Inprogress, JobStore, Move, MoveTarget, NodeStore,
        SUSPECT_AFTER, Source, WaitingStore,
    },
};
use verk_testing::{Key, MemoryStorage, RedisServer, within};

use crate::support::{Fixture, Gauge, Log, PATIENCE, States, payloads, queue_name, wait_for};

const UNIQUE: Unique = Unique::new().by(&[0]);

#[verk::worker(queue = "unique")]
async fn alone(key: u32, n: u32, State(gauge): State<Gauge>, State(log): State<Log>) {
    gauge.enter();
    tokio::task::yield_now().await;
    log.push(format!("{key} {n}"));
    gauge.leave();
}

/// Many enqueues of one key race with the node that runs them.
async fn race(verk: &Verk, states: &States, unique: Unique) {
    let mut events = verk.events();
    verk.start().unwrap();
    let client = verk.client();
    let sends = (0..200).map(|n| client.enqueue_unique(Alone::new(1, n).unique(unique)));
    let sent = within(PATIENCE, join_all(sends)).await;
    let mut sent: Vec<Enqueued> = sent.into_iter().map(Result::unwrap).collect();
    let last = Alone::new(1, 1000).unique(unique);
    sent.push(client.enqueue_unique(last).await.unwrap());
    let new = sent
        .iter()
        .filter(|sent| !matches!(sent, Enqueued::Duplicate { .. }));
    let replaced = sent
        .iter()
        .filter(|sent| matches!(sent, Enqueued::Replaced { .. }));
    let runs = new.count() - replaced.count();
    assert!(runs > 0, "{sent:?}");
    for _ in 0..runs {
        within(
            PATIENCE,
            wait_for(&mut events, |event| {
                matches!(event.what, EventKind::JobFinished { .. }).then_some(())
            }),
        )
        .await;
    }
    assert_eq!(states.gauge.most(), 1, "two ran at once");
    let ran = states.log.entries();
    assert_eq!(ran.len(), runs, "{ran:?}");
    if unique == UNIQUE.on_conflict(OnConflict::KeepLast) {
        assert_eq!(ran.last().unwrap(), "1 1000", "the last one always runs");
    }
    assert_eq!(
        verk.storage()
            .locks(crate::support::ALL)
            .await
            .unwrap()
            .locks,
        []
    );
    verk.shutdown().await;
}

#[tokio::test]
async fn of_many_that_race_never_two_run() {
    for on_conflict in [OnConflict::Skip, OnConflict::Replace, OnConflict::KeepLast] {
        let unique = UNIQUE.on_conflict(on_conflict);
        let states = States::new();
        let builder = states.give(Verk::builder().storage(MemoryStorage::default()));
        let verk = builder.queue("unique", 10).build().await.unwrap();
        race(&verk, &states, unique).await;

        let server = RedisServer::start();
        let storage = RedisStorage::connect(server.url()).await.unwrap();
        let states = States::new();
        let builder = states.give(Verk::builder().storage(storage));
        let verk = builder.queue("unique", 10).build().await.unwrap();
        race(&verk, &states, unique).await;
    }
}

/// Without a node, one of a hundred gets the lock, and the others learn its id.
#[tokio::test]
async fn of_a_hundred_at_once_one_is_new() {
    let server = RedisServer::start();
    let storage = RedisStorage::connect(server.url()).await.unwrap();
    let client = verk::Client::new(std::sync::Arc::new(storage.clone()));
    let sends = (0..100).map(|n| client.enqueue_unique(Alone::new(1, n).unique(UNIQUE)));
    let sent = within(PATIENCE, join_all(sends)).await;
    let sent: Vec<Enqueued> = sent.into_iter().map(Result::unwrap).collect();
    let new: Vec<_> = sent
        .iter()
        .filter(|sent| matches!(sent, Enqueued::New(_)))
        .collect();
    assert_eq!(new.len(), 1);
    assert!(sent.iter().all(|sent| sent.jid() == new[0].jid()));
    let queue = Source::Queue(queue_name("unique"));
    assert_eq!(storage.len(&queue).await.unwrap(), 1);
}

/// A node dies with a job that it ran. The lock stays with the job, and ends with it.
// matrix: unique × restore
#[tokio::test]
async fn a_job_of_a_dead_node_keeps_its_lock() {
    for until in [Until::Done, Until::Start] {
        let unique = UNIQUE.until(until);
        let mut it = Fixture::in_real_time(|builder| {
            builder
                .queue("unique", 5)
                .heartbeat(Duration::from_millis(500))
                .node_id("web".to_owned())
        })
        .await;
        let client = it.verk.client().clone();
        let send = async |n| {
            let job = Alone::new(1, n).unique(unique);
            client.enqueue_unique(job).await.unwrap()
        };
        let first = send(0).await;
        let held = Inprogress {
            queue: queue_name("unique"),
            node: NodeId::register("web").unwrap(),
        };
        let queues = [held.queue.clone()];
        let ttl = Duration::from_secs(600);
        it.storage
            .register(&held.node, &queues, ttl, &Default::default())
            .await
            .unwrap();
        let mut connection = it.storage.open_queue(&held).await.unwrap();
        connection
            .dequeue(DequeueRequest {
                max_jobs: 1,
                max_bytes: 1000,
                prefetched: 0,
                wait: Duration::ZERO,
                interrupt: CancellationToken::new(),
            })
            .await
            .unwrap();
        let second = send(1).await;
        assert!(
            matches!(&second, Enqueued::Duplicate { jid, .. } if jid == first.jid()),
            "{second:?}"
        );
        it.storage.faults().expire_heartbeat(&held.node);
        it.verk.start().unwrap();
        it.wait_for_finished(1).await;
        assert_eq!(it.log.entries(), ["1 0"]);
        it.verk.shutdown().await;
        assert_eq!(
            it.storage.locks(crate::support::ALL).await.unwrap().locks,
            []
        );
    }
}

/// Another program, which knows no locks, deletes a job. The node that moves due jobs looks for it,
/// and frees the lock; the job that waited for it comes.
// matrix: unique × mixed fleet
#[tokio::test]
async fn a_lock_whose_job_is_nowhere_is_freed() {
    for on_conflict in [OnConflict::Skip, OnConflict::KeepLast] {
        let mut it = Fixture::with(|builder| builder.queue("default", 1)).await;
        let unique = UNIQUE.on_conflict(on_conflict);
        let client = it.verk.client().clone();
        let send = async |n| {
            let job = Alone::new(1, n).unique(unique);
            client.enqueue_unique(job).await.unwrap()
        };
        let first = send(0).await;
        let aside = it
            .verk
            .client()
            .enqueue_unique(Alone::new(2, 0).unique(unique))
            .await
            .unwrap();
        let queue = Source::Queue(queue_name("unique"));
        for payload in it.queued("unique").await {
            let job = Job::decode(payload.clone()).unwrap();
            if job.jid() == first.jid() {
                let delete = [Move::new(payload, MoveTarget::Delete)];
                it.storage.move_jobs(&queue, &delete, None).await;
            }
        }
        it.advance(SUSPECT_AFTER);
        // Of the two that are met now, only one has lost its job.
        assert!(!matches!(send(1).await, Enqueued::Replaced { .. }));
        it.verk
            .client()
            .enqueue_unique(Alone::new(2, 1).unique(UNIQUE))
            .await
            .unwrap();
        it.verk.start().unwrap();
        let repaired = it
            .wait_for(|event| match event.what {
                EventKind::LockRepaired { jid, class } => Some((jid, class)),
                _ => None,
            })
            .await;
        assert_eq!(repaired, (first.jid().clone(), "Alone".to_owned()));
        let locks = it.storage.locks(crate::support::ALL).await.unwrap().locks;
        let of_other = locks.iter().filter(|lock| lock.jid == *aside.jid());
        assert_eq!(of_other.count(), 1, "{locks:?}");
        match on_conflict {
            OnConflict::KeepLast => assert_eq!(it.queued("unique").await.len(), 2),
            _ => assert!(matches!(send(2).await, Enqueued::New(_))),
        }
        it.verk.shutdown().await;
    }
}

/// A unique job passes client middleware as any other, alone and in bulk.
// matrix: unique × bulk
#[tokio::test]
async fn a_unique_job_passes_middleware() {
    use verk::middleware::{ClientMiddleware, ClientNext};
    struct Notes(Log);
    impl ClientMiddleware for Notes {
        async fn call(
            &self,
            job: &mut Job,
            next: ClientNext<'_>,
        ) -> Result<Enqueued, verk::BoxError> {
            let stored = next.run(job).await?;
            self.0.push(match &stored {
                Enqueued::New(_) => "new",
                Enqueued::Duplicate { .. } => "duplicate",
                _ => "replaced",
            });
            Ok(stored)
        }
    }
    let storage = MemoryStorage::default();
    let log = Log::default();
    let client = verk::Client::new(std::sync::Arc::new(storage.clone()));
    let client = client.client_middleware(Notes(log.clone()));
    let unique = |key: u32| Alone::new(key, 0).unique(UNIQUE.on_conflict(OnConflict::Replace));
    client.enqueue(unique(1)).await.unwrap();
    client.enqueue(unique(1)).await.unwrap();
    let plain = Alone::new(9, 9).into_job();
    let sent = client
        .enqueue_all([unique(2), plain, unique(2).unique(UNIQUE)])
        .await
        .unwrap();
    assert_eq!(sent[0], sent[2]);
    let mut entries = log.entries();
    entries[2..].sort();
    assert_eq!(entries, ["new", "replaced", "duplicate", "new", "new"]);
    let queue = Source::Queue(queue_name("unique"));
    let listed = storage
        .list(&queue, &crate::support::ALL.into())
        .await
        .unwrap();
    assert_eq!(payloads(listed.jobs).len(), 3);
}

/// A job whose start cannot be stored does not run: it comes back a second later.
#[tokio::test]
async fn a_job_whose_start_is_not_stored_waits() {
    let mut it = Fixture::in_real_time(|builder| builder.queue("unique", 1)).await;
    let unique = UNIQUE.until(Until::Start);
    let client = it.verk.client().clone();
    let job = Alone::new(1, 0).unique(unique);
    client.enqueue(job).await.unwrap();
    let lock = it.storage.locks(crate::support::ALL).await.unwrap().locks[0].id;
    it.storage.faults().break_key(Key::Lock(lock));
    it.verk.start().unwrap();
    // The outcome of the run meets the same key.
    it.wait_for(|event| matches!(event.what, EventKind::BatchSettled { .. }).then_some(()))
        .await;
    it.storage.faults().mend_key(&Key::Lock(lock));
    it.wait_for(|event| matches!(event.what, EventKind::JobSnoozed { .. }).then_some(()))
        .await;
    assert_eq!(it.log.entries(), [""; 0]);
    it.verk.shutdown().await;
}
