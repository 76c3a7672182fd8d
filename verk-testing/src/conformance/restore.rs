//! The jobs of a dead node go back: [`NodeStore::restore`](verk_core::storage::NodeStore::restore).

use std::collections::BTreeMap;

use bytes::Bytes;
use verk_core::{
    names::NodeId,
    storage::{Inprogress, JobSet, Page, Settled, Settlement, Source, Target},
};

use super::{
    Harness,
    fixture::{
        Fixture, TTL, assert_done, assert_not_held, bytes, dead, dequeue_while, due, every_target,
        job, numbered, queue_name, settlement,
    },
};

/// Nothing is taken from a node that is alive.
pub async fn a_live_node_keeps_its_jobs(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    let before = harness.dump().await;
    for target in every_target("a") {
        let settlements = [settlement("a", target)];
        let settled = fixture.storage.restore(&fixture.held, &settlements).await;
        assert_not_held(&settled);
        assert_eq!(harness.dump().await, before);
    }
}

/// The jobs of a dead node go to the front of their queue, in order.
pub async fn the_jobs_of_a_dead_node_go_to_the_front(harness: &dyn Harness) {
    let dead_node = Fixture::holding(harness, &["a", "b", "c"]).await;
    dead_node.enqueue(&["d"]).await;
    harness.expire_heartbeat(&dead_node.held.node).await;

    let settlements = ["a", "b", "c"].map(|held| settlement(held, Target::Requeue));
    let settled = dead_node.storage.restore(&dead_node.held, &settlements);
    assert_done(&settled.await);
    assert_eq!(dead_node.queued().await, bytes(&["a", "b", "c", "d"]));
    assert_eq!(dead_node.in_progress().await, bytes(&[]));
}

/// Restoring page by page, the most recently fetched first as pages are read, keeps the order too.
pub async fn restore_in_pages_keeps_the_order(harness: &dyn Harness) {
    let mut dead_node = Fixture::new(harness).await;
    let all = numbered(250);
    dead_node.enqueue_bytes(&all).await;
    assert_eq!(dead_node.dequeue_all().await, all);
    harness.expire_heartbeat(&dead_node.held.node).await;

    let first_page = Page {
        offset: 0,
        limit: 60,
    };
    // Pages may be shorter than asked for, but not empty before the list is.
    for _ in 0..=all.len() {
        let page = dead_node.storage.inprogress(&dead_node.held, first_page);
        let page: Vec<Bytes> = page.await.unwrap();
        if page.is_empty() {
            break;
        }
        let oldest_first: Vec<Settlement> = page
            .into_iter()
            .rev()
            .map(|held| Settlement::new(held, Target::Requeue))
            .collect();
        let settled = dead_node.storage.restore(&dead_node.held, &oldest_first);
        assert_done(&settled.await);
    }
    assert_eq!(dead_node.queued().await, all);
}

/// A restored job may go elsewhere: a poison pill to the dead set, or delayed.
pub async fn restore_reaches_every_target(harness: &dyn Harness) {
    let dead_node = Fixture::holding(harness, &["a", "b", "c"]).await;
    harness.expire_heartbeat(&dead_node.held.node).await;
    let settlements = [
        settlement("a", dead(1, "a")),
        settlement("b", Target::Schedule(due(2, "b"))),
        settlement("c", Target::Retry(due(3, "c"))),
    ];
    let settled = dead_node.storage.restore(&dead_node.held, &settlements);
    assert_done(&settled.await);
    for set in [JobSet::Dead, JobSet::Schedule, JobSet::Retry] {
        assert_eq!(dead_node.storage.len(&Source::Set(set)).await.unwrap(), 1);
    }
}

/// Two nodes that restore the same list move each job once.
pub async fn restoring_twice_is_not_held(harness: &dyn Harness) {
    let dead_node = Fixture::holding(harness, &["a"]).await;
    harness.expire_heartbeat(&dead_node.held.node).await;
    let settlements = [settlement("a", Target::Requeue)];
    let restore = || dead_node.storage.restore(&dead_node.held, &settlements);
    assert_done(&restore().await);
    let before = harness.dump().await;
    assert_not_held(&restore().await);
    assert_eq!(harness.dump().await, before);
}

/// A node that came back meanwhile keeps its jobs: each restore looks at the heartbeat again.
pub async fn a_node_that_came_back_keeps_its_jobs(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a", "b"]).await;
    let Inprogress { node, queue } = &fixture.held;
    harness.expire_heartbeat(node).await;
    let restore = async |held| {
        let settlements = [settlement(held, Target::Requeue)];
        fixture.storage.restore(&fixture.held, &settlements).await
    };
    assert_done(&restore("a").await);
    let queues = [queue.clone(), queue_name("other")];
    fixture
        .storage
        .register(node, &queues, TTL, &Default::default())
        .await
        .unwrap();
    assert_not_held(&restore("b").await);
    assert_eq!(fixture.in_progress().await, bytes(&["b"]));
}

/// A dead node may still settle what it holds and what nobody restored yet.
pub async fn a_dead_node_can_settle_what_it_holds(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    harness.expire_heartbeat(&fixture.held.node).await;
    assert_done(&fixture.settle(&["a"], Target::Ack).await);
    let settlements = [settlement("a", Target::Requeue)];
    assert_not_held(&fixture.storage.restore(&fixture.held, &settlements).await);
    assert_eq!(fixture.queued().await, bytes(&[]));
}

/// A dead node that settles while another restores: the job takes one way.
pub async fn settle_and_restore_at_once_are_done_once(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    harness.expire_heartbeat(&fixture.held.node).await;
    let settlements = [settlement("a", Target::Requeue)];
    let (settled, restored) = tokio::join!(
        fixture.settle(&["a"], Target::Ack),
        fixture.storage.restore(&fixture.held, &settlements),
    );
    match (&settled[..], &restored[..]) {
        ([Settled::Done], [Settled::NotHeld]) => assert_eq!(fixture.queued().await, bytes(&[])),
        ([Settled::NotHeld], [Settled::Done]) => {
            assert_eq!(fixture.queued().await, bytes(&["a"]));
        }
        both => panic!("one of them: {both:?}"),
    }
    assert_eq!(fixture.in_progress().await, bytes(&[]));
}

/// A restored job wakes a fetch that waits.
pub async fn a_restored_job_wakes_a_dequeue(harness: &dyn Harness) {
    let dead_node = Fixture::holding(harness, &["a"]).await;
    harness.expire_heartbeat(&dead_node.held.node).await;
    let mut taker = Fixture::new(harness).await;
    let fetched = dequeue_while(&mut taker, async |storage| {
        let settlements = [settlement("a", Target::Requeue)];
        assert_done(&storage.restore(&dead_node.held, &settlements).await);
    })
    .await;
    assert_eq!(fetched, bytes(&["a"]));
}

/// Once its lists are empty, a dead node can be deregistered, and nothing of it is left.
pub async fn a_restored_node_leaves_nothing(harness: &dyn Harness) {
    let dead_node = Fixture::holding(harness, &["a"]).await;
    harness.expire_heartbeat(&dead_node.held.node).await;
    let settlements = [settlement("a", Target::Ack)];
    let settled = dead_node.storage.restore(&dead_node.held, &settlements);
    assert_done(&settled.await);
    let gone = dead_node.storage.deregister(&dead_node.held.node).await;
    assert!(gone.unwrap());
    let dump = harness.dump().await;
    assert_eq!(dump.keys().len(), 1, "{dump:?}");
}

/// A list whose node did not register, or did not register the queue, is reported with what it
/// holds, and is not touched.
pub async fn lists_of_nodes_that_are_not_registered_are_foreign(harness: &dyn Harness) {
    let alive = Fixture::holding(harness, &["a"]).await;
    let dead_node = Fixture::holding(harness, &["a"]).await;
    harness.expire_heartbeat(&dead_node.held.node).await;
    assert_eq!(foreign_lists(harness).await, []);

    // Names that could be cut in several places.
    let foreign = |queue, node| Inprogress {
        queue: queue_name(queue),
        node: NodeId::from(node),
    };
    let of_elixir = foreign("a:b", "c:d");
    let of_no_queue = Inprogress {
        queue: queue_name("other"),
        node: alive.held.node.clone(),
    };
    harness.add_inprogress(&of_elixir, job("x")).await;
    harness.add_inprogress(&of_elixir, job("y")).await;
    harness.add_inprogress(&of_no_queue, job("z")).await;
    let before = harness.dump().await;
    let found = foreign_lists(harness).await;
    let [(elixir, 2), (stray, 1)] = &found[..] else {
        panic!("{found:?}");
    };
    assert!(elixir.ends_with("inprogress:a:b:c:d"), "{elixir}");
    let expected = format!("inprogress:other:{}", alive.held.node);
    assert!(stray.ends_with(&expected), "{stray}");
    assert_eq!(harness.dump().await, before);

    // Once they are known, they are not foreign.
    let storage = harness.storage();
    let (node, queues) = (&of_elixir.node, [of_elixir.queue.clone()]);
    storage
        .register(node, &queues, TTL, &Default::default())
        .await
        .unwrap();
    assert_eq!(foreign_lists(harness).await.len(), 1);
}

/// All foreign lists with their lengths, by name.
async fn foreign_lists(harness: &dyn Harness) -> Vec<(String, usize)> {
    let storage = harness.storage();
    let mut found = BTreeMap::new();
    let mut next = Some(0);
    while let Some(cursor) = next {
        let page = storage.foreign_lists(cursor).await.unwrap();
        found.extend(page.lists.into_iter().map(|list| (list.key, list.jobs)));
        next = page.next;
    }
    found.into_iter().collect()
}
