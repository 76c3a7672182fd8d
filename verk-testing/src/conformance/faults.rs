//! Faults: keys of the wrong type, no memory, lost replies, no server. Nothing is lost, and nothing
//! is done twice.

use tokio_util::sync::CancellationToken;
use verk_core::{
    error::Applied,
    storage::{
        Due, DueSet, Heartbeat, JobSet, Move, MoveTarget, QueueConnection, Settled, Settlement,
        Source, Target,
    },
};

use super::{
    Harness,
    fixture::{
        Fixture, NO_LIMITS, TTL, assert_done, assert_failed, assert_not_held, assert_refused, at,
        bytes, dead, dequeue_while, due, every_target, first, job, look, node_id, promote,
        queue_name, settlement, soon, wait,
    },
};
use crate::{Key, Operation};

/// A broken target fails its own jobs, which stay; the others of the batch are settled.
pub async fn a_broken_target_fails_only_its_jobs(harness: &dyn Harness) {
    for (key, target) in [
        (Key::Set(JobSet::Retry), Target::Retry(due(1, "b"))),
        (Key::Set(JobSet::Schedule), Target::Schedule(due(1, "b"))),
        (Key::Set(JobSet::Dead), dead(1, "b")),
        (Key::Queue(queue_name("default")), Target::Requeue),
    ] {
        let fixture = Fixture::holding(harness, &["a", "b", "c", "b"]).await;
        harness.break_key(&key).await;
        let settled = fixture
            .settle_each(&[
                settlement("a", Target::Ack),
                settlement("b", target.clone()),
                settlement("c", Target::Ack),
                settlement("b", target.clone()),
            ])
            .await;
        let [a, first, c, second] = &settled[..] else {
            panic!("{key:?}: one answer each, not {settled:?}");
        };
        assert_done(&[a.clone(), c.clone()]);
        assert_failed(first, Applied::NotApplied);
        assert_failed(second, Applied::NotApplied);
        assert_eq!(fixture.in_progress().await, bytes(&["b", "b"]), "{key:?}");

        harness.mend_key(&key).await;
        assert_done(&fixture.settle(&["b"], target).await);
        assert_done(&fixture.settle(&["b"], Target::Ack).await);
        assert_eq!(fixture.in_progress().await, bytes(&[]));
    }
}

/// A broken `inprogress` fails every settlement, and nothing moves.
pub async fn a_broken_inprogress_fails_its_settlements(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    let before = harness.dump().await;
    let key = Key::Inprogress(fixture.held.clone());
    harness.break_key(&key).await;
    for target in every_target("a") {
        let settled = fixture.settle(&["a"], target).await;
        assert_eq!(settled.len(), 1);
        assert_failed(&settled[0], Applied::NotApplied);
    }
    harness.mend_key(&key).await;
    assert_eq!(harness.dump().await, before);
}

/// A fetch to a broken `inprogress` takes nothing.
pub async fn a_broken_inprogress_fails_a_dequeue(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a"]).await;
    let before = harness.dump().await;
    let key = Key::Inprogress(fixture.held.clone());
    harness.break_key(&key).await;
    assert_refused(
        fixture.connection.dequeue(look(1)).await,
        Applied::NotApplied,
    );
    harness.mend_key(&key).await;
    assert_eq!(harness.dump().await, before);
    fixture.connection.reset().await.unwrap();
    assert_eq!(fixture.dequeue(1).await, bytes(&["a"]));
}

/// A broken queue refuses jobs and fetches. Other queues work, and its jobs are kept.
pub async fn a_broken_queue_refuses(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a"]).await;
    let queue = fixture.held.queue.clone();
    let key = Key::Queue(queue.clone());
    harness.break_key(&key).await;

    let refused = fixture.storage.enqueue(&queue, &bytes(&["b", "c"])).await;
    assert_refused(refused, Applied::NotApplied);
    assert_refused(
        fixture.connection.dequeue(look(1)).await,
        Applied::NotApplied,
    );
    let mut other = Fixture::on_queue(harness, "other").await;
    other.enqueue(&["d"]).await;
    assert_eq!(other.dequeue(1).await, bytes(&["d"]));

    harness.mend_key(&key).await;
    fixture.connection.reset().await.unwrap();
    assert_eq!(fixture.dequeue(10).await, bytes(&["a"]));
}

/// A broken `schedule` refuses jobs, and takes none of them.
pub async fn a_broken_schedule_refuses(harness: &dyn Harness) {
    let storage = harness.storage();
    let key = Key::Set(JobSet::Schedule);
    harness.break_key(&key).await;
    let refused = storage.schedule(&[due(1, "a"), due(2, "b")]).await;
    assert_refused(refused, Applied::NotApplied);
    let refused = storage.due(DueSet::Schedule, at(9), first(10)).await;
    assert_refused(refused, Applied::NotApplied);
    harness.mend_key(&key).await;
    assert_eq!(
        storage.len(&Source::Set(JobSet::Schedule)).await.unwrap(),
        0
    );
}

/// A promotion to a broken queue or dead set fails alone, and its member stays.
pub async fn a_broken_target_fails_only_its_promotions(harness: &dyn Harness) {
    let storage = harness.storage();
    let jobs = [due(1, "a"), due(2, "b"), due(3, "c")];
    storage.schedule(&jobs).await.unwrap();
    let to_queue = |held: &str, queue: &str| {
        Move::new(
            job(held),
            MoveTarget::Queue {
                queue: queue_name(queue),
                job: job(held),
            },
        )
    };
    let to_dead = Move::new(
        job("b"),
        MoveTarget::Dead {
            job: due(9, "b"),
            limits: NO_LIMITS,
        },
    );
    let promotions = [to_queue("a", "broken"), to_dead, to_queue("c", "whole")];
    let keys = [Key::Queue(queue_name("broken")), Key::Set(JobSet::Dead)];
    for key in &keys {
        harness.break_key(key).await;
    }
    let settled = promote(&*storage, DueSet::Schedule, at(9), &promotions).await;
    assert_eq!(settled.len(), 3);
    assert_failed(&settled[0], Applied::NotApplied);
    assert_failed(&settled[1], Applied::NotApplied);
    assert_done(&settled[2..]);
    for key in &keys {
        harness.mend_key(key).await;
    }

    let page = storage
        .due(DueSet::Schedule, at(9), first(10))
        .await
        .unwrap();
    assert_eq!(page.jobs, bytes(&["a", "b"]));
    let settled = promote(&*storage, DueSet::Schedule, at(9), &promotions).await;
    assert_done(&settled[..2]);
    assert_not_held(&settled[2..]);
}

/// A promotion out of a broken set fails, and nothing moves.
pub async fn a_broken_due_set_fails_its_promotions(harness: &dyn Harness) {
    let storage = harness.storage();
    storage.schedule(&[due(1, "a")]).await.unwrap();
    let before = harness.dump().await;
    let key = Key::Set(JobSet::Schedule);
    harness.break_key(&key).await;
    let promotion = Move::new(
        job("a"),
        MoveTarget::Queue {
            queue: queue_name("default"),
            job: job("a"),
        },
    );
    let settled = promote(&*storage, DueSet::Schedule, at(9), &[promotion]).await;
    assert_failed(&settled[0], Applied::NotApplied);
    harness.mend_key(&key).await;
    assert_eq!(harness.dump().await, before);
}

/// The jobs of a dead node stay where they are while their target is broken.
pub async fn a_broken_target_fails_a_restore(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "b"]).await;
    harness.expire_heartbeat(&fixture.held.node).await;
    let key = Key::Queue(fixture.held.queue.clone());
    harness.break_key(&key).await;
    let settlements = [
        settlement("a", Target::Requeue),
        settlement("b", dead(1, "b")),
    ];
    let settled = fixture.storage.restore(&fixture.held, &settlements).await;
    assert_failed(&settled[0], Applied::NotApplied);
    assert_done(&settled[1..]);
    harness.mend_key(&key).await;
    assert_eq!(fixture.in_progress().await, bytes(&["a"]));
}

/// A node whose `inprogress` can't be read is not deregistered.
pub async fn a_broken_inprogress_keeps_its_node(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    let key = Key::Inprogress(fixture.held.clone());
    let before = harness.dump().await;
    harness.break_key(&key).await;
    match fixture.storage.deregister(&fixture.held.node).await {
        Ok(removed) => assert!(!removed),
        Err(error) => assert_eq!(error.applied(), Applied::NotApplied),
    }
    harness.mend_key(&key).await;
    assert_eq!(harness.dump().await, before);
}

/// A full backend refuses new jobs, all of a call.
pub async fn a_full_backend_refuses_new_jobs(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a"]).await;
    harness.fill().await;
    let refused = fixture
        .storage
        .enqueue(&fixture.held.queue, &bytes(&["b", "c"]))
        .await;
    assert_refused(refused, Applied::NotApplied);
    let refused = fixture.storage.schedule(&[due(1, "b")]).await;
    assert_refused(refused, Applied::NotApplied);
    assert_eq!(fixture.queued().await, bytes(&["a"]));
    assert_eq!(fixture.members(JobSet::Schedule).await, []);

    harness.make_room().await;
    fixture.enqueue(&["b"]).await;
    assert_eq!(fixture.queued().await, bytes(&["a", "b"]));
}

/// A full backend drains: fetches, every settlement and promotions work.
pub async fn a_full_backend_drains(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a", "b", "c", "d", "e"]).await;
    let jobs = [due(1, "f"), due(1, "g")];
    fixture.storage.schedule(&jobs).await.unwrap();
    harness.fill().await;

    let promotions = [
        Move::new(
            job("f"),
            MoveTarget::Queue {
                queue: fixture.held.queue.clone(),
                job: job("f"),
            },
        ),
        Move::new(
            job("g"),
            MoveTarget::Dead {
                job: due(2, "g"),
                limits: NO_LIMITS,
            },
        ),
    ];
    let promoted = promote(&*fixture.storage, DueSet::Schedule, at(1), &promotions).await;
    assert_done(&promoted);
    assert_eq!(
        fixture.dequeue(10).await,
        bytes(&["a", "b", "c", "d", "e", "f"])
    );
    let settlements: Vec<Settlement> = ["a", "b", "c", "d", "e"]
        .into_iter()
        .zip(every_target("moved"))
        .map(|(held, to)| settlement(held, to))
        .collect();
    assert_done(&fixture.settle_each(&settlements).await);
    assert_done(&fixture.settle(&["f"], Target::Ack).await);
    assert_eq!(fixture.dequeue(10).await, bytes(&["e"]));
    assert_done(&fixture.settle(&["e"], Target::Ack).await);
    for (set, len) in [(JobSet::Retry, 1), (JobSet::Schedule, 1), (JobSet::Dead, 2)] {
        assert_eq!(fixture.set_len(set).await, len, "{set:?}");
    }
}

/// The nodes of a full backend live: heartbeats, registration, names, restore and deregistration
/// work.
pub async fn a_full_backend_keeps_its_nodes(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    let node = &fixture.held.node;
    let storage = &fixture.storage;
    storage.claim_name(node, TTL).await.unwrap();
    let mut heartbeat = fixture.heartbeat(TTL).await;
    harness.fill().await;

    assert!(heartbeat.beat().await.unwrap().alive);
    let queues = [queue_name("other")];
    storage
        .register(node, &queues, TTL, &Default::default())
        .await
        .unwrap();
    let newcomer = node_id();
    storage
        .register(&newcomer, &queues, TTL, &Default::default())
        .await
        .unwrap();
    assert_eq!(storage.nodes().await.unwrap().len(), 2);

    harness.expire_heartbeat(node).await;
    harness.expire_name(node).await;
    storage.claim_name(&newcomer, TTL).await.unwrap();
    let settlements = [settlement("a", Target::Requeue)];
    assert_done(&storage.restore(&fixture.held, &settlements).await);
    assert_eq!(fixture.queued().await, bytes(&["a"]));
    assert!(storage.deregister(node).await.unwrap());
    assert!(storage.deregister(&newcomer).await.unwrap());
}

/// A fetch whose reply is lost may have taken jobs: after a reset they are found in `inprogress`,
/// once.
pub async fn a_lost_reply_to_a_dequeue_loses_no_job(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["first"]).await;
    assert_done(&fixture.settle(&["first"], Target::Ack).await);
    fixture.enqueue(&["a", "b", "c"]).await;
    harness.lose_reply(Operation::Dequeue).await;
    assert_refused(fixture.connection.dequeue(look(2)).await, Applied::Unknown);

    soon(fixture.connection.reset()).await.unwrap();
    let strays = fixture.in_progress().await;
    assert_eq!(strays, bytes(&["a", "b"]));
    assert_eq!(fixture.queued().await, bytes(&["c"]));
    assert_done(&fixture.settle(&["a", "b"], Target::Requeue).await);
    assert_eq!(fixture.dequeue(10).await, bytes(&["a", "b", "c"]));
    assert_eq!(fixture.in_progress().await, bytes(&["a", "b", "c"]));
}

/// The same when the fetch waited, and its job came later.
pub async fn a_lost_reply_to_a_waiting_dequeue_loses_no_job(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let queue = fixture.held.queue.clone();
    let fetched = dequeue_while(&mut fixture, async |storage| {
        storage.enqueue(&queue, &bytes(&["first"])).await.unwrap();
    })
    .await;
    assert_eq!(fetched, bytes(&["first"]));
    assert_done(&fixture.settle(&["first"], Target::Ack).await);

    let interrupt = CancellationToken::new();
    let storage = harness.storage();
    let (answer, ()) = soon(async {
        tokio::join!(fixture.connection.dequeue(wait(&interrupt)), async {
            harness.dequeue_is_waiting().await;
            harness.lose_reply(Operation::Dequeue).await;
            storage.enqueue(&queue, &bytes(&["a"])).await.unwrap();
        })
    })
    .await;
    assert_refused(answer, Applied::Unknown);
    soon(fixture.connection.reset()).await.unwrap();
    assert_eq!(fixture.in_progress().await, bytes(&["a"]));
    assert_done(&fixture.settle(&["a"], Target::Ack).await);

    // A forgotten fetch would take this one.
    fixture.enqueue(&["b"]).await;
    assert_eq!(fixture.in_progress().await, bytes(&[]));
    assert_eq!(fixture.dequeue(10).await, bytes(&["b"]));
}

/// A settlement whose reply is lost says so, and was done once: reading shows it, sending it again
/// changes nothing.
pub async fn a_lost_reply_to_a_settle_is_done_once(harness: &dyn Harness) {
    for (round, target) in every_target("moved").into_iter().enumerate() {
        let mut fixture = Fixture::holding(harness, &["first", "a", "b"]).await;
        assert_done(&fixture.settle(&["first"], Target::Ack).await);
        harness.lose_reply(Operation::Settle).await;
        let settled = fixture.settle(&["a"], target.clone()).await;
        assert_eq!(settled.len(), 1);
        assert_failed(&settled[0], Applied::Unknown);

        assert_eq!(fixture.in_progress().await, bytes(&["b"]), "{target:?}");
        let before = harness.dump().await;
        assert_not_held(&fixture.settle(&["a"], target.clone()).await);
        assert_eq!(harness.dump().await, before);
        match target {
            Target::Requeue => assert_eq!(fixture.dequeue(10).await, bytes(&["a"])),
            Target::Ack | Target::Retry(_) | Target::Schedule(_) | Target::Dead { .. } => {
                assert_eq!(fixture.queued().await, bytes(&[]), "round {round}");
            }
        }
    }
    for set in [JobSet::Retry, JobSet::Schedule, JobSet::Dead] {
        let len = harness.storage().len(&Source::Set(set)).await;
        assert_eq!(len.unwrap(), 1, "{set:?}");
    }
}

/// While the backend cannot be reached, every call is an error; after that everything works with
/// the stored jobs.
pub async fn an_unreachable_backend_comes_back(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["a"]).await;
    fixture.enqueue(&["b"]).await;
    let mut heartbeat = fixture.heartbeat(TTL).await;
    assert!(heartbeat.beat().await.unwrap().alive);
    let before = harness.dump().await;
    harness.disconnect().await;

    let storage = &fixture.storage;
    let jobs = bytes(&["c"]);
    soon(storage.enqueue(&fixture.held.queue, &jobs))
        .await
        .unwrap_err();
    soon(storage.server_time()).await.unwrap_err();
    soon(storage.nodes()).await.unwrap_err();
    soon(heartbeat.beat()).await.unwrap_err();
    soon(fixture.connection.dequeue(look(1))).await.unwrap_err();
    let settled = soon(fixture.settle(&["a"], Target::Ack)).await;
    assert!(matches!(settled[..], [Settled::Failed(_)]), "{settled:?}");
    let missing = Due {
        at: at(1),
        job: job("c"),
    };
    soon(storage.schedule(&[missing])).await.unwrap_err();
    assert_eq!(harness.dump().await, before);

    harness.reconnect().await;
    soon(reset_again(&mut *fixture.connection)).await;
    assert!(soon(beat_again(&mut *heartbeat)).await);
    assert_eq!(fixture.dequeue(10).await, bytes(&["b"]));
    assert_done(&fixture.settle(&["a", "b"], Target::Ack).await);
    fixture.enqueue(&["c"]).await;
    assert_eq!(fixture.dequeue(10).await, bytes(&["c"]));
}

/// A wait on a backend that goes away ends with an error, and loses nothing.
pub async fn a_wait_ends_when_the_backend_goes_away(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let interrupt = CancellationToken::new();
    let (answer, ()) = soon(async {
        tokio::join!(fixture.connection.dequeue(wait(&interrupt)), async {
            harness.dequeue_is_waiting().await;
            harness.disconnect().await;
        })
    })
    .await;
    answer.unwrap_err();
    harness.reconnect().await;
    soon(reset_again(&mut *fixture.connection)).await;
    fixture.enqueue(&["a"]).await;
    assert_eq!(fixture.dequeue(10).await, bytes(&["a"]));
}

/// Beats until one is answered: the first after a break may still find the old connection.
async fn beat_again(heartbeat: &mut dyn Heartbeat) -> bool {
    loop {
        if let Ok(beat) = heartbeat.beat().await {
            return beat.alive;
        }
        tokio::task::yield_now().await;
    }
}

/// Resets until that has succeeded: the first after a break may still find the old connection.
async fn reset_again(connection: &mut dyn QueueConnection) {
    while connection.reset().await.is_err() {
        tokio::task::yield_now().await;
    }
}
