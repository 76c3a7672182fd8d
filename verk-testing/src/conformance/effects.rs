//! What the steps of a job do to its unique lock: each effect with each transition.

use bytes::Bytes;
use verk_core::{
    error::Applied,
    storage::{
        Cleared, Conflict, DueSet, Effect, Effects, HolderPlace, JobSet, Locked, LockedJob, Move,
        MoveTarget, Settled, Settlement, Source, Storage, StoredLock, Target,
    },
};

use super::{
    Harness,
    fixture::{Fixture, NO_LIMITS, assert_done, at, bytes, due, job, look, queue_name},
    unique::{
        ID, assert_free, assert_held, enqueue, followed, held, hold, lock_of, new_lock, of_job,
        take, unlock, waiting,
    },
};
use crate::Key;

/// A step of a job that a node holds, its effects, and the place of the lock after it.
fn settlements() -> Vec<(Target, Vec<Effect>, Option<HolderPlace>)> {
    let dead = || Target::Dead {
        job: due(3, "dead"),
        limits: NO_LIMITS,
    };
    let (retrying, scheduled) = (HolderPlace::Retrying(at(1)), HolderPlace::Scheduled(at(2)));
    vec![
        (Target::Ack, vec![unlock("a")], None),
        (Target::Ack, vec![], Some(waiting())),
        (Target::Requeue, vec![], Some(waiting())),
        (
            Target::Retry(due(1, "retry")),
            vec![followed("a", &retrying)],
            Some(retrying),
        ),
        (
            Target::Schedule(due(2, "later")),
            vec![followed("a", &scheduled)],
            Some(scheduled),
        ),
        (dead(), vec![unlock("a")], None),
        (dead(), vec![hold("a", 3)], Some(HolderPlace::Dead(at(3)))),
        // Of a job that does not have the lock.
        (Target::Ack, vec![unlock("b")], Some(waiting())),
        (dead(), vec![hold("b", 3)], Some(waiting())),
        (
            Target::Retry(due(1, "retry")),
            vec![followed("b", &HolderPlace::Retrying(at(1)))],
            Some(waiting()),
        ),
    ]
}

async fn assert_lock(storage: &dyn Storage, place: Option<&HolderPlace>) {
    match place {
        Some(place) => assert_held(storage, "a", place).await,
        None => assert_free(storage).await,
    }
}

/// The effects of a settlement happen in its step, alone or on the way of a fetch, and also when
/// another node restores the job.
// matrix: unique × retry, unique × snooze, unique × restore, unique × dead
pub async fn each_settlement_has_its_effects(harness: &dyn Harness) {
    for (step, (to, effects, place)) in settlements().into_iter().enumerate() {
        for way in 0..3 {
            if way == 1 && to == Target::Requeue {
                continue;
            }
            let mut fixture = Fixture::new(harness).await;
            enqueue(&*fixture.storage, "a").await;
            assert_eq!(fixture.dequeue(10).await, bytes(&["a"]), "{step}");
            let settlement = Settlement {
                effects: effects.clone().into(),
                ..Settlement::new(job("a"), to.clone())
            };
            let settlements = [settlement];
            let settled = match way {
                0 => fixture.settle_each(&settlements).await,
                1 => {
                    let connection = &mut fixture.connection;
                    connection
                        .settle_and_dequeue(&settlements, &look(0))
                        .await
                        .0
                }
                _ => {
                    harness.expire_heartbeat(&fixture.held.node).await;
                    fixture.storage.restore(&fixture.held, &settlements).await
                }
            };
            assert_done(&settled);
            assert_lock(&*fixture.storage, place.as_ref()).await;
            // A second time, the node does not hold the job, and nothing happens.
            let before = harness.dump().await;
            let settled = fixture.settle_each(&settlements).await;
            assert!(matches!(settled[..], [Settled::NotHeld]), "{settled:?}");
            assert_eq!(harness.dump().await, before, "{step}, {way}");
            clean(&fixture).await;
        }
    }
}

/// A move of a waiting job, its effects, and the place of the lock after it.
fn moves() -> Vec<(MoveTarget, Vec<Effect>, Option<HolderPlace>)> {
    let dead = || MoveTarget::Dead {
        job: due(3, "dead"),
        limits: NO_LIMITS,
    };
    let other = queue_name("other");
    let elsewhere = HolderPlace::Waiting {
        queue: other.clone(),
    };
    let to_queue = MoveTarget::Queue {
        queue: other,
        job: job("a, moved"),
    };
    let retrying = HolderPlace::Retrying(at(1));
    let to_set = MoveTarget::Set {
        set: verk_core::storage::DueSet::Retry,
        job: due(1, "a, later"),
    };
    vec![
        (MoveTarget::Delete, vec![unlock("a")], None),
        (MoveTarget::Delete, vec![unlock("b")], Some(waiting())),
        (dead(), vec![unlock("a")], None),
        (dead(), vec![hold("a", 3)], Some(HolderPlace::Dead(at(3)))),
        (
            to_queue.clone(),
            vec![followed("a", &elsewhere)],
            Some(elsewhere),
        ),
        (to_queue, vec![unlock("a")], None),
        (to_set, vec![followed("a", &retrying)], Some(retrying)),
        (
            MoveTarget::Replace {
                job: job("a, edited"),
            },
            vec![Effect::Relock {
                lock: of_job("a"),
                place: None,
                payload: Some(job("a, edited")),
            }],
            Some(waiting()),
        ),
    ]
}

/// The effects of a move happen in its step, and not when the job is not in its place.
// matrix: unique × operator
pub async fn each_move_has_its_effects(harness: &dyn Harness) {
    for (step, (to, effects, place)) in moves().into_iter().enumerate() {
        let fixture = Fixture::new(harness).await;
        let from = Source::Queue(fixture.held.queue.clone());
        enqueue(&*fixture.storage, "a").await;
        let gone = Move {
            effects: effects.clone().into(),
            ..Move::new(job("gone"), to.clone())
        };
        let moved = fixture.storage.move_jobs(&from, &[gone], None).await;
        assert!(matches!(moved[..], [Settled::NotHeld]), "{step}: {moved:?}");
        assert_held(&*fixture.storage, "a", &waiting()).await;
        let step_of = Move {
            effects: effects.into(),
            ..Move::new(job("a"), to)
        };
        let moved = fixture.storage.move_jobs(&from, &[step_of], None).await;
        assert!(matches!(moved[..], [Settled::Done]), "{step}: {moved:?}");
        assert_lock(&*fixture.storage, place.as_ref()).await;
        clean(&fixture).await;
    }

    // Nor does the job come that waits for the lock.
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    enqueue(storage, "a").await;
    let next = LockedJob {
        on_conflict: Conflict::KeepLast,
        ..take("b", None)
    };
    let answer = storage.enqueue_locked(&[next]).await;
    assert!(matches!(answer[..], [Locked::New]), "{answer:?}");
    let gone = Move {
        effects: followed("a", &HolderPlace::Scheduled(at(9))).into(),
        ..Move::new(
            job("gone"),
            MoveTarget::Set {
                set: DueSet::Schedule,
                job: due(9, "later"),
            },
        )
    };
    let from = Source::Queue(fixture.held.queue.clone());
    let moved = storage.move_jobs(&from, &[gone], None).await;
    assert!(matches!(moved[..], [Settled::NotHeld]), "{moved:?}");
    assert_held(storage, "a", &waiting()).await;
    assert_eq!(fixture.queued().await, bytes(&["a"]));
}

/// A due job that is moved to its queue keeps its lock, or frees it; one that is not due changes
/// nothing.
// matrix: unique × schedule, debounce × schedule
pub async fn a_promotion_has_its_effects(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    let from = Source::Set(JobSet::Schedule);
    let to = || MoveTarget::Queue {
        queue: fixture.held.queue.clone(),
        job: job("a"),
    };
    let scheduled = HolderPlace::Scheduled(at(5));
    for (effect, place) in [
        (followed("a", &waiting()), Some(waiting())),
        (unlock("a"), None),
    ] {
        let answer = storage.enqueue_locked(&[take("a", Some(at(5)))]).await;
        assert!(matches!(answer[..], [Locked::New]), "{answer:?}");
        assert_held(storage, "a", &scheduled).await;
        let step = [Move {
            effects: effect.into(),
            ..Move::new(job("a"), to())
        }];
        let moved = storage.move_jobs(&from, &step, Some(at(4))).await;
        assert!(matches!(moved[..], [Settled::NotHeld]), "{moved:?}");
        assert_held(storage, "a", &scheduled).await;
        let moved = storage.move_jobs(&from, &step, Some(at(5))).await;
        assert!(matches!(moved[..], [Settled::Done]), "{moved:?}");
        assert_lock(storage, place.as_ref()).await;
        clean(&fixture).await;
    }
}

/// A batch in which one of many finished jobs has an effect: all are acknowledged, those that are
/// not held too, and the lock is freed only with its job.
pub async fn one_job_of_a_batch_has_an_effect(harness: &dyn Harness) {
    for is_held in [true, false] {
        for others in [1, 2, 60] {
            let mut fixture = Fixture::new(harness).await;
            let plain: Vec<Bytes> = (0..others).map(|n| job(&format!("plain {n}"))).collect();
            fixture.enqueue_bytes(&plain).await;
            enqueue(&*fixture.storage, "a").await;
            let mut settlements: Vec<_> = plain
                .iter()
                .map(|held| Settlement::new(held.clone(), Target::Ack))
                .collect();
            assert_eq!(fixture.dequeue(100).await.len(), others + 1);
            let mine = if is_held { "a" } else { "not held" };
            settlements.push(Settlement {
                effects: unlock("a").into(),
                ..Settlement::new(job(mine), Target::Ack)
            });
            let settled = fixture.settle_each(&settlements).await;
            assert_done(&settled[..others]);
            if is_held {
                assert_done(&settled[others..]);
                assert_free(&*fixture.storage).await;
            } else {
                assert!(matches!(settled[others], Settled::NotHeld));
                assert_held(&*fixture.storage, "a", &waiting()).await;
            }
            clean(&fixture).await;
        }
    }
}

/// A lock that is no lock fails the step of its job before the first write. The other jobs of the
/// batch are settled.
pub async fn a_broken_lock_stops_the_step_of_its_job(harness: &dyn Harness) {
    let targets = settlements()
        .into_iter()
        .filter(|(_, effects, _)| !effects.is_empty());
    for (to, effects, _) in targets {
        let mut fixture = Fixture::new(harness).await;
        enqueue(&*fixture.storage, "a").await;
        fixture.enqueue(&["plain"]).await;
        assert_eq!(fixture.dequeue(10).await, bytes(&["a", "plain"]));
        harness.break_key(&Key::Lock(ID)).await;
        let mine = Settlement {
            effects: effects.into(),
            ..Settlement::new(job("a"), to)
        };
        let plain = Settlement::new(job("plain"), Target::Ack);
        let settled = fixture.settle_each(&[mine.clone(), plain]).await;
        super::fixture::assert_failed(&settled[0], Applied::NotApplied);
        assert_done(&settled[1..]);
        assert_eq!(fixture.in_progress().await, bytes(&["a"]));
        harness.mend_key(&Key::Lock(ID)).await;
        assert_done(&fixture.settle_each(&[mine]).await);
        clean(&fixture).await;
    }
}

/// A full backend frees and follows locks.
// matrix: unique × full memory
pub async fn a_full_backend_has_effects(harness: &dyn Harness) {
    for (to, effects, place) in settlements() {
        let mut fixture = Fixture::new(harness).await;
        enqueue(&*fixture.storage, "a").await;
        assert_eq!(fixture.dequeue(10).await, bytes(&["a"]));
        harness.fill().await;
        let settlement = Settlement {
            effects: effects.into(),
            ..Settlement::new(job("a"), to)
        };
        assert_done(&fixture.settle_each(&[settlement]).await);
        assert_lock(&*fixture.storage, place.as_ref()).await;
        harness.make_room().await;
        clean(&fixture).await;
    }
}

/// A job that leaves the dead set takes its lock again, unless another job has it.
pub async fn a_dead_job_takes_its_lock_again(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    let dead = Source::Set(JobSet::Dead);
    let revive = || {
        [Move {
            effects: Effects::from(Effect::Lock {
                lock: of_job("a"),
                place: waiting(),
                new: new_lock(),
            }),
            ..Move::new(
                job("a"),
                MoveTarget::Queue {
                    queue: fixture.held.queue.clone(),
                    job: job("a"),
                },
            )
        }]
    };
    let bury = async |effect: Effect| {
        let to = Target::Dead {
            job: due(3, "a"),
            limits: NO_LIMITS,
        };
        let settlement = Settlement {
            effects: effect.into(),
            ..Settlement::new(job("a"), to)
        };
        assert_done(&storage.settle(&fixture.held, &[settlement]).await);
    };
    let mut connection = storage.open_queue(&fixture.held).await.unwrap();
    enqueue(storage, "a").await;
    connection.dequeue(look(10)).await.unwrap();
    bury(unlock("a")).await;

    // Another job has the lock.
    enqueue(storage, "b").await;
    let before = harness.dump().await;
    let moved = storage.move_jobs(&dead, &revive(), None).await;
    assert!(
        matches!(&moved[..], [Settled::Conflict { jid }] if jid.as_str() == "b"),
        "{moved:?}"
    );
    assert_eq!(harness.dump().await, before);

    // It is free.
    let from = Source::Queue(fixture.held.queue.clone());
    let delete = [Move {
        effects: unlock("b").into(),
        ..Move::new(job("b"), MoveTarget::Delete)
    }];
    storage.move_jobs(&from, &delete, None).await;
    let moved = storage.move_jobs(&dead, &revive(), None).await;
    assert!(matches!(moved[..], [Settled::Done]), "{moved:?}");
    assert_held(storage, "a", &waiting()).await;

    // The dead job has kept it, for a time that ends.
    connection.dequeue(look(10)).await.unwrap();
    bury(hold("a", 3)).await;
    let kept = held(storage).await;
    assert!(kept.until.is_some(), "{kept:?}");
    let moved = storage.move_jobs(&dead, &revive(), None).await;
    assert!(matches!(moved[..], [Settled::Done]), "{moved:?}");
    let taken = held(storage).await;
    assert_eq!((taken.until, taken.place), (None, waiting()));
}

/// The effects of a start happen only while the node holds the job, which stays.
pub async fn a_start_has_its_effects(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    enqueue(&*fixture.storage, "a").await;
    let effects = [unlock("a")];
    let storage = fixture.storage.clone();
    let begun = storage.begin(&fixture.held, &job("a"), &effects).await;
    assert!(matches!(begun, Settled::NotHeld), "{begun:?}");
    assert_held(&*storage, "a", &waiting()).await;
    fixture.dequeue(10).await;
    for _ in 0..2 {
        let begun = storage.begin(&fixture.held, &job("a"), &effects).await;
        assert!(matches!(begun, Settled::Done), "{begun:?}");
        assert_free(&*storage).await;
        assert_eq!(fixture.in_progress().await, bytes(&["a"]));
    }
    enqueue(&*storage, "b").await;
    let begun = storage.begin(&fixture.held, &job("a"), &effects).await;
    assert!(matches!(begun, Settled::Done), "{begun:?}");
    assert_held(&*storage, "b", &waiting()).await;
}

/// A place with jobs that may have locks is not cleared at once, unless it is empty.
pub async fn a_clear_leaves_jobs_with_effects(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let queue = Source::Queue(fixture.held.queue.clone());
    let storage = fixture.storage.clone();
    fixture.enqueue(&["plain"]).await;
    assert_eq!(storage.clear(&queue).await.unwrap(), Cleared::Jobs(1));
    enqueue(&*storage, "a").await;
    let before = harness.dump().await;
    assert_eq!(storage.clear(&queue).await.unwrap(), Cleared::HasEffects);
    assert_eq!(harness.dump().await, before);

    // A job that comes back to the queue frees its lock at the next clear, too.
    assert_eq!(fixture.dequeue(10).await, bytes(&["a"]));
    assert_eq!(storage.clear(&queue).await.unwrap(), Cleared::Jobs(0));
    assert_done(&fixture.settle(&["a"], Target::Requeue).await);
    assert_eq!(storage.clear(&queue).await.unwrap(), Cleared::HasEffects);
    let delete = [Move {
        effects: unlock("a").into(),
        ..Move::new(job("a"), MoveTarget::Delete)
    }];
    assert_done(&storage.move_jobs(&queue, &delete, None).await);
    assert_eq!(storage.clear(&queue).await.unwrap(), Cleared::Jobs(0));

    // Without a lock anywhere, a place that was empty is plain again.
    fixture.enqueue(&["plain"]).await;
    assert_eq!(storage.clear(&queue).await.unwrap(), Cleared::Jobs(1));
}

/// Each set that a job with a lock went to is left to steps of its jobs, too.
pub async fn a_clear_of_a_set_leaves_jobs_with_effects(harness: &dyn Harness) {
    for (to, effects, place) in settlements() {
        let set = match &to {
            Target::Retry(_) => JobSet::Retry,
            Target::Schedule(_) => JobSet::Schedule,
            Target::Dead { .. } => JobSet::Dead,
            Target::Ack | Target::Requeue => continue,
        };
        let is_marked = place.is_some_and(|place| place != waiting());
        let mut fixture = Fixture::new(harness).await;
        enqueue(&*fixture.storage, "a").await;
        fixture.dequeue(10).await;
        let settlement = Settlement {
            effects: effects.into(),
            ..Settlement::new(job("a"), to)
        };
        assert_done(&fixture.settle_each(&[settlement]).await);
        let cleared = fixture.storage.clear(&Source::Set(set)).await.unwrap();
        let is_left = cleared == Cleared::HasEffects;
        assert!(is_left || !is_marked, "{set:?}: {cleared:?}");
        clean(&fixture).await;
    }
}

/// Removes every job and every lock.
async fn clean(fixture: &Fixture<'_>) {
    let storage = &*fixture.storage;
    let held = fixture.in_progress().await;
    let acks: Vec<_> = (held.into_iter())
        .map(|held| Settlement::new(held, Target::Ack))
        .collect();
    storage.settle(&fixture.held, &acks).await;
    let lock: Option<StoredLock> = lock_of(storage).await;
    if let Some(lock) = lock {
        assert!(storage.free_lock(&lock).await.unwrap(), "{lock:?}");
    }
    let sets = [JobSet::Schedule, JobSet::Retry, JobSet::Dead].map(Source::Set);
    let queues = ["default", "other"].map(|name| Source::Queue(queue_name(name)));
    for place in sets.into_iter().chain(queues) {
        let all = storage.list(&place, &Default::default()).await.unwrap();
        let delete: Vec<_> = (all.jobs.into_iter())
            .map(|waiting| Move::new(waiting.job, MoveTarget::Delete))
            .collect();
        storage.move_jobs(&place, &delete, None).await;
        assert_eq!(storage.clear(&place).await.unwrap(), Cleared::Jobs(0));
    }
}
