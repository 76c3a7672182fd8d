//! Settling and fetching in one trip:
//! [`QueueConnection::settle_and_dequeue`](verk_core::storage::QueueConnection::settle_and_dequeue).

use bytes::Bytes;
use verk_core::{
    StorageError,
    error::Applied,
    storage::{DequeueRequest, Dequeued, JobSet, MAX_BATCH_JOBS, Settled, Settlement, Target},
};

use super::{
    Harness,
    fixture::{
        AT_0, Fixture, assert_done, assert_failed, assert_refused, bytes, dead, due, every_target,
        job, jobs, look, numbered, settlement,
    },
};
use crate::{Key, Operation};

/// What is done leaves, and the next jobs come.
pub async fn jobs_are_settled_and_others_taken(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a", "b"]).await;
    fixture.enqueue(&["c", "d", "e"]).await;
    let (settled, taken) = exchange(&mut fixture, &acks(&["a", "b"]), look(2)).await;
    assert_done(&settled);
    assert_eq!(jobs(taken.unwrap()), bytes(&["c", "d"]));
    assert_eq!(fixture.in_progress().await, bytes(&["c", "d"]));
    assert_eq!(fixture.queued().await, bytes(&["e"]));
}

/// Jobs end in any order, and some stay.
pub async fn jobs_end_in_any_order(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a", "b", "c", "d", "e", "f"]).await;
    let (settled, taken) = exchange(&mut fixture, &acks(&["a", "c", "b", "e"]), look(1)).await;
    assert_done(&settled);
    assert_eq!(jobs(taken.unwrap()), bytes(&[]));
    assert_eq!(fixture.in_progress().await, bytes(&["d", "f"]));
}

/// A node may have two connections for a list, and a trip of each in flight: one settles what the
/// other took.
pub async fn two_connections_share_a_list(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a"]).await;
    let open = fixture.storage.open_queue(&fixture.held);
    let mut second = open.await.unwrap();
    fixture.enqueue(&["b", "c", "d"]).await;
    let (settlements, request) = (acks(&["a"]), look(1));
    let (first, beside) = tokio::join!(
        exchange(&mut fixture, &settlements, look(1)),
        second.settle_and_dequeue(&[], &request)
    );
    assert_done(&first.0);
    let taken = [jobs(first.1.unwrap()), jobs(beside.1.unwrap())].concat();
    assert_eq!(sorted(taken.clone()), bytes(&["b", "c"]));
    assert_eq!(sorted(fixture.in_progress().await), bytes(&["b", "c"]));

    let settlements: Vec<Settlement> = taken.into_iter().map(ack).collect();
    let (settled, taken) = second.settle_and_dequeue(&settlements, &request).await;
    assert_done(&settled);
    assert_eq!(jobs(taken.unwrap()), bytes(&["d"]));
    assert_eq!(fixture.in_progress().await, bytes(&["d"]));
}

/// Equal payloads are counted, and the answers say which jobs were not held.
pub async fn each_settlement_has_its_answer(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a", "b", "a"]).await;
    fixture.enqueue(&["c"]).await;
    let held = ["a", "a", "a", "x", "b"];
    let (settled, taken) = exchange(&mut fixture, &acks(&held), look(1)).await;
    assert!(
        matches!(
            settled[..],
            [
                Settled::Done,
                Settled::Done,
                Settled::NotHeld,
                Settled::NotHeld,
                Settled::Done
            ]
        ),
        "{settled:?}"
    );
    assert_eq!(jobs(taken.unwrap()), bytes(&["c"]));
    assert_eq!(fixture.in_progress().await, bytes(&["c"]));
}

/// A batch may send its jobs to all sets.
pub async fn a_batch_goes_to_every_set(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a", "b", "c", "d"]).await;
    fixture.enqueue(&["e"]).await;
    let settlements = [
        settlement("b", Target::Retry(due(0, "b2"))),
        settlement("a", Target::Ack),
        settlement("c", Target::Schedule(due(0, "c2"))),
        settlement("d", dead(0, "d2")),
    ];
    let (settled, taken) = exchange(&mut fixture, &settlements, look(1)).await;
    assert_done(&settled);
    assert_eq!(jobs(taken.unwrap()), bytes(&["e"]));
    for (set, payload) in [
        (JobSet::Retry, "b2"),
        (JobSet::Schedule, "c2"),
        (JobSet::Dead, "d2"),
    ] {
        assert_eq!(fixture.members(set).await, [(AT_0, job(payload))]);
    }
    assert_eq!(fixture.in_progress().await, bytes(&["e"]));
}

/// With nothing to settle, it fetches; with no job asked for, it settles.
pub async fn either_half_may_be_empty(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a", "b"]).await;
    let (settled, taken) = exchange(&mut fixture, &[], look(1)).await;
    assert!(settled.is_empty());
    assert_eq!(jobs(taken.unwrap()), bytes(&["a"]));
    let (settled, taken) = exchange(&mut fixture, &acks(&["a"]), look(0)).await;
    assert_done(&settled);
    assert_eq!(jobs(taken.unwrap()), bytes(&[]));
    assert_eq!(fixture.in_progress().await, bytes(&[]));
    assert_eq!(fixture.queued().await, bytes(&["b"]));
}

/// A full batch on both sides, again and again, leaves nothing behind.
pub async fn full_batches_pass_through(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let all = numbered(5 * MAX_BATCH_JOBS);
    fixture.enqueue_bytes(&all).await;
    let (mut held, mut seen): (Vec<Bytes>, Vec<Bytes>) = (Vec::new(), Vec::new());
    loop {
        let done: Vec<_> = held.drain(..).map(ack).collect();
        let (settled, taken) = exchange(&mut fixture, &done, look(MAX_BATCH_JOBS)).await;
        assert!(settled.iter().all(|one| matches!(one, Settled::Done)));
        held = jobs(taken.unwrap());
        if held.is_empty() {
            break;
        }
        seen.extend(held.iter().cloned());
    }
    assert_eq!(seen, all);
    assert_eq!(fixture.in_progress().await, bytes(&[]));
}

/// A pause delays new jobs, not settlements.
pub async fn a_paused_queue_settles(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a"]).await;
    fixture.enqueue(&["b"]).await;
    let paused = fixture
        .storage
        .pause(&fixture.held.queue, &Bytes::new())
        .await;
    assert!(paused.unwrap());
    let (settled, taken) = exchange(&mut fixture, &acks(&["a"]), look(1)).await;
    assert_done(&settled);
    assert_eq!(taken.unwrap(), Dequeued::Paused(Vec::new()));
    assert_eq!(fixture.queued().await, bytes(&["b"]));
}

/// A node that was declared dead still settles what it holds, and takes nothing.
pub async fn a_dead_node_settles_what_it_holds(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a"]).await;
    fixture.enqueue(&["b"]).await;
    harness.expire_heartbeat(&fixture.held.node).await;
    let (settled, taken) = exchange(&mut fixture, &acks(&["a"]), look(1)).await;
    assert_done(&settled);
    assert_eq!(taken.unwrap(), Dequeued::NodeGone);
    assert_eq!(fixture.queued().await, bytes(&["b"]));
}

/// A queue that cannot be read does not delay outcomes.
pub async fn a_broken_queue_settles(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a"]).await;
    let queue = Key::Queue(fixture.held.queue.clone());
    harness.break_key(&queue).await;
    let (settled, taken) = exchange(&mut fixture, &acks(&["a"]), look(1)).await;
    assert_done(&settled);
    assert_refused(taken, Applied::NotApplied);
    harness.mend_key(&queue).await;
    fixture.enqueue(&["b"]).await;
    assert_eq!(fixture.dequeue(1).await, bytes(&["b"]));
}

/// A set that cannot be written to delays only its own jobs.
pub async fn a_broken_set_holds_up_its_own_jobs(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a", "b"]).await;
    fixture.enqueue(&["c"]).await;
    let retry = Key::Set(JobSet::Retry);
    harness.break_key(&retry).await;
    let settlements = [
        settlement("a", Target::Retry(due(0, "a2"))),
        settlement("b", Target::Ack),
    ];
    let (settled, taken) = exchange(&mut fixture, &settlements, look(1)).await;
    assert_failed(&settled[0], Applied::NotApplied);
    assert_done(&settled[1..]);
    assert_eq!(jobs(taken.unwrap()), bytes(&["c"]));
    assert_eq!(fixture.in_progress().await, bytes(&["a", "c"]));
    harness.mend_key(&retry).await;
}

/// A list that cannot be read fails both, and nothing changes.
pub async fn a_broken_list_fails_both(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a"]).await;
    fixture.enqueue(&["b"]).await;
    let list = Key::Inprogress(fixture.held.clone());
    harness.break_key(&list).await;
    for settlements in [acks(&["a"]), vec![settlement("a", dead(0, "a2"))]] {
        let (settled, taken) = exchange(&mut fixture, &settlements, look(1)).await;
        assert_failed(&settled[0], Applied::NotApplied);
        assert_refused(taken, Applied::NotApplied);
    }
    harness.mend_key(&list).await;
    assert_eq!(fixture.queued().await, bytes(&["b"]));
    assert_eq!(fixture.in_progress().await, bytes(&["a"]));
}

/// A backend without room for new jobs still works.
pub async fn a_full_backend_exchanges(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a", "b", "c", "d"]).await;
    fixture.enqueue(&["e", "f", "g", "h"]).await;
    harness.fill().await;
    for (held, to) in ["a", "b", "c", "d"].into_iter().zip(every_target("again")) {
        let (settled, taken) = exchange(&mut fixture, &[settlement(held, to)], look(1)).await;
        assert!(
            matches!(settled[..], [Settled::Done | Settled::Merged]),
            "{settled:?}"
        );
        assert_eq!(jobs(taken.unwrap()).len(), 1);
    }
    harness.make_room().await;
    assert_eq!(fixture.in_progress().await.len(), 4);
}

/// Without a reply, the result of both halves is unknown; both happened.
pub async fn a_lost_reply_leaves_both_unknown(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a"]).await;
    fixture.enqueue(&["b"]).await;
    harness.lose_reply(Operation::Dequeue).await;
    let (settled, taken) = exchange(&mut fixture, &acks(&["a"]), look(1)).await;
    assert_failed(&settled[0], Applied::Unknown);
    assert_refused(taken, Applied::Unknown);
    fixture.connection.reset().await.unwrap();
    assert_eq!(fixture.in_progress().await, bytes(&["b"]));
}

/// For a while after jobs of a dead node came back, fetched jobs start at once. So a job that kills
/// its process is known to have been started.
pub async fn nobody_prefetches_after_a_restore(harness: &dyn Harness) {
    let dead_node = Fixture::holding(harness, &["a"]).await;
    harness.expire_heartbeat(&dead_node.held.node).await;
    let settlements = [settlement("a", Target::Requeue)];
    let restored = dead_node.storage.restore(&dead_node.held, &settlements);
    assert_done(&restored.await);

    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue(&["b", "c", "d", "e"]).await;
    let ahead = |max_jobs, prefetched| DequeueRequest {
        prefetched,
        ..look(max_jobs)
    };
    let (_, taken) = exchange(&mut fixture, &[], ahead(4, 2)).await;
    assert_eq!(jobs(taken.unwrap()), bytes(&["a", "b"]));
    assert_eq!(fixture.prefetched().await, 0);
    let (_, taken) = exchange(&mut fixture, &[], ahead(2, 2)).await;
    assert_eq!(jobs(taken.unwrap()), bytes(&[]));
    // One that was prefetched before stays so.
    let (_, taken) = exchange(&mut fixture, &[], ahead(2, 3)).await;
    assert_eq!(jobs(taken.unwrap()), bytes(&[]));
    assert_eq!(fixture.prefetched().await, 1);
    let mut other = Fixture::on_queue(harness, "other").await;
    other.enqueue(&["x", "y"]).await;
    let (_, taken) = exchange(&mut other, &[], ahead(2, 2)).await;
    assert_eq!(jobs(taken.unwrap()), bytes(&["x", "y"]));
}

async fn exchange(
    fixture: &mut Fixture<'_>,
    settlements: &[Settlement],
    request: DequeueRequest,
) -> (Vec<Settled>, Result<Dequeued, StorageError>) {
    let connection = &mut fixture.connection;
    connection.settle_and_dequeue(settlements, &request).await
}

fn sorted(mut payloads: Vec<Bytes>) -> Vec<Bytes> {
    payloads.sort();
    payloads
}

fn acks(held: &[&str]) -> Vec<Settlement> {
    bytes(held).into_iter().map(ack).collect()
}

fn ack(held: Bytes) -> Settlement {
    Settlement::new(held, Target::Ack)
}
