//! Enqueues with a key of the caller:
//! [`enqueue_once`](verk_core::storage::EffectStore::enqueue_once).

use std::{sync::Arc, time::Duration};

use verk_core::{
    error::Applied,
    storage::{
        Conflict, CronPush, HolderPlace, JobSet, Locked, LockedJob, Once, OnceAnswer, OnceJob,
        Target,
    },
};

use super::{
    Harness,
    fixture::{AT_0, Fixture, PATIENCE, at, bytes, due, job, queue_name},
    unique::{ID, LASTS, assert_free, assert_held, enqueue, take, waiting},
};
use crate::{Key, Operation, within};

/// The request of a job whose payload is its jid.
fn once(jid: &str) -> Once {
    Once {
        key: "17".to_owned(),
        request: "abc".to_owned(),
        jid: jid.into(),
        queue: None,
        lasts: LASTS,
    }
}

fn queued(jid: &str) -> OnceJob {
    OnceJob::Free(CronPush::Queue {
        queue: queue_name("default"),
        job: job(jid),
    })
}

fn later(jid: &str) -> OnceJob {
    OnceJob::Free(CronPush::Later(due(9, jid)))
}

fn locked(jid: &str) -> OnceJob {
    OnceJob::Locked(take(jid, None))
}

#[track_caller]
fn assert_new(answer: &OnceAnswer) {
    assert!(
        matches!(answer, OnceAnswer::First(Locked::New)),
        "{answer:?}"
    );
}

#[track_caller]
fn assert_seen(answer: &OnceAnswer, first: &str) {
    assert!(
        matches!(answer, OnceAnswer::Seen { jid, request } if jid.as_str() == first && request == "abc"),
        "{answer:?}"
    );
}

#[track_caller]
fn assert_failed(answer: &OnceAnswer, expected: Applied) {
    let OnceAnswer::First(Locked::Failed(error)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(error.applied(), expected, "{error}");
}

/// The first request with a key stores its job, in its queue or for later. Later ones learn its id,
/// and what it was for, also when the job is gone.
pub async fn the_first_with_a_key_is_stored(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let storage = Arc::clone(&fixture.storage);
    assert_new(&storage.enqueue_once(&once("a"), &queued("a")).await);
    let before = harness.dump().await;
    for job in [queued("b"), later("b"), locked("b")] {
        assert_seen(&storage.enqueue_once(&once("b"), &job).await, "a");
    }
    assert_eq!(harness.dump().await, before);
    assert_eq!(fixture.queued().await, bytes(&["a"]));
    assert_eq!(storage.queues().await.unwrap(), [queue_name("default")]);

    let other = Once {
        key: "18".to_owned(),
        ..once("c")
    };
    assert_new(&storage.enqueue_once(&other, &later("c")).await);
    assert_seen(&storage.enqueue_once(&other, &later("d")).await, "c");
    let scheduled = fixture.members(JobSet::Schedule).await;
    assert_eq!(scheduled, [(AT_0 + 9.0, job("c"))]);

    assert_eq!(fixture.dequeue(1).await, bytes(&["a"]));
    fixture.settle(&["a"], Target::Ack).await;
    assert_seen(&storage.enqueue_once(&once("e"), &queued("e")).await, "a");
}

/// A job with a lock takes it. If another one holds the lock, nothing is remembered.
pub async fn a_job_with_a_key_takes_its_lock(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    enqueue(storage, "first").await;
    for jid in ["a", "b"] {
        let answer = storage.enqueue_once(&once(jid), &locked(jid)).await;
        let OnceAnswer::First(Locked::Duplicate { jid, place }) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!((jid.as_str(), place), ("first", waiting()));
    }
    let lock = storage.lock(ID).await.unwrap().expect("it is held");
    assert!(storage.free_lock(&lock).await.unwrap());
    assert_free(storage).await;
    let answer = storage.enqueue_once(&once("c"), &locked("c")).await;
    assert_new(&answer);
    assert_held(storage, "c", &waiting()).await;
    assert_seen(&storage.enqueue_once(&once("d"), &locked("d")).await, "c");

    let other = Once {
        key: "18".to_owned(),
        ..once("e")
    };
    let replacing = |jid| {
        OnceJob::Locked(LockedJob {
            on_conflict: Conflict::Replace { max_wait: None },
            ..take(jid, Some(at(9)))
        })
    };
    let kept = storage.enqueue_once(&other, &replacing("e")).await;
    assert!(
        matches!(kept, OnceAnswer::First(Locked::Duplicate { .. })),
        "the holder keeps no payload: {kept:?}"
    );
    assert_held(storage, "c", &waiting()).await;
    let lock = storage.lock(ID).await.unwrap().expect("it is held");
    assert!(storage.free_lock(&lock).await.unwrap());
    assert_new(&storage.enqueue_once(&other, &replacing("f")).await);
    assert_held(storage, "f", &HolderPlace::Scheduled(at(9))).await;
    let third = Once {
        key: "19".to_owned(),
        ..once("g")
    };
    let replaced = storage.enqueue_once(&third, &replacing("g")).await;
    assert!(
        matches!(&replaced, OnceAnswer::First(Locked::Replaced { old }) if old.as_str() == "f"),
        "{replaced:?}"
    );
    assert_seen(&storage.enqueue_once(&third, &replacing("h")).await, "g");
}

/// A key is forgotten after its time.
pub async fn a_key_is_forgotten(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    let short = Once {
        lasts: Duration::from_millis(1),
        ..once("a")
    };
    assert_new(&storage.enqueue_once(&short, &queued("a")).await);
    let forgotten = async {
        loop {
            match storage.enqueue_once(&once("b"), &queued("b")).await {
                OnceAnswer::First(Locked::New) => return,
                OnceAnswer::Seen { .. } => tokio::task::yield_now().await,
                other @ OnceAnswer::First(_) => panic!("{other:?}"),
            }
        }
    };
    within(PATIENCE, forgotten).await;
    assert_eq!(fixture.queued().await, bytes(&["a", "b"]));
    assert_seen(&storage.enqueue_once(&once("c"), &queued("c")).await, "b");
}

/// A job that cannot be stored is not remembered. After a lost reply, the next request knows.
pub async fn a_key_is_remembered_with_its_job(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    for (key, jobs) in [
        (
            Key::Queue(queue_name("default")),
            [queued("a"), locked("a")],
        ),
        (
            Key::Set(JobSet::Schedule),
            [later("a"), OnceJob::Locked(take("a", Some(at(9))))],
        ),
    ] {
        harness.break_key(&key).await;
        let before = harness.dump().await;
        for job in &jobs {
            let refused = storage.enqueue_once(&once("a"), job).await;
            assert_failed(&refused, Applied::NotApplied);
        }
        assert_eq!(harness.dump().await, before);
        harness.mend_key(&key).await;
    }
    harness.fill().await;
    for job in [queued("a"), later("a"), locked("a")] {
        let refused = storage.enqueue_once(&once("a"), &job).await;
        assert_failed(&refused, Applied::NotApplied);
    }
    harness.make_room().await;

    let other = Once {
        key: "18".to_owned(),
        ..once("b")
    };
    assert_new(&storage.enqueue_once(&other, &queued("b")).await);
    harness.lose_reply(Operation::EnqueueOnce).await;
    let lost = storage.enqueue_once(&once("a"), &queued("a")).await;
    assert_failed(&lost, Applied::Unknown);
    assert_seen(&storage.enqueue_once(&once("c"), &queued("c")).await, "a");
    assert_eq!(fixture.queued().await, bytes(&["b", "a"]));
}
