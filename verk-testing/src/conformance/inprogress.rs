//! Jobs leave `inprogress`: [`JobStore::settle`](verk_core::storage::JobStore::settle) to every
//! target, and only what is held.

use bytes::Bytes;
use verk_core::storage::{
    DequeueRequest, Due, HeldCount, Inprogress, JobSet, Page, Settled, Settlement, Target,
};

use super::{
    Harness,
    fixture::{
        AT_0, Fixture, NO_LIMITS, assert_done, assert_not_held, at, bytes, dead, due, every_target,
        job, look, numbered, of_many_sizes, queue_name, read_in_pages, settlement,
    },
};

/// A job that is done is gone.
pub async fn ack_removes_the_job(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "b"]).await;
    assert_done(&fixture.settle(&["a"], Target::Ack).await);
    assert_eq!(fixture.in_progress().await, bytes(&["b"]));
    assert_eq!(fixture.queued().await, bytes(&[]));
}

/// Jobs that are done leave nothing behind but the name of their queue.
pub async fn acked_jobs_leave_no_state(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a", "b"]).await;
    assert_done(&fixture.settle(&["a"], Target::Ack).await);
    assert_done(&fixture.settle(&["b"], Target::Requeue).await);
    assert_eq!(fixture.dequeue(1).await, bytes(&["b"]));
    assert_done(&fixture.settle(&["b"], Target::Ack).await);
    assert!(
        fixture
            .storage
            .deregister(&fixture.held.node)
            .await
            .unwrap()
    );

    let dump = harness.dump().await;
    assert_eq!(dump.keys().len(), 1, "{dump:?}");
    assert_eq!(
        fixture.storage.queues().await.unwrap(),
        [fixture.held.queue]
    );
}

/// Each target gets its job, in one batch.
pub async fn every_target_in_one_batch(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "b", "c", "d", "e", "f"]).await;
    let settled = fixture
        .settle_each(&[
            settlement("a", Target::Ack),
            settlement("b", Target::Retry(due(2, "b, retried"))),
            settlement("c", Target::Schedule(due(3, "c, snoozed"))),
            settlement("d", dead(4, "d, dead")),
            settlement("e", Target::Requeue),
        ])
        .await;
    assert_eq!(settled.len(), 5);
    assert_done(&settled);
    assert_eq!(fixture.in_progress().await, bytes(&["f"]));
    assert_eq!(fixture.queued().await, bytes(&["e"]));
    for (set, seconds, payload) in [
        (JobSet::Retry, 2.0, "b, retried"),
        (JobSet::Schedule, 3.0, "c, snoozed"),
        (JobSet::Dead, 4.0, "d, dead"),
    ] {
        assert_eq!(fixture.members(set).await, [(AT_0 + seconds, job(payload))]);
    }
}

/// The order of a batch need not be the order of the list; answers are in the order of the batch.
pub async fn answers_are_in_the_order_of_the_settlements(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "b", "c"]).await;
    let settled = fixture.settle(&["c", "nobody", "a"], Target::Ack).await;
    assert!(
        matches!(
            settled[..],
            [Settled::Done, Settled::NotHeld, Settled::Done]
        ),
        "{settled:?}"
    );
    assert_eq!(fixture.in_progress().await, bytes(&["b"]));
}

/// No settlements, no answers, no change.
pub async fn an_empty_batch_changes_nothing(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    let before = harness.dump().await;
    assert!(fixture.settle_each(&[]).await.is_empty());
    assert_eq!(harness.dump().await, before);
}

/// Settling a second time, to any target, changes nothing.
pub async fn settling_twice_is_not_held(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "b"]).await;
    assert_done(&fixture.settle(&["a"], Target::Ack).await);
    let before = harness.dump().await;
    for target in every_target("a") {
        assert_not_held(&fixture.settle(&["a"], target).await);
        assert_eq!(harness.dump().await, before);
    }
}

/// A job that is settled twice in one batch is settled once.
pub async fn twice_in_one_batch_is_once(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    let settled = fixture.settle(&["a", "a"], Target::Requeue).await;
    assert!(
        matches!(settled[..], [Settled::Done, Settled::NotHeld]),
        "{settled:?}"
    );
    assert_eq!(fixture.queued().await, bytes(&["a"]));
}

/// Handed back jobs are the next to be fetched, the first of the batch first.
pub async fn requeue_keeps_the_order_at_the_front(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a", "b", "c"]).await;
    fixture.enqueue(&["d", "e"]).await;
    assert_done(&fixture.settle(&["a", "b", "c"], Target::Requeue).await);
    assert_eq!(fixture.queued().await, bytes(&["a", "b", "c", "d", "e"]));
    assert_eq!(fixture.in_progress().await, bytes(&[]));
    assert_eq!(fixture.dequeue(2).await, bytes(&["a", "b"]));
}

/// The order of handed back jobs holds also among other settlements and over the size of a batch.
pub async fn requeue_of_many_keeps_the_order(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let all = numbered(250);
    fixture.enqueue_bytes(&all).await;
    assert_eq!(fixture.dequeue_all().await, all);
    fixture.enqueue(&["last"]).await;
    let settlements: Vec<Settlement> = all
        .iter()
        .enumerate()
        .map(|(index, held)| {
            Settlement::new(
                held.clone(),
                if index % 7 == 0 {
                    Target::Ack
                } else {
                    Target::Requeue
                },
            )
        })
        .collect();
    assert_done(&fixture.settle_each(&settlements).await);

    let mut expected: Vec<Bytes> = all
        .into_iter()
        .enumerate()
        .filter(|(index, _)| index % 7 != 0)
        .map(|(_, held)| held)
        .collect();
    expected.push(job("last"));
    assert_eq!(fixture.queued().await, expected);
}

/// Equal bytes twice in the list are two jobs: one settlement takes one.
pub async fn equal_jobs_are_settled_one_by_one(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "b", "a"]).await;
    assert_done(&fixture.settle(&["a"], Target::Ack).await);
    assert_eq!(
        fixture.in_progress().await,
        bytes(&["b", "a"]),
        "the oldest"
    );
    assert_done(&fixture.settle(&["a"], Target::Requeue).await);
    assert_eq!(fixture.in_progress().await, bytes(&["b"]));
    assert_eq!(fixture.queued().await, bytes(&["a"]));
    assert_not_held(&fixture.settle(&["a"], Target::Ack).await);
}

/// Two equal jobs in one batch are both settled.
pub async fn equal_jobs_in_one_batch(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "a", "a"]).await;
    assert_done(&fixture.settle(&["a", "a"], Target::Requeue).await);
    assert_eq!(fixture.in_progress().await, bytes(&["a"]));
    assert_eq!(fixture.queued().await, bytes(&["a", "a"]));
}

/// Every odd payload can be settled, to every target, and is kept.
pub async fn odd_payloads_can_be_settled(harness: &dyn Harness) {
    let payloads = [
        Bytes::from_static(b""),
        Bytes::from_static(b"123"),
        Bytes::from_static(b"\xff\x00\r\n"),
    ];
    for payload in payloads {
        let mut fixture = Fixture::new(harness).await;
        let due = |seconds| Due {
            at: at(seconds),
            job: payload.clone(),
        };
        for to in [
            Target::Requeue,
            Target::Retry(due(1)),
            Target::Schedule(due(2)),
            Target::Dead {
                job: due(3),
                limits: NO_LIMITS,
            },
            Target::Ack,
        ] {
            if !matches!(to, Target::Retry(_)) {
                fixture.enqueue_bytes(std::slice::from_ref(&payload)).await;
            }
            assert_eq!(fixture.dequeue(1).await, std::slice::from_ref(&payload));
            let held = payload.clone();
            assert_done(&fixture.settle_each(&[Settlement::new(held, to)]).await);
        }
        assert_eq!(fixture.in_progress().await, bytes(&[]));
        for (set, seconds) in [
            (JobSet::Retry, 1.0),
            (JobSet::Schedule, 2.0),
            (JobSet::Dead, 3.0),
        ] {
            let member = (AT_0 + seconds, payload.clone());
            assert!(fixture.members(set).await.contains(&member), "{set:?}");
        }
    }
}

/// The outcome of a job that was taken from this node and is held by another takes no effect.
pub async fn a_job_that_another_node_took_is_not_held(harness: &dyn Harness) {
    let lost = Fixture::holding(harness, &["a"]).await;
    harness.expire_heartbeat(&lost.held.node).await;
    let restored = lost
        .storage
        .restore(&lost.held, &[settlement("a", Target::Requeue)])
        .await;
    assert_done(&restored);
    let mut taker = Fixture::new(harness).await;
    assert_eq!(taker.dequeue(1).await, bytes(&["a"]));

    let before = harness.dump().await;
    for target in every_target("a") {
        assert_not_held(&lost.settle(&["a"], target).await);
        assert_eq!(harness.dump().await, before);
    }
    assert_done(&taker.settle(&["a"], Target::Ack).await);
}

/// If two callers settle the same job at once, one does.
pub async fn settling_at_once_is_done_once(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    let (first, second) = tokio::join!(
        fixture.settle(&["a"], Target::Requeue),
        fixture.settle(&["a"], Target::Retry(due(1, "a"))),
    );
    match (&first[..], &second[..]) {
        ([Settled::Done], [Settled::NotHeld]) => {
            assert_eq!(fixture.queued().await, bytes(&["a"]));
            assert_eq!(fixture.members(JobSet::Retry).await, []);
        }
        ([Settled::NotHeld], [Settled::Done]) => {
            assert_eq!(fixture.queued().await, bytes(&[]));
            assert_eq!(fixture.members(JobSet::Retry).await.len(), 1);
        }
        both => panic!("one of them: {both:?}"),
    }
    assert_eq!(fixture.in_progress().await, bytes(&[]));
}

/// The jobs of one node can't be settled in the name of another, nor those of one queue in that of
/// another.
pub async fn lists_are_apart(harness: &dyn Harness) {
    let first = Fixture::holding(harness, &["a"]).await;
    let other_node = Fixture::new(harness).await;
    let other_queue = Fixture::on_queue(harness, "other").await;
    assert_not_held(&other_node.settle(&["a"], Target::Ack).await);
    assert_not_held(&other_queue.settle(&["a"], Target::Ack).await);
    assert_eq!(first.in_progress().await, bytes(&["a"]));
}

/// Ten thousand jobs are settled in one call.
pub async fn ten_thousand_settlements(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let all = numbered(10_000);
    fixture.enqueue_bytes(&all).await;
    assert_eq!(fixture.dequeue_all().await.len(), all.len());
    let settlements: Vec<Settlement> = all
        .into_iter()
        .map(|held| Settlement::new(held, Target::Ack))
        .collect();
    let settled = fixture.settle_each(&settlements).await;
    assert_eq!(settled.len(), settlements.len());
    assert_done(&settled);
    assert_eq!(fixture.in_progress().await, bytes(&[]));
}

/// Jobs that are done and large, in any order, one of them twice and one that is not held.
pub async fn large_acks_have_an_answer_each(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let large: Vec<Bytes> = (0..5_u8)
        .map(|number| Bytes::from(vec![b'a' + number; 40 * 1024]))
        .collect();
    fixture.enqueue_bytes(&large).await;
    assert_eq!(fixture.dequeue_all().await, large);
    let absent = Bytes::from(vec![b'x'; 40 * 1024]);
    let batch = [&large[0], &large[3], &absent, &large[1], &large[1]];
    let settlements: Vec<Settlement> = batch
        .map(|held| Settlement::new(held.clone(), Target::Ack))
        .into();
    let settled = fixture.settle_each(&settlements).await;
    let done: Vec<bool> = settled
        .iter()
        .map(|settled| matches!(settled, Settled::Done))
        .collect();
    assert_eq!(done, [true, true, false, true, false], "{settled:?}");
    assert_not_held(&[settled[2].clone(), settled[4].clone()]);
    assert_eq!(fixture.in_progress().await, [&large[2][..], &large[4][..]]);
}

/// Large payloads are settled in one call too, however the backend cuts its batches.
pub async fn large_payloads_are_settled(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let large: Vec<Bytes> = (0..6_u8)
        .map(|number| Bytes::from(vec![b'a' + number; 700 * 1024]))
        .collect();
    fixture.enqueue_bytes(&large).await;
    assert_eq!(fixture.dequeue_all().await, large);
    let settlements: Vec<Settlement> = large
        .iter()
        .map(|held| {
            Settlement::new(
                held.clone(),
                Target::Retry(Due {
                    at: at(0),
                    job: held.clone(),
                }),
            )
        })
        .collect();
    assert_done(&fixture.settle_each(&settlements).await);
    assert_eq!(fixture.in_progress().await, bytes(&[]));
    let kept: Vec<Bytes> = fixture
        .members(JobSet::Retry)
        .await
        .into_iter()
        .map(|(_, job)| job)
        .collect();
    assert_eq!(kept, large);
}

/// The jobs of very many lists are counted, in the order of the question.
pub async fn held_jobs_are_counted(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a", "b", "c"]).await;
    let request = DequeueRequest {
        prefetched: 2,
        ..look(3)
    };
    fixture.connection.dequeue(request).await.unwrap();
    let other = Fixture::on_queue(harness, "with:colon").await;
    harness.add_inprogress(&other.held, Bytes::from("d")).await;
    let absent = (0..600).map(|number| Inprogress {
        queue: queue_name(&format!("absent-{number}")),
        node: other.held.node.clone(),
    });
    let mut lists: Vec<Inprogress> = absent.collect();
    lists.push(fixture.held.clone());
    lists.insert(300, other.held.clone());

    let before = harness.dump().await;
    let counts = fixture.storage.held_counts(&lists).await.unwrap();
    assert_eq!(harness.dump().await, before);
    let count = |jobs, prefetched| HeldCount { jobs, prefetched };
    assert_eq!(counts.len(), 602);
    assert_eq!((counts[300], counts[601]), (count(1, 0), count(3, 2)));
    let counted: usize = counts.iter().map(|count| count.jobs).sum();
    assert_eq!(counted, 4);
    assert_eq!(fixture.storage.held_counts(&[]).await.unwrap(), []);

    // Prefetched jobs may be gone before the storage learns of it.
    let held = fixture.held.clone();
    for job in ["a", "b", "c"] {
        assert_done(&fixture.settle(&[job], Target::Ack).await);
    }
    let counts = fixture.storage.held_counts(&[held]).await.unwrap();
    assert_eq!(counts, [count(0, 0)]);
}

/// Pages of `inprogress` start with the most recently fetched.
pub async fn inprogress_is_read_in_pages(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "b", "c"]).await;
    for (offset, limit, expected) in [
        (0, 2, &["c", "b"][..]),
        (2, 2, &["a"]),
        (3, 2, &[]),
        (0, 0, &[]),
        (usize::MAX, usize::MAX, &[]),
    ] {
        let page = Page { offset, limit };
        let read = fixture.storage.inprogress(&fixture.held, page).await;
        assert_eq!(read.unwrap(), bytes(expected), "{page:?}");
    }
}

/// A page has at most 1 MiB, and at least one job; the rest is in the pages after it.
pub async fn a_page_is_bounded_by_bytes(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let mut all = of_many_sizes();
    fixture.enqueue_bytes(&all).await;
    assert_eq!(fixture.dequeue_all().await, all);
    let held = &fixture.held;
    let read = read_in_pages(async |page| fixture.storage.inprogress(held, page).await.unwrap());
    all.reverse();
    assert_eq!(read.await, all);
}
