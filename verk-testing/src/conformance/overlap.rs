//! Ticks of the timetable whose job has a lock: [`LockedPush`].

use std::sync::Arc;

use bytes::Bytes;
use verk_core::{
    error::Applied,
    storage::{
        Conflict, CronTick, HolderPlace, JobSet, LockedJob, LockedPush, Settlement, Storage,
        StoredCron, Target, Ticked,
    },
};

use super::{
    Harness,
    cron::{entry, store, tick_of},
    fixture::{AT_0, Fixture, assert_done, assert_refused, at, bytes, due, job, queue_name},
    unique::{ID, assert_held, held, take, unlock, waiting},
};
use crate::{Key, Operation};

const SKIPPED: &[u8] = b"skipped";

async fn begin(harness: &dyn Harness) -> Fixture<'_> {
    let fixture = Fixture::new(harness).await;
    store(&*fixture.storage, "a", 60).await;
    fixture
}

fn with(jid: &str, on_conflict: Conflict) -> LockedJob {
    LockedJob {
        on_conflict,
        ..take(jid, None)
    }
}

/// The step after which the entry runs at `next`.
async fn step(storage: &dyn Storage, next: u64, job: LockedJob) -> CronTick {
    let was = stored(storage).await;
    CronTick {
        locked: Some(LockedPush {
            job,
            skipped: Bytes::from_static(SKIPPED),
        }),
        ..tick_of(&was, next, &[])
    }
}

async fn take_run(storage: &dyn Storage, next: u64, job: LockedJob) -> Ticked {
    let step = step(storage, next, job).await;
    storage.tick_cron("a", &step).await.unwrap()
}

async fn stored(storage: &dyn Storage) -> StoredCron {
    entry(storage, "a").await.expect("an entry")
}

fn skipped(jid: &str, place: HolderPlace) -> Ticked {
    Ticked::Skipped {
        jid: jid.into(),
        place,
    }
}

/// A run whose lock is free stores its job with the lock, in its queue or for later. While that job
/// has the lock, further runs are skipped, and the time moves on. After it, a run stores its job
/// again.
pub async fn a_run_is_skipped_while_its_lock_is_held(harness: &dyn Harness) {
    let mut fixture = begin(harness).await;
    let storage = &*Arc::clone(&fixture.storage);
    assert_eq!(take_run(storage, 70, take("1", None)).await, Ticked::Done);
    assert_held(storage, "1", &waiting()).await;
    assert_eq!(fixture.queued().await, bytes(&["1"]));
    assert_eq!(
        take_run(storage, 80, take("2", None)).await,
        skipped("1", waiting())
    );
    assert_eq!(fixture.dequeue(1).await, bytes(&["1"]));
    assert_eq!(
        take_run(storage, 90, take("3", None)).await,
        skipped("1", waiting())
    );
    let now = stored(storage).await;
    assert_eq!((now.next, now.runs, now.skipped), (Some(at(90)), 1, 2));
    let records: Vec<&[u8]> = now.last.iter().map(AsRef::as_ref).collect();
    assert_eq!(records, [SKIPPED, SKIPPED, b"to 70"]);
    assert_eq!(fixture.queued().await, bytes(&[]));

    end(&fixture, "1", Target::Ack).await;
    let later = take("4", Some(at(95)));
    assert_eq!(take_run(storage, 100, later).await, Ticked::Done);
    let place = HolderPlace::Scheduled(at(95));
    assert_held(storage, "4", &place).await;
    assert_eq!(
        take_run(storage, 110, take("5", None)).await,
        skipped("4", place)
    );
    assert_eq!(stored(storage).await.runs, 2);
}

/// With `QueueOne` the first run that meets the lock waits for it, and further ones are skipped. It
/// comes when the lock is freed.
pub async fn one_run_waits_for_the_lock(harness: &dyn Harness) {
    let fixture = one_waits_until(harness, Target::Ack).await;
    assert_eq!(fixture.set_len(JobSet::Retry).await, 0);
}

/// It also comes when the job that has the lock failed, which then runs again without the lock.
pub async fn one_run_waits_for_a_job_that_fails(harness: &dyn Harness) {
    let fixture = one_waits_until(harness, Target::Retry(due(200, "1"))).await;
    let retried = fixture.members(JobSet::Retry).await;
    assert_eq!(retried, [(AT_0 + 200.0, job("1"))]);
}

async fn one_waits_until(harness: &dyn Harness, target: Target) -> Fixture<'_> {
    let mut fixture = begin(harness).await;
    let storage = &*Arc::clone(&fixture.storage);
    let wait = |jid| with(jid, Conflict::QueueOne);
    assert_eq!(take_run(storage, 70, wait("1")).await, Ticked::Done);
    assert_eq!(fixture.dequeue(1).await, bytes(&["1"]));
    assert_eq!(take_run(storage, 80, wait("2")).await, Ticked::Done);
    let next = Some(("2".into(), queue_name("default")));
    assert_eq!(held(storage).await.next, next);
    let third = take_run(storage, 90, wait("3")).await;
    assert_eq!(third, skipped("1", waiting()));
    let now = stored(storage).await;
    assert_eq!((now.runs, now.skipped), (2, 1));
    assert_eq!(fixture.queued().await, bytes(&[]));

    end(&fixture, "1", target).await;
    assert_held(storage, "2", &waiting()).await;
    assert_eq!(fixture.queued().await, bytes(&["2"]));
    assert_eq!(held(storage).await.next, None);
    fixture
}

/// A run of a job ends, which frees its lock.
async fn end(fixture: &Fixture<'_>, jid: &str, to: Target) {
    let ended = Settlement {
        effects: unlock(jid).into(),
        ..Settlement::new(job(jid), to)
    };
    assert_done(&fixture.settle_each(&[ended]).await);
}

/// A run does not wait for a job that is for later, or that is in another queue.
pub async fn no_run_waits_for_a_job_elsewhere(harness: &dyn Harness) {
    let fixture = begin(harness).await;
    let storage = &*fixture.storage;
    let later = LockedJob {
        at: Some(at(65)),
        ..with("1", Conflict::QueueOne)
    };
    assert_eq!(take_run(storage, 70, later).await, Ticked::Done);
    let place = HolderPlace::Scheduled(at(65));
    for conflict in [Conflict::QueueOne, Conflict::Skip] {
        let run = take_run(storage, 80, with("2", conflict)).await;
        assert_eq!(run, skipped("1", place.clone()));
    }
    let lock = held(storage).await;
    assert!(storage.free_lock(&lock).await.unwrap());

    assert_eq!(take_run(storage, 90, take("3", None)).await, Ticked::Done);
    for conflict in [Conflict::QueueOne, Conflict::KeepLast] {
        let mut elsewhere = with("4", conflict);
        elsewhere.lock.queue = queue_name("mailers");
        let run = take_run(storage, 100, elsewhere).await;
        assert_eq!(run, skipped("3", waiting()), "{conflict:?}");
    }
    assert_eq!(held(storage).await.next, None);
    assert_eq!(stored(storage).await.skipped, 4);
}

/// A run of a unique class may replace the job that has the lock.
pub async fn a_run_replaces_a_job(harness: &dyn Harness) {
    let fixture = begin(harness).await;
    let storage = &*fixture.storage;
    let replace = |jid| with(jid, Conflict::Replace { max_wait: None });
    assert_eq!(take_run(storage, 70, replace("1")).await, Ticked::Done);
    assert_eq!(take_run(storage, 80, replace("2")).await, Ticked::Done);
    assert_held(storage, "2", &waiting()).await;
    assert_eq!(fixture.queued().await, bytes(&["2"]));
    assert_eq!(stored(storage).await.runs, 2);
}

/// A run whose job cannot be stored changes nothing. Neither does one that is taken twice.
// matrix: cron × lost reply
pub async fn a_run_takes_its_lock_or_nothing(harness: &dyn Harness) {
    let fixture = begin(harness).await;
    let storage = &*fixture.storage;
    let first = step(storage, 70, take("1", None)).await;
    for key in [Key::Lock(ID), Key::Queue(queue_name("default"))] {
        harness.break_key(&key).await;
        let before = harness.dump().await;
        let refused = storage.tick_cron("a", &first).await;
        assert_refused(refused, Applied::NotApplied);
        assert_eq!(harness.dump().await, before);
        harness.mend_key(&key).await;
    }
    assert_eq!(storage.tick_cron("a", &first).await.unwrap(), Ticked::Done);
    let before = harness.dump().await;
    assert_eq!(
        storage.tick_cron("a", &first).await.unwrap(),
        Ticked::Differs
    );
    assert_eq!(harness.dump().await, before);

    let lost = step(storage, 80, take("2", None)).await;
    harness.lose_reply(Operation::TickCron).await;
    let answer = storage.tick_cron("a", &lost).await;
    assert_refused(answer, Applied::Unknown);
    let now = stored(storage).await;
    assert_eq!((now.next, now.skipped), (Some(at(80)), 1));
    assert_eq!(fixture.queued().await, bytes(&["1"]));
}

/// A full backend refuses a run that takes a lock or waits for it, and takes one that is skipped.
// matrix: cron × full memory
pub async fn a_full_backend_skips(harness: &dyn Harness) {
    let fixture = begin(harness).await;
    let storage = &*fixture.storage;
    let first = step(storage, 70, take("1", None)).await;
    harness.fill().await;
    let before = harness.dump().await;
    let refused = storage.tick_cron("a", &first).await;
    assert_refused(refused, Applied::NotApplied);
    assert_eq!(harness.dump().await, before);
    harness.make_room().await;

    assert_eq!(storage.tick_cron("a", &first).await.unwrap(), Ticked::Done);
    let waits = step(storage, 80, with("2", Conflict::QueueOne)).await;
    let skips = step(storage, 80, take("2", None)).await;
    harness.fill().await;
    let before = harness.dump().await;
    let refused = storage.tick_cron("a", &waits).await;
    assert_refused(refused, Applied::NotApplied);
    assert_eq!(harness.dump().await, before);
    assert_eq!(
        storage.tick_cron("a", &skips).await.unwrap(),
        skipped("1", waiting())
    );
    assert_eq!(stored(storage).await.next, Some(at(80)));
    harness.make_room().await;
}
