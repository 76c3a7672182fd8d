//! Enqueues that take a unique lock, and the locks.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use verk_core::{
    error::Applied,
    storage::{
        Conflict, Effect, HolderPlace, JobSet, LockId, LockRef, Locked, LockedJob, Move,
        MoveTarget, NewLock, Page, Settled, Settlement, Source, Storage, StoredLock, Target,
    },
};

use super::{
    Harness,
    fixture::{AT_0, Fixture, NO_LIMITS, PATIENCE, assert_done, at, bytes, due, job, queue_name},
};
use crate::{Key, within};

pub(super) const ID: LockId = LockId::from_bits(0xabc);

/// Longer than any case.
pub(super) const LASTS: Duration = Duration::from_secs(600);

pub(super) fn of_job(jid: &str) -> LockRef {
    LockRef {
        id: ID,
        jid: jid.into(),
        queue: queue_name("default"),
    }
}

pub(super) fn waiting() -> HolderPlace {
    HolderPlace::Waiting {
        queue: queue_name("default"),
    }
}

pub(super) fn unlock(jid: &str) -> Effect {
    Effect::Unlock(of_job(jid))
}

pub(super) fn followed(jid: &str, place: &HolderPlace) -> Effect {
    Effect::Relock {
        lock: of_job(jid),
        place: Some(place.clone()),
        payload: None,
    }
}

pub(super) fn hold(jid: &str, died_at: u64) -> Effect {
    Effect::Hold {
        lock: of_job(jid),
        died_at: at(died_at),
        lasts: LASTS,
    }
}

pub(super) fn new_lock() -> NewLock {
    NewLock {
        class: "Sync".to_owned(),
        payload: None,
        lasts: None,
    }
}

/// A job whose payload is its jid.
pub(super) fn take(jid: &str, at: Option<SystemTime>) -> LockedJob {
    LockedJob {
        lock: of_job(jid),
        job: job(jid),
        at,
        class: "Sync".to_owned(),
        lasts: None,
        on_conflict: Conflict::Skip,
    }
}

fn with(jid: &str, at: Option<SystemTime>, on_conflict: Conflict) -> LockedJob {
    LockedJob {
        on_conflict,
        ..take(jid, at)
    }
}

pub(super) async fn enqueue(storage: &dyn Storage, jid: &str) {
    let answers = storage.enqueue_locked(&[take(jid, None)]).await;
    assert!(matches!(answers[..], [Locked::New]), "{answers:?}");
}

pub(super) async fn lock_of(storage: &dyn Storage) -> Option<StoredLock> {
    storage.lock(ID).await.expect("read the lock")
}

pub(super) async fn held(storage: &dyn Storage) -> StoredLock {
    lock_of(storage).await.expect("a lock that is held")
}

pub(super) async fn assert_held(storage: &dyn Storage, jid: &str, place: &HolderPlace) {
    let lock = held(storage).await;
    assert_eq!((lock.jid.as_str(), &lock.place), (jid, place));
}

pub(super) async fn assert_free(storage: &dyn Storage) {
    assert_eq!(lock_of(storage).await, None);
}

#[track_caller]
fn assert_new(answer: &Locked) {
    assert!(matches!(answer, Locked::New), "{answer:?}");
}

#[track_caller]
fn assert_duplicate(answer: &Locked, holder: &str, where_it_is: &HolderPlace) {
    assert!(
        matches!(answer, Locked::Duplicate { jid, place } if jid.as_str() == holder && place == where_it_is),
        "{answer:?}"
    );
}

#[track_caller]
fn assert_replaced(answer: &Locked, replaced: &str) {
    assert!(
        matches!(answer, Locked::Replaced { old } if old.as_str() == replaced),
        "{answer:?}"
    );
}

/// The first job gets the lock, in its queue or for later. A second one is not stored, also in the
/// same batch, and learns where the first is.
pub async fn one_job_gets_the_lock(harness: &dyn Harness) {
    for later in [None, Some(at(9))] {
        let fixture = Fixture::new(harness).await;
        let storage = &*fixture.storage;
        let place = later.map_or_else(waiting, HolderPlace::Scheduled);
        let batch = [take("a", later), take("b", None)];
        let answers = storage.enqueue_locked(&batch).await;
        assert_new(&answers[0]);
        assert_duplicate(&answers[1], "a", &place);
        let answers = storage.enqueue_locked(&[take("c", later)]).await;
        assert_duplicate(&answers[0], "a", &place);
        let lock = held(storage).await;
        assert_eq!((lock.jid.as_str(), lock.class.as_str()), ("a", "Sync"));
        assert_eq!((lock.place, lock.conflicts, lock.until), (place, 2, None));
        let others = [fixture.queued().await, sets(&fixture).await].concat();
        assert_eq!(others, bytes(&["a"]), "nothing else is stored");
        remove(&fixture, "a").await;
    }
}

/// The queue is in the list of queues as with any enqueue, and the jobs are fetched in order.
pub async fn jobs_with_locks_are_jobs(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let storage = fixture.storage.clone();
    fixture.enqueue(&["first"]).await;
    let jobs: Vec<LockedJob> = (0..250)
        .map(|number| {
            let mut locked = take(&format!("job {number}"), None);
            locked.lock.id = LockId::from_bits(number);
            locked
        })
        .collect();
    storage
        .enqueue_locked(&jobs)
        .await
        .iter()
        .for_each(assert_new);
    assert_eq!(storage.queues().await.unwrap(), [queue_name("default")]);
    let fetched = fixture.dequeue_all().await;
    let expected = jobs.iter().map(|locked| locked.job.clone());
    assert_eq!(fetched[1..], expected.collect::<Vec<Bytes>>());
    assert_eq!(storage.locks(page(0, 10)).await.unwrap().len, 250);
}

/// An enqueue that is sent again after a lost reply stores nothing, and answers as the first one.
// matrix: unique × lost reply
pub async fn an_enqueue_that_comes_again_stores_nothing(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    for conflict in [Conflict::Skip, Conflict::KeepLast] {
        let again = [with("a", None, conflict), with("a", None, conflict)];
        storage
            .enqueue_locked(&again)
            .await
            .iter()
            .for_each(assert_new);
        assert_eq!(fixture.queued().await, bytes(&["a"]));
    }
    let again = [
        with("b", None, Conflict::KeepLast),
        with("b", None, Conflict::KeepLast),
    ];
    storage
        .enqueue_locked(&again)
        .await
        .iter()
        .for_each(assert_new);
    assert_eq!(held(storage).await.next.unwrap().0.as_str(), "b");
}

/// Of many enqueues at once, one gets the lock, and all others learn its id.
pub async fn of_many_at_once_one_gets_the_lock(harness: &dyn Harness) {
    let storage = harness.storage();
    let jobs: Vec<_> = (0..100)
        .map(|n| [take(&format!("job {n}"), None)])
        .collect();
    let answers = join_all(jobs.iter().map(|jobs| storage.enqueue_locked(jobs))).await;
    let answers = answers.concat();
    let new: Vec<_> = answers
        .iter()
        .zip(&jobs)
        .filter(|(answer, _)| matches!(answer, Locked::New))
        .collect();
    assert_eq!(new.len(), 1, "{answers:?}");
    let winner = new[0].1[0].lock.jid.as_str();
    let lost = answers
        .iter()
        .filter(|answer| !matches!(answer, Locked::New));
    lost.for_each(|answer| assert_duplicate(answer, winner, &waiting()));
}

/// A job takes the place of one that waits in a set, or in the queue, where it keeps the position.
pub async fn a_job_replaces_a_waiting_one(harness: &dyn Harness) {
    let conflict = Conflict::Replace { max_wait: None };
    let mut fixture = Fixture::new(harness).await;
    let storage = fixture.storage.clone();
    let send = async |jid: &str, at| {
        storage
            .enqueue_locked(&[with(jid, at, conflict)])
            .await
            .remove(0)
    };

    assert_new(&send("a", None).await);
    fixture.enqueue(&["other"]).await;
    assert_replaced(&send("b", None).await, "a");
    assert_eq!(fixture.queued().await, bytes(&["b", "other"]));
    assert_held(&*storage, "b", &waiting()).await;

    // From the queue to the schedule, and back.
    assert_replaced(&send("c", Some(at(5))).await, "b");
    assert_eq!(fixture.queued().await, bytes(&["other"]));
    assert_eq!(
        fixture.members(JobSet::Schedule).await,
        [(AT_0 + 5.0, job("c"))]
    );
    assert_replaced(&send("d", Some(at(7))).await, "c");
    assert_eq!(
        fixture.members(JobSet::Schedule).await,
        [(AT_0 + 7.0, job("d"))]
    );
    assert_replaced(&send("e", None).await, "d");
    assert_eq!(fixture.queued().await, bytes(&["other", "e"]));

    // A job that runs stays.
    fixture.dequeue(10).await;
    assert_duplicate(&send("f", None).await, "e", &waiting());
    // In the retry set, with its new payload.
    let relock = Effect::Relock {
        lock: of_job("e"),
        place: Some(HolderPlace::Retrying(at(3))),
        payload: Some(job("e, failed")),
    };
    let retry = Settlement {
        effects: relock.into(),
        ..Settlement::new(job("e"), Target::Retry(due(3, "e, failed")))
    };
    assert_done(&fixture.settle_each(&[retry]).await);
    assert_replaced(&send("g", None).await, "e");
    assert_eq!(fixture.members(JobSet::Retry).await, []);
    assert_eq!(fixture.queued().await, bytes(&["g"]));
}

/// A job that another program moved is not found, and so not replaced.
// matrix: debounce × mixed fleet
pub async fn a_job_that_is_not_found_is_not_replaced(harness: &dyn Harness) {
    let conflict = Conflict::Replace { max_wait: None };
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    let scheduled = HolderPlace::Scheduled(at(5));
    assert_new(
        &storage
            .enqueue_locked(&[with("a", Some(at(5)), conflict)])
            .await[0],
    );
    let to = MoveTarget::Queue {
        queue: fixture.held.queue.clone(),
        job: job("a, moved"),
    };
    let from = Source::Set(JobSet::Schedule);
    assert_done(
        &storage
            .move_jobs(&from, &[Move::new(job("a"), to)], None)
            .await,
    );
    let answers = storage.enqueue_locked(&[with("b", None, conflict)]).await;
    assert_duplicate(&answers[0], "a", &scheduled);
    assert_eq!(fixture.queued().await, bytes(&["a, moved"]));
}

/// A job that replaces others is due at most so long after the first of them.
// matrix: debounce × schedule
pub async fn replacing_jobs_wait_for_a_bounded_time(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    let now = storage.server_time().await.unwrap();
    let conflict = Conflict::Replace {
        max_wait: Some(Duration::from_secs(60)),
    };
    let mut last = None;
    for (jid, seconds) in [("a", 10), ("b", 30), ("c", 3000), ("d", 6000)] {
        let due_at = now + Duration::from_secs(seconds);
        let answers = storage
            .enqueue_locked(&[with(jid, Some(due_at), conflict)])
            .await;
        match last {
            None => assert_new(&answers[0]),
            Some(old) => assert_replaced(&answers[0], old),
        }
        last = Some(jid);
    }
    let since = held(storage).await.since;
    let latest = (since + Duration::from_secs(60)).duration_since(SystemTime::UNIX_EPOCH);
    let members = fixture.members(JobSet::Schedule).await;
    assert_eq!(members.len(), 1);
    let early = latest.unwrap().as_secs_f64() - members[0].0;
    assert!(early.abs() < 0.001, "{early}");
}

/// With `KeepLast`, the newest job waits for one that runs, and comes when that one ends, however
/// it ends.
pub async fn the_last_job_waits_for_its_lock(harness: &dyn Harness) {
    let dead = || Target::Dead {
        job: due(3, "a, dead"),
        limits: NO_LIMITS,
    };
    let retrying = HolderPlace::Retrying(at(1));
    let scheduled = HolderPlace::Scheduled(at(2));
    for (to, effect, superseded) in [
        (Target::Ack, unlock("a"), false),
        (dead(), unlock("a"), false),
        (dead(), hold("a", 3), true),
        (
            Target::Retry(due(1, "a, failed")),
            followed("a", &retrying),
            true,
        ),
        (
            Target::Schedule(due(2, "a, later")),
            followed("a", &scheduled),
            true,
        ),
    ] {
        let mut fixture = Fixture::new(harness).await;
        let storage = fixture.storage.clone();
        let send = async |jid: &str| {
            let jobs = [with(jid, None, Conflict::KeepLast)];
            storage.enqueue_locked(&jobs).await.remove(0)
        };
        assert_new(&send("a").await);
        fixture.dequeue(10).await;
        assert_new(&send("b").await);
        assert_replaced(&send("c").await, "b");
        assert_eq!(fixture.queued().await, bytes(&[]));
        let buried = usize::from(matches!(to, Target::Dead { .. }) && !superseded);
        let settlement = Settlement {
            effects: effect.into(),
            ..Settlement::new(job("a"), to)
        };
        let settled = fixture.settle_each(&[settlement]).await;
        let expected = matches!(settled[..], [Settled::Superseded]);
        assert_eq!(expected, superseded, "{settled:?}");
        assert!(
            superseded || matches!(settled[..], [Settled::Done]),
            "{settled:?}"
        );
        assert_eq!(fixture.queued().await, bytes(&["c"]));
        assert_held(&*storage, "c", &waiting()).await;
        assert_eq!(held(&*storage).await.next, None);
        assert_eq!(sets(&fixture).await.len(), buried);
        assert_eq!(fixture.in_progress().await, bytes(&[]));
        remove(&fixture, "c").await;
        storage.clear(&Source::Set(JobSet::Dead)).await.unwrap();
        let all = fixture.members(JobSet::Dead).await;
        let all: Vec<_> = (all.into_iter())
            .map(|(_, job)| Move::new(job, MoveTarget::Delete))
            .collect();
        storage
            .move_jobs(&Source::Set(JobSet::Dead), &all, None)
            .await;
    }
}

/// A job that waits for the lock of a queued one comes when that is deleted.
pub async fn a_deletion_brings_the_job_that_waits(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    let jobs = ["a", "b"].map(|jid| with(jid, None, Conflict::KeepLast));
    storage
        .enqueue_locked(&jobs)
        .await
        .iter()
        .for_each(assert_new);
    assert_eq!(fixture.queued().await, bytes(&["a"]));
    remove(&fixture, "a").await;
    assert_eq!(fixture.queued().await, bytes(&["b"]));
    assert_held(storage, "b", &waiting()).await;
}

/// A job in a set is replaced with `KeepLast`, too. A job for later cannot wait for a lock.
pub async fn the_last_job_replaces_one_in_a_set(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    let later = with("a", Some(at(5)), Conflict::KeepLast);
    assert_new(&storage.enqueue_locked(&[later]).await[0]);
    let answers = storage
        .enqueue_locked(&[with("b", None, Conflict::KeepLast)])
        .await;
    assert_replaced(&answers[0], "a");
    assert_eq!(fixture.queued().await, bytes(&["b"]));
    let before = harness.dump().await;
    let mut elsewhere = with("c", None, Conflict::KeepLast);
    elsewhere.lock.queue = queue_name("other");
    let later = with("d", Some(at(5)), Conflict::KeepLast);
    for answer in storage.enqueue_locked(&[elsewhere, later]).await {
        let Locked::Failed(error) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(error.applied(), Applied::NotApplied);
    }
    let jobs = |dump: &super::Dump| dump.keys().keys().cloned().collect::<Vec<_>>();
    assert_eq!(jobs(&harness.dump().await), jobs(&before));
    assert_eq!(held(storage).await.next, None);
}

/// A lock with a time ends by itself.
pub async fn a_lock_may_end_with_time(harness: &dyn Harness) {
    let storage = harness.storage();
    let short = LockedJob {
        lasts: Some(Duration::from_millis(1)),
        ..take("a", None)
    };
    assert_new(&storage.enqueue_locked(&[short]).await[0]);
    let ends = async {
        loop {
            match &storage.enqueue_locked(&[take("b", None)]).await[..] {
                [Locked::New] => return,
                [Locked::Duplicate { .. }] => tokio::task::yield_now().await,
                other => panic!("{other:?}"),
            }
        }
    };
    within(PATIENCE, ends).await;
    let lock = held(&*storage).await;
    assert_eq!((lock.jid.as_str(), lock.until), ("b", None));

    let long = LockedJob {
        lasts: Some(LASTS),
        ..take("c", None)
    };
    let mut other = long.clone();
    other.lock.id = LockId::from_bits(7);
    assert_new(&storage.enqueue_locked(&[other]).await[0]);
    let lock = storage.lock(LockId::from_bits(7)).await.unwrap().unwrap();
    assert!(lock.until > Some(lock.since), "{lock:?}");
    // First those that end.
    let locks = storage.locks(page(0, 10)).await.unwrap().locks;
    let ids: Vec<_> = locks.iter().map(|lock| lock.id).collect();
    assert_eq!(ids, [LockId::from_bits(7), ID]);
}

/// Locks are read in pages, and freed only as they were read. A job that waits for one then comes.
pub async fn locks_are_read_and_freed(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    assert_eq!(storage.locks(page(0, 10)).await.unwrap().locks, []);
    let ids: Vec<LockId> = (1..=5).map(LockId::from_bits).collect();
    for id in &ids {
        let mut locked = with(&format!("job {id}"), None, Conflict::KeepLast);
        locked.lock.id = *id;
        assert_new(&storage.enqueue_locked(&[locked]).await[0]);
    }
    let mut found = Vec::new();
    for offset in [0, 2, 4] {
        let locks = storage.locks(page(offset, 2)).await.unwrap();
        assert_eq!(locks.len, 5);
        found.extend(locks.locks);
    }
    assert_eq!(found.iter().map(|lock| lock.id).collect::<Vec<_>>(), ids);

    let read = found.remove(0);
    let mut last = with("last", None, Conflict::KeepLast);
    last.lock.id = read.id;
    assert_new(&storage.enqueue_locked(&[last]).await[0]);
    assert!(
        !storage.free_lock(&read).await.unwrap(),
        "it changed meanwhile"
    );
    let read = storage.lock(read.id).await.unwrap().unwrap();
    assert!(storage.free_lock(&read).await.unwrap());
    assert_eq!(fixture.queue_len().await, 6, "the job that waited came");
    let read = storage.lock(read.id).await.unwrap().unwrap();
    assert_eq!(read.jid.as_str(), "last");
    assert!(storage.free_lock(&read).await.unwrap());
    assert!(!storage.free_lock(&read).await.unwrap());
    assert_eq!(storage.lock(read.id).await.unwrap(), None);
    assert_eq!(storage.locks(page(0, 10)).await.unwrap().len, 4);
}

/// A lock that a step touched a moment ago is no suspect.
pub async fn a_fresh_lock_is_no_suspect(harness: &dyn Harness) {
    let storage = harness.storage();
    enqueue(&*storage, "a").await;
    let answers = storage.enqueue_locked(&[take("b", None)]).await;
    assert_duplicate(&answers[0], "a", &waiting());
    assert_eq!(storage.suspect().await.unwrap(), None);
    storage.clear_suspect(ID).await.unwrap();
}

/// A full backend refuses a new job and leaves no lock. A duplicate is found there, too.
// matrix: unique × full memory
pub async fn a_full_backend_takes_no_lock(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    let mut other = take("x", None);
    other.lock.id = LockId::from_bits(1);
    assert_new(&storage.enqueue_locked(std::slice::from_ref(&other)).await[0]);
    harness.fill().await;
    let before = harness.dump().await;
    for conflict in [Conflict::Skip, Conflict::KeepLast] {
        let answers = storage.enqueue_locked(&[with("a", None, conflict)]).await;
        let [Locked::Failed(error)] = &answers[..] else {
            panic!("{answers:?}");
        };
        assert_eq!(error.applied(), Applied::NotApplied);
        other.lock.jid = "y".into();
        let answers = storage.enqueue_locked(std::slice::from_ref(&other)).await;
        assert_duplicate(&answers[0], "x", &waiting());
    }
    assert_eq!(harness.dump().await, before);
    harness.make_room().await;
    enqueue(storage, "a").await;
}

/// A key of another type fails the enqueue of its job before the first write, and no other.
pub async fn a_broken_key_stops_the_enqueue(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    let mut other = take("x", Some(at(1)));
    other.lock.id = LockId::from_bits(1);
    for key in [Key::Lock(ID), Key::Queue(fixture.held.queue.clone())] {
        harness.break_key(&key).await;
        let answers = storage.enqueue_locked(&[take("a", None)]).await;
        let [Locked::Failed(error)] = &answers[..] else {
            panic!("{answers:?}");
        };
        assert_eq!(error.applied(), Applied::NotApplied);
        harness.mend_key(&key).await;
        assert_free(storage).await;
        assert_eq!(fixture.queued().await, bytes(&[]));
    }
    assert_new(&storage.enqueue_locked(&[other]).await[0]);
}

fn page(offset: usize, limit: usize) -> Page {
    Page { offset, limit }
}

/// The members of all sets.
async fn sets(fixture: &Fixture<'_>) -> Vec<Bytes> {
    let mut all = Vec::new();
    for set in [JobSet::Schedule, JobSet::Retry, JobSet::Dead] {
        all.extend(fixture.members(set).await.into_iter().map(|(_, job)| job));
    }
    all
}

/// Deletes a job, wherever it waits, and frees its lock.
async fn remove(fixture: &Fixture<'_>, jid: &str) {
    let delete = [Move {
        effects: unlock(jid).into(),
        ..Move::new(job(jid), MoveTarget::Delete)
    }];
    let sets = [JobSet::Schedule, JobSet::Retry, JobSet::Dead].map(Source::Set);
    let queue = Source::Queue(fixture.held.queue.clone());
    for place in sets.into_iter().chain([queue]) {
        fixture.storage.move_jobs(&place, &delete, None).await;
    }
}
