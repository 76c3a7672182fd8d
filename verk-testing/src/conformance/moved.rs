//! What a cell keeps of queues that moved, and what it refuses for them:
//! [`CellStore`](verk_core::storage::CellStore).

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use verk_core::{
    StorageError,
    error::{Applied, StorageErrorKind},
    storage::{
        CronChange, CronPush, CronUpsert, Gate, JobSet, LockId, Locked, LockedPush, MovedQueue,
        Once, OnceAnswer, OnceJob, Storage, StoredLock, Ticked,
    },
};

use super::{
    Harness,
    cron::{entry, tick_of, upsert},
    fixture::{ALL, Fixture, PATIENCE, assert_refused, at, due, job, queue_name},
    unique::{ID, LASTS, assert_held, enqueue, held, take, waiting},
};
use crate::{Key, within};

fn moved(revision: u64, gate: Gate) -> MovedQueue {
    MovedQueue {
        queue: queue_name("default"),
        revision,
        gate,
        place: format!(r#"{{"cell":{revision}, "before":[]}}"#),
    }
}

async fn record(storage: &dyn Storage, seen: u64, moved: &MovedQueue) -> bool {
    storage.record_move(moved, seen).await.unwrap()
}

/// A request with a key of its own for each `key`.
fn once(key: &str) -> Once {
    Once {
        key: key.to_owned(),
        request: "abc".to_owned(),
        jid: key.into(),
        queue: Some(queue_name("default")),
        lasts: LASTS,
    }
}

/// What came of the steps that must happen in one cell: an enqueue with a lock, two with a key, a
/// run with a lock, and a new definition. What they make has this letter in its name.
async fn steps(storage: &dyn Storage, letter: char) -> [Result<(), StorageError>; 5] {
    let job_with_lock = |number: u32| {
        let mut job = take(&format!("{letter}{number}"), None);
        job.lock.id = LockId::from_bits(u128::from(u32::from(letter) * 10 + number));
        job
    };
    let stored = |answer: &Locked| match answer {
        Locked::New => Ok(()),
        Locked::Failed(error) => Err(error.clone()),
        other => panic!("{other:?}"),
    };
    let first = |answer: OnceAnswer| match answer {
        OnceAnswer::First(answer) => stored(&answer),
        seen @ OnceAnswer::Seen { .. } => panic!("{seen:?}"),
    };
    let locked = storage.enqueue_locked(&[job_with_lock(1)]).await;
    let free = OnceJob::Free(CronPush::Later(due(9, &format!("{letter}2"))));
    let with_key = once(&format!("{letter}2"));
    let with_key = storage.enqueue_once(&with_key, &free).await;
    let both = OnceJob::Locked(job_with_lock(3));
    let with_both = once(&format!("{letter}3"));
    let with_both = storage.enqueue_once(&with_both, &both).await;
    let mut tick = tick_of(&entry(storage, "run").await.expect("an entry"), 60, &[]);
    tick.locked = Some(LockedPush {
        job: job_with_lock(4),
        skipped: tick.record.clone(),
    });
    let ran = storage.tick_cron("run", &tick).await;
    let name = format!("{letter}5");
    let upsert = CronUpsert {
        queue: Some(queue_name("default")),
        ..upsert(&name, 60)
    };
    let defined = storage.upsert_cron(&name, &upsert).await;
    [
        stored(&locked[0]),
        first(with_key),
        first(with_both),
        ran.map(|ticked| assert_eq!(ticked, Ticked::Done)),
        defined.map(|change| assert_eq!(change, CronChange::Done)),
    ]
}

fn accepted(steps: &[Result<(), StorageError>; 5]) -> [bool; 5] {
    for refused in steps.iter().filter_map(|step| step.as_ref().err()) {
        assert_eq!(refused.applied(), Applied::NotApplied, "{refused}");
        assert_eq!(refused.kind(), StorageErrorKind::Moved, "{refused}");
    }
    steps.each_ref().map(Result::is_ok)
}

/// The gate of a queue says which of the steps a cell accepts that must happen in one cell only.
/// All other steps, and other queues, are as always.
pub async fn a_gate_refuses_what_must_happen_in_one_cell(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let storage = Arc::clone(&fixture.storage);
    let stored = storage.upsert_cron("run", &upsert("run", 60)).await;
    assert_eq!(stored.unwrap(), CronChange::Done);

    assert!(record(&*storage, 0, &moved(1, Gate::Closed)).await);
    let before = harness.dump().await;
    let refused = steps(&*storage, 'a').await;
    assert_eq!(accepted(&refused), [false; 5]);
    assert_eq!(harness.dump().await, before, "nothing was stored");
    fixture.enqueue(&["plain"]).await;
    storage.schedule(&[due(9, "later")]).await.unwrap();
    assert_eq!(fixture.set_len(JobSet::Schedule).await, 1);
    let plain = tick_of(
        &entry(&*storage, "run").await.expect("an entry"),
        60,
        &["b"],
    );
    let ticked = storage.tick_cron("run", &plain).await;
    assert_eq!(ticked.unwrap(), Ticked::Done, "it takes no lock");
    assert_eq!(fixture.dequeue_all().await, [job("plain"), job("b")]);
    let mut other = take("other", None);
    other.lock.queue = queue_name("other");
    let stored = storage.enqueue_locked(&[take("c", None), other]).await;
    assert!(
        matches!(stored[..], [Locked::Failed(_), Locked::New]),
        "each by its own queue: {stored:?}"
    );

    assert!(record(&*storage, 1, &moved(2, Gate::Arriving)).await);
    let some = accepted(&steps(&*storage, 'd').await);
    assert_eq!(some, [false, true, true, false, true]);

    assert!(record(&*storage, 2, &moved(3, Gate::Open)).await);
    assert_eq!(accepted(&steps(&*storage, 'e').await), [true; 5]);
}

/// A record replaces the one that its writer has seen, and no other. Of writers that come at once,
/// one wins.
pub async fn a_record_replaces_what_was_seen(harness: &dyn Harness) {
    let storage = harness.storage();
    assert_eq!(storage.moved_queues().await.unwrap(), []);
    let first = moved(1, Gate::Closed);
    assert!(!record(&*storage, 1, &first).await, "there is none");
    let all = join_all((1..=5).map(|revision| {
        let storage = &storage;
        async move { record(&**storage, 0, &moved(revision, Gate::Open)).await }
    }));
    assert_eq!(all.await.into_iter().filter(|won| *won).count(), 1);
    let [winner] = &storage.moved_queues().await.unwrap()[..] else {
        panic!("not one queue");
    };
    let before = harness.dump().await;
    assert!(!record(&*storage, 0, &first).await);
    assert!(!record(&*storage, winner.revision + 1, &first).await);
    assert_eq!(harness.dump().await, before);

    let next = moved(10, Gate::Closed);
    assert!(record(&*storage, winner.revision, &next).await);
    let other = MovedQueue {
        queue: queue_name("other queue: with words"),
        ..moved(1, Gate::Arriving)
    };
    assert!(record(&*storage, 0, &other).await);
    let mut known = storage.moved_queues().await.unwrap();
    known.sort_by(|one, other| one.queue.cmp(&other.queue));
    assert_eq!(known, [next, other]);
}

/// A full backend records a move, so that a move that makes room can end. It adopts no lock.
pub async fn a_full_backend_records_a_move(harness: &dyn Harness) {
    let storage = harness.storage();
    enqueue(&*storage, "a").await;
    let lock = held(&*storage).await;
    assert!(storage.free_lock(&lock).await.unwrap());
    harness.fill().await;
    assert!(record(&*storage, 0, &moved(1, Gate::Closed)).await);
    assert_refused(storage.adopt_lock(&lock, None).await, Applied::NotApplied);
    harness.make_room().await;
    assert!(storage.adopt_lock(&lock, None).await.unwrap());
    assert_eq!(
        storage.moved_queues().await.unwrap(),
        [moved(1, Gate::Closed)]
    );
}

/// A lock comes from another storage with its job, class, place and times. Nobody else gets it
/// then, and a held one stays as it is.
pub async fn a_lock_is_adopted(harness: &dyn Harness) {
    let storage = harness.storage();
    let lock = StoredLock {
        id: ID,
        jid: "gone".into(),
        class: "Sync".to_owned(),
        place: waiting(),
        since: at(5),
        until: None,
        conflicts: 7,
        next: None,
        revision: 9,
    };
    for lasts in [None, Some(LASTS)] {
        assert!(storage.adopt_lock(&lock, lasts).await.unwrap());
        let found = held(&*storage).await;
        assert_eq!(found.until.is_some(), lasts.is_some());
        let is_same = found.class == lock.class && found.since == lock.since;
        assert!(is_same, "{found:?}");
        let met = storage.enqueue_locked(&[take("new", None)]).await;
        assert!(matches!(met[..], [Locked::Duplicate { .. }]), "{met:?}");
        let other = StoredLock {
            jid: "other".into(),
            ..lock.clone()
        };
        assert!(!storage.adopt_lock(&other, lasts).await.unwrap());
        assert_held(&*storage, "gone", &waiting()).await;
        assert_eq!(storage.locks(ALL).await.unwrap().locks.len(), 1);
        let found = held(&*storage).await;
        assert!(storage.free_lock(&found).await.unwrap());
    }
    harness.break_key(&Key::Lock(ID)).await;
    assert_refused(storage.adopt_lock(&lock, None).await, Applied::NotApplied);
}

/// What was enqueued with a key can be read, as long as the key is remembered.
pub async fn what_had_a_key_can_be_read(harness: &dyn Harness) {
    let storage = harness.storage();
    assert_eq!(storage.seen("k").await.unwrap(), None);
    let free = || {
        OnceJob::Free(CronPush::Queue {
            queue: queue_name("default"),
            job: job("a"),
        })
    };
    let short = Once {
        lasts: Duration::from_millis(1),
        ..once("short")
    };
    storage.enqueue_once(&short, &free()).await;
    storage.enqueue_once(&once("k"), &free()).await;
    let found = storage.seen("k").await.unwrap();
    assert_eq!(found, Some(("k".into(), "abc".to_owned())));
    let forgotten = async {
        while storage.seen("short").await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, forgotten).await;
}
