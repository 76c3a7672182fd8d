//! One node moves due jobs for all:
//! [`DueStore::poll_schedule`](verk_core::storage::DueStore::poll_schedule).

use std::time::{Duration, SystemTime};

use verk_core::{
    names::NodeId,
    storage::{DueSet, JobSet, Lease, Move, MoveTarget, SchedulePoll, Settled, Source},
};

use super::{
    Harness, ScoredJob,
    fixture::{
        AT_0, Fixture, TTL, at, due, first as first_page, job, node_id, promote, queue_name, soon,
    },
};
use crate::Key;

/// One node has the lease until it stops asking; each answer says so.
pub async fn one_node_has_the_lease(harness: &dyn Harness) {
    let storage = harness.storage();
    let (holder, other) = (node_id(), node_id());
    for _ in 0..2 {
        let poll = storage.poll_schedule(&holder, TTL).await.unwrap();
        let nothing = SchedulePoll {
            lease: Lease::Granted,
            schedule: None,
            retry: None,
            cron: None,
            has_suspects: false,
            dead: 0,
            first_death: None,
        };
        assert_eq!(poll, nothing);
        let Lease::Held { ttl } = storage.poll_schedule(&other, TTL).await.unwrap().lease else {
            panic!("two nodes have the lease");
        };
        assert!(ttl > TTL / 2 && ttl <= TTL, "{ttl:?}");
    }
}

/// Of many nodes that ask at once, one gets it.
pub async fn nodes_that_ask_at_once_get_one_lease(harness: &dyn Harness) {
    let storage = harness.storage();
    let nodes: Vec<NodeId> = (0..10).map(|_| node_id()).collect();
    let asking = nodes.iter().map(|node| storage.poll_schedule(node, TTL));
    let polls = futures_util::future::join_all(asking).await;
    let granted = polls
        .into_iter()
        .filter(|poll| poll.as_ref().unwrap().lease == Lease::Granted);
    assert_eq!(granted.count(), 1);
}

/// A node that stops asking loses it when its time is over.
pub async fn a_lease_that_is_not_renewed_ends(harness: &dyn Harness) {
    let storage = harness.storage();
    let short = Duration::from_millis(1);
    let (holder, other) = (node_id(), node_id());
    storage.poll_schedule(&holder, TTL).await.unwrap();
    // Renewing makes it shorter, too.
    storage.poll_schedule(&holder, short).await.unwrap();
    soon(async {
        while storage.poll_schedule(&other, TTL).await.unwrap().lease != Lease::Granted {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let poll = storage.poll_schedule(&holder, TTL).await.unwrap();
    assert!(matches!(poll.lease, Lease::Held { .. }), "{poll:?}");
}

/// A node that deregisters gives the lease back, and only its own.
pub async fn a_node_that_deregisters_leaves_its_lease(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let (storage, holder, other) = (&fixture.storage, &fixture.held.node, node_id());
    storage
        .register(&other, &[], TTL, &Default::default())
        .await
        .unwrap();
    storage.poll_schedule(holder, TTL).await.unwrap();

    assert!(storage.deregister(&other).await.unwrap());
    let poll = storage.poll_schedule(&other, TTL).await.unwrap();
    assert!(matches!(poll.lease, Lease::Held { .. }), "{poll:?}");

    assert!(storage.deregister(holder).await.unwrap());
    let poll = storage.poll_schedule(&other, TTL).await.unwrap();
    assert_eq!(poll.lease, Lease::Granted);
}

/// Each answer says when the first job of each set is due.
pub async fn a_poll_tells_when_jobs_are_due(harness: &dyn Harness) {
    let storage = harness.storage();
    storage
        .schedule(&[due(20, "b"), due(10, "a")])
        .await
        .unwrap();
    let member = ScoredJob {
        score: AT_0 + 30.0,
        job: job("c"),
    };
    harness.add_member(JobSet::Retry, member).await;
    for node in [node_id(), node_id()] {
        let poll = storage.poll_schedule(&node, TTL).await.unwrap();
        assert_eq!(poll.next(DueSet::Schedule), Some(at(10)));
        assert_eq!(poll.next(DueSet::Retry), Some(at(30)));
    }
}

/// A set that cannot be read counts as due: reading it returns the error. The answer still has the
/// other set.
pub async fn a_set_that_cannot_be_read_is_due(harness: &dyn Harness) {
    let storage = harness.storage();
    storage.schedule(&[due(10, "a")]).await.unwrap();
    let broken = Key::Set(JobSet::Retry);
    harness.break_key(&broken).await;
    let poll = storage.poll_schedule(&node_id(), TTL).await.unwrap();
    assert_eq!(poll.lease, Lease::Granted);
    assert_eq!(poll.schedule, Some(at(10)));
    assert_eq!(poll.retry, Some(SystemTime::UNIX_EPOCH));
    harness.mend_key(&broken).await;
}

/// A full backend is drained, so it grants the lease as well.
pub async fn a_full_backend_grants_the_lease(harness: &dyn Harness) {
    let storage = harness.storage();
    let (holder, other) = (node_id(), node_id());
    harness.fill().await;
    for _ in 0..2 {
        let poll = storage.poll_schedule(&holder, TTL).await.unwrap();
        assert_eq!(poll.lease, Lease::Granted);
        let poll = storage.poll_schedule(&other, TTL).await.unwrap();
        assert_ne!(poll.lease, Lease::Granted);
    }
    harness.make_room().await;
}

/// Moving jobs needs no lease, and no job is moved twice without it.
pub async fn without_the_lease_jobs_are_moved_once(harness: &dyn Harness) {
    let storage = harness.storage();
    storage.poll_schedule(&node_id(), TTL).await.unwrap();
    storage.schedule(&[due(1, "a"), due(2, "b")]).await.unwrap();
    let queue = queue_name("default");
    let node = async || {
        let page = storage.due(DueSet::Schedule, at(2), first_page(10)).await;
        let promotions: Vec<Move> = page
            .unwrap()
            .jobs
            .into_iter()
            .map(|held| {
                let to = MoveTarget::Queue {
                    queue: queue.clone(),
                    job: held.clone(),
                };
                Move::new(held, to)
            })
            .collect();
        promote(&*storage, DueSet::Schedule, at(2), &promotions).await
    };
    let (first, second, third) = tokio::join!(node(), node(), node());
    let settled = [first, second, third].concat();
    let done = settled.iter().filter(|it| matches!(it, Settled::Done));
    assert_eq!(done.count(), 2);
    assert_eq!(storage.len(&Source::Queue(queue.clone())).await.unwrap(), 2);
}
