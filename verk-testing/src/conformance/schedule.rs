//! Jobs become due: [`JobStore::schedule`](verk_core::storage::JobStore::schedule),
//! [`due`](verk_core::storage::DueStore::due) and
//! [`move_jobs`](verk_core::storage::WaitingStore::move_jobs), on both sets.

use bytes::Bytes;
use verk_core::{
    storage::{Due, DuePage, DueSet, JobSet, Move, MoveTarget, Page, Settled, Source, Target},
    time::unix_seconds,
};

use super::{
    Harness, ScoredJob,
    fixture::{
        ALL, AT_0, Fixture, NO_LIMITS, assert_done, assert_not_held, at, bytes, dequeue_while, due,
        first, job, members, numbered, of_many_sizes, promote, queue_name, queue_page,
        read_in_pages, settlement,
    },
};

/// Scheduled jobs are in the set with their times.
pub async fn scheduled_jobs_are_ordered_by_time(harness: &dyn Harness) {
    let storage = harness.storage();
    let merged = storage
        .schedule(&[due(2, "b"), due(1, "a"), due(3, "c")])
        .await;
    assert_eq!(merged.unwrap(), 0);
    assert_eq!(
        members(&*storage, JobSet::Schedule).await,
        [
            (AT_0 + 1.0, job("a")),
            (AT_0 + 2.0, job("b")),
            (AT_0 + 3.0, job("c"))
        ]
    );
}

/// Equal bytes are one member with the last time, and the answer says how many were merged.
pub async fn equal_scheduled_jobs_are_merged(harness: &dyn Harness) {
    let storage = harness.storage();
    assert_eq!(storage.schedule(&[due(1, "a")]).await.unwrap(), 0);
    let merged = storage
        .schedule(&[due(5, "a"), due(2, "b"), due(3, "b")])
        .await;
    assert_eq!(merged.unwrap(), 2);
    assert_eq!(
        members(&*storage, JobSet::Schedule).await,
        [(AT_0 + 3.0, job("b")), (AT_0 + 5.0, job("a"))]
    );
}

/// Nothing happens for no jobs.
pub async fn an_empty_schedule_changes_nothing(harness: &dyn Harness) {
    let storage = harness.storage();
    let before = harness.dump().await;
    assert_eq!(storage.schedule(&[]).await.unwrap(), 0);
    assert_eq!(harness.dump().await, before);
}

/// Many jobs are scheduled in one call.
pub async fn many_jobs_are_scheduled(harness: &dyn Harness) {
    let storage = harness.storage();
    let jobs: Vec<Due> = numbered(2_500)
        .into_iter()
        .map(|job| Due { at: at(1), job })
        .collect();
    assert_eq!(storage.schedule(&jobs).await.unwrap(), 0);
    assert_eq!(
        storage.len(&Source::Set(JobSet::Schedule)).await.unwrap(),
        2_500
    );
}

/// Only what is due is read, the earliest first, with the time of the next; nothing changes.
pub async fn due_reads_only_what_is_due(harness: &dyn Harness) {
    for set in [DueSet::Schedule, DueSet::Retry] {
        let storage = harness.storage();
        assert_eq!(
            storage.due(set, at(100), first(10)).await.unwrap(),
            DuePage::default(),
            "an empty set"
        );
        fill(harness, set, &[(20, "b"), (10, "a"), (30, "c")]).await;
        let before = harness.dump().await;

        for (now, offset, limit, expected, next) in [
            (9, 0, 10, &[][..], Some(10)),
            (10, 0, 10, &["a"], Some(20)),
            (25, 0, 10, &["a", "b"], Some(30)),
            (25, 0, 1, &["a"], Some(20)),
            (30, 0, 3, &["a", "b", "c"], None),
            (40, 0, 2, &["a", "b"], Some(30)),
            (25, 1, 10, &["b"], Some(30)),
            (25, 2, 10, &[], Some(30)),
            (40, 3, 10, &[], None),
        ] {
            let page = storage
                .due(set, at(now), Page { offset, limit })
                .await
                .unwrap();
            let expected = DuePage {
                jobs: bytes(expected),
                next: next.map(at),
            };
            assert_eq!(page, expected, "{set:?} at {now}, {limit} from {offset}");
        }
        assert_eq!(harness.dump().await, before);
    }
}

/// At the same time, the order is that of the bytes.
pub async fn due_at_the_same_time_is_ordered_by_bytes(harness: &dyn Harness) {
    fill(harness, DueSet::Retry, &[(1, "b"), (1, "a"), (1, "c")]).await;
    let page = harness.storage().due(DueSet::Retry, at(1), first(10)).await;
    assert_eq!(page.unwrap().jobs, bytes(&["a", "b", "c"]));
}

/// Scores of other programs may be any number: infinite, negative, milliseconds.
pub async fn any_score_can_be_read(harness: &dyn Harness) {
    let storage = harness.storage();
    for (score, payload) in [
        (f64::NEG_INFINITY, "a"),
        (-1.5, "b"),
        (0.0, "c"),
        (AT_0 * 1_000.0, "d"),
        (f64::INFINITY, "e"),
    ] {
        let job = job(payload);
        harness
            .add_member(JobSet::Retry, ScoredJob { score, job })
            .await;
    }
    let page = storage.due(DueSet::Retry, at(0), first(10)).await.unwrap();
    assert_eq!(page.jobs, bytes(&["a", "b", "c"]));
    assert!(page.next > Some(at(1_000_000)), "{page:?}");
    assert_eq!(members(&*storage, JobSet::Retry).await.len(), 5);

    let settled = promote(&*storage, DueSet::Retry, at(0), &["a", "e"].map(to_default)).await;
    assert!(
        matches!(settled[..], [Settled::Done, Settled::NotHeld]),
        "{settled:?}"
    );
}

/// A due job goes to the back of its queue with its new payload, and the queue becomes known.
pub async fn promote_moves_to_the_back_of_the_queue(harness: &dyn Harness) {
    for set in [DueSet::Schedule, DueSet::Retry] {
        let mut fixture = Fixture::on_queue(harness, &format!("queue of {set:?}")).await;
        fill(harness, set, &[(1, "a"), (2, "b")]).await;
        let queue = fixture.held.queue.clone();
        let promotions = [("a", "a, enqueued"), ("b", "b, enqueued")].map(|(held, enqueued)| {
            Move::new(
                job(held),
                MoveTarget::Queue {
                    queue: queue.clone(),
                    job: job(enqueued),
                },
            )
        });
        assert_done(&promote(&*fixture.storage, set, at(2), &promotions).await);

        assert!(fixture.storage.queues().await.unwrap().contains(&queue));
        assert_eq!(fixture.set_len(set.into()).await, 0);
        fixture.enqueue(&["c"]).await;
        assert_eq!(
            fixture.dequeue(10).await,
            bytes(&["a, enqueued", "b, enqueued", "c"])
        );
    }
}

/// A promotion wakes a fetch that waits.
pub async fn a_promotion_wakes_a_dequeue(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fill(harness, DueSet::Schedule, &[(1, "a")]).await;
    let fetched = dequeue_while(&mut fixture, async |storage| {
        let promotions = [to_default("a")];
        assert_done(&promote(storage, DueSet::Schedule, at(1), &promotions).await);
    })
    .await;
    assert_eq!(fetched, bytes(&["a"]));
}

/// What is not due stays, whatever the caller thinks.
pub async fn promote_leaves_what_is_not_due(harness: &dyn Harness) {
    let storage = harness.storage();
    fill(harness, DueSet::Schedule, &[(10, "a")]).await;
    let before = harness.dump().await;
    let settled = promote(&*storage, DueSet::Schedule, at(9), &[to_default("a")]).await;
    assert_not_held(&settled);
    assert_eq!(harness.dump().await, before);
}

/// Promoting a second time changes nothing.
pub async fn promoting_twice_is_not_held(harness: &dyn Harness) {
    let storage = harness.storage();
    fill(harness, DueSet::Retry, &[(1, "a"), (1, "b")]).await;
    let settled = promote(&*storage, DueSet::Retry, at(1), &[to_default("a")]).await;
    assert_done(&settled);

    let before = harness.dump().await;
    let settled = promote(&*storage, DueSet::Retry, at(1), &[to_default("a")]).await;
    assert_not_held(&settled);
    assert_eq!(harness.dump().await, before);

    let settled = promote(&*storage, DueSet::Retry, at(1), &["b", "b"].map(to_default)).await;
    assert!(
        matches!(settled[..], [Settled::Done, Settled::NotHeld]),
        "twice in one batch: {settled:?}"
    );
    let queued = storage.len(&Source::Queue(queue_name("default"))).await;
    assert_eq!(queued.unwrap(), 2);
}

/// Several who promote the same members at once: each member is promoted once.
pub async fn promoting_at_once_is_done_once(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let storage = harness.storage();
    let all = numbered(50);
    let scheduled: Vec<Due> = all
        .iter()
        .map(|job| Due {
            at: at(1),
            job: job.clone(),
        })
        .collect();
    storage.schedule(&scheduled).await.unwrap();
    let promotions: Vec<Move> = all
        .iter()
        .map(|job| {
            Move::new(
                job.clone(),
                MoveTarget::Queue {
                    queue: fixture.held.queue.clone(),
                    job: job.clone(),
                },
            )
        })
        .collect();
    let promote = || promote(&*storage, DueSet::Schedule, at(1), &promotions);
    let (first, second, third) = tokio::join!(promote(), promote(), promote());
    let done = [first, second, third]
        .concat()
        .iter()
        .filter(|settled| matches!(settled, Settled::Done))
        .count();
    assert_eq!(done, all.len());
    let mut promoted = fixture.dequeue_all().await;
    promoted.sort();
    let mut expected = all;
    expected.sort();
    assert_eq!(promoted, expected);
}

/// A member of one set is none of the other.
pub async fn promote_takes_from_its_own_set(harness: &dyn Harness) {
    fill(harness, DueSet::Retry, &[(1, "a")]).await;
    let settled = promote(
        &*harness.storage(),
        DueSet::Schedule,
        at(1),
        &[to_default("a")],
    )
    .await;
    assert_not_held(&settled);
}

/// Different members may become equal jobs: a list holds both.
pub async fn promotions_to_equal_jobs_are_kept_apart(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fill(harness, DueSet::Schedule, &[(1, "a"), (2, "b")]).await;
    let promotions = ["a", "b"].map(|held| {
        Move::new(
            job(held),
            MoveTarget::Queue {
                queue: fixture.held.queue.clone(),
                job: job("same"),
            },
        )
    });
    let settled = promote(&*fixture.storage, DueSet::Schedule, at(2), &promotions).await;
    assert_done(&settled);
    assert_eq!(fixture.dequeue(10).await, bytes(&["same", "same"]));
}

/// A member that names no queue goes to the dead set, and is not polled again.
pub async fn a_member_without_a_queue_goes_to_dead(harness: &dyn Harness) {
    let storage = harness.storage();
    let odd = Bytes::from_static(b"\xff not JSON");
    let scheduled = Due {
        at: at(1),
        job: odd.clone(),
    };
    storage.schedule(&[scheduled]).await.unwrap();
    let bury = |payload: &Bytes| {
        Move::new(
            payload.clone(),
            MoveTarget::Dead {
                job: Due {
                    at: at(9),
                    job: payload.clone(),
                },
                limits: NO_LIMITS,
            },
        )
    };
    let settled = promote(&*storage, DueSet::Schedule, at(5), &[bury(&odd)]).await;
    assert_done(&settled);
    assert_eq!(
        storage
            .due(DueSet::Schedule, at(5), first(10))
            .await
            .unwrap(),
        DuePage::default()
    );
    assert_eq!(
        members(&*storage, JobSet::Dead).await,
        [(AT_0 + 9.0, odd.clone())]
    );

    fill(harness, DueSet::Retry, &[(1, "a")]).await;
    let merging = Move {
        held: job("a"),
        ..bury(&odd)
    };
    let settled = promote(&*storage, DueSet::Retry, at(5), &[merging]).await;
    assert!(matches!(settled[..], [Settled::Merged]), "{settled:?}");
}

/// Many jobs of many queues are promoted in one call, each queue in the order of the call.
pub async fn many_promotions_in_one_call(harness: &dyn Harness) {
    let storage = harness.storage();
    let queues = ["a", "b", "c"].map(queue_name);
    let all = numbered(1_000);
    let scheduled: Vec<Due> = all
        .iter()
        .map(|job| Due {
            at: at(1),
            job: job.clone(),
        })
        .collect();
    storage.schedule(&scheduled).await.unwrap();
    let promotions: Vec<Move> = all
        .iter()
        .enumerate()
        .map(|(index, job)| {
            Move::new(
                job.clone(),
                MoveTarget::Queue {
                    queue: queues[index % 3].clone(),
                    job: job.clone(),
                },
            )
        })
        .collect();
    let settled = promote(&*storage, DueSet::Schedule, at(1), &promotions).await;
    assert_eq!(settled.len(), promotions.len());
    assert_done(&settled);

    for (index, queue) in queues.iter().enumerate() {
        let expected: Vec<Bytes> = all.iter().skip(index).step_by(3).cloned().collect();
        assert_eq!(queue_page(&*storage, queue, ALL).await, expected);
    }
    assert_eq!(
        storage.len(&Source::Set(JobSet::Schedule)).await.unwrap(),
        0
    );
}

/// No promotions, no answers, no change.
pub async fn an_empty_promotion_changes_nothing(harness: &dyn Harness) {
    let before = harness.dump().await;
    let settled = promote(&*harness.storage(), DueSet::Retry, at(1), &[]).await;
    assert!(settled.is_empty());
    assert_eq!(harness.dump().await, before);
}

/// A snoozed job is in the schedule.
pub async fn a_snoozed_job_is_scheduled(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    let snooze = Target::Schedule(due(7, "a"));
    assert_done(&fixture.settle_each(&[settlement("a", snooze)]).await);
    let page = fixture.storage.due(DueSet::Schedule, at(7), first(1)).await;
    assert_eq!(page.unwrap().jobs, bytes(&["a"]));
}

/// A page has at most 1 MiB, and at least one job, and tells when the next one after it is due.
pub async fn a_page_is_bounded_by_bytes(harness: &dyn Harness) {
    let storage = harness.storage();
    let all = of_many_sizes();
    let jobs: Vec<Due> = (1..)
        .zip(&all)
        .map(|(second, job)| Due {
            at: at(second),
            job: job.clone(),
        })
        .collect();
    for job in jobs.chunks(10) {
        storage.schedule(job).await.unwrap();
    }
    let read = read_in_pages(async |page| {
        let due = storage.due(DueSet::Schedule, at(1_000), page);
        let due = due.await.unwrap();
        let next = jobs.get(page.offset + due.jobs.len()).map(|job| job.at);
        assert_eq!(due.next, next);
        due.jobs
    });
    assert_eq!(read.await, all);
}

fn to_default(payload: &str) -> Move {
    Move::new(
        job(payload),
        MoveTarget::Queue {
            queue: queue_name("default"),
            job: job(payload),
        },
    )
}

async fn fill(harness: &dyn Harness, set: DueSet, jobs: &[(u64, &str)]) {
    for &(seconds, payload) in jobs {
        let Due { at, job } = due(seconds, payload);
        let score = unix_seconds(at);
        harness
            .add_member(set.into(), ScoredJob { score, job })
            .await;
    }
}
