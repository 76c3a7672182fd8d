//! Poison pills: [`NodeStore::count_deaths`](verk_core::storage::NodeStore::count_deaths) and
//! [`JobStore::prefetched`](verk_core::storage::JobStore::prefetched).

use std::collections::HashMap;

use tokio_util::sync::CancellationToken;
use verk_core::{
    Jid,
    error::Applied,
    names::NodeId,
    storage::{DequeueRequest, Target},
};

use super::{
    Harness,
    fixture::{
        Fixture, TTL, assert_done, assert_refused, bytes, dequeue_while, jobs, look, node_id,
        numbered, queue_name, wait,
    },
};
use crate::Operation;

/// Each node that dies counts for the jobs that it had started.
pub async fn deaths_add_up_over_nodes(harness: &dyn Harness) {
    let expected = [
        (&["a", "b"][..], deaths(&[("a", 1), ("b", 1)])),
        (&["b", "c"], deaths(&[("b", 2), ("c", 1)])),
        (&["b"], deaths(&[("b", 3)])),
        (&[], deaths(&[])),
        (&["a", "c"], deaths(&[("a", 2), ("c", 2)])),
    ];
    for (started, expected) in expected {
        let node = dead_node(harness).await;
        assert_eq!(count(harness, &node, started).await, expected);
    }
}

/// A second count changes nothing and answers the same.
pub async fn a_node_dies_once(harness: &dyn Harness) {
    let node = dead_node(harness).await;
    let expected = deaths(&[("a", 1), ("b", 1)]);
    assert_eq!(count(harness, &node, &["a", "b"]).await, expected);
    let before = harness.dump().await;
    assert_eq!(count(harness, &node, &["a", "b"]).await, expected);
    assert_eq!(count(harness, &node, &["a"]).await, expected);
    assert_eq!(count(harness, &node, &[]).await, expected);
    assert_eq!(harness.dump().await, before);
}

/// A job that comes into a list after the count, by a fetch that was pending, was never started.
pub async fn what_comes_after_the_first_count_does_not_count(harness: &dyn Harness) {
    for started in [&["a"][..], &[]] {
        let node = dead_node(harness).await;
        let first = count(harness, &node, started).await;
        assert_eq!(first.len(), started.len());
        assert_eq!(count(harness, &node, &["late"]).await, first);
    }
    let node = dead_node(harness).await;
    let expected = deaths(&[("late", 1)]);
    assert_eq!(count(harness, &node, &["late"]).await, expected);
}

/// More jobs than go into one batch.
pub async fn the_death_of_many_jobs_is_counted(harness: &dyn Harness) {
    let names: Vec<String> = (0..250).map(|number| format!("job {number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for times in 1..=2 {
        let node = dead_node(harness).await;
        let counted = count(harness, &node, &names).await;
        assert_eq!(counted.len(), 250);
        assert!(counted.values().all(|deaths| *deaths == times), "{times}");
    }
}

/// The same job in two places of one node.
pub async fn a_job_that_is_held_twice_dies_once(harness: &dyn Harness) {
    let node = dead_node(harness).await;
    let expected = deaths(&[("a", 1), ("b", 1)]);
    assert_eq!(count(harness, &node, &["a", "b", "a"]).await, expected);
}

/// While the heartbeat exists, nothing is counted.
pub async fn the_jobs_of_a_live_node_do_not_count(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let node = &fixture.held.node;
    let before = harness.dump().await;
    assert_eq!(count(harness, node, &["a"]).await, deaths(&[]));
    assert_eq!(harness.dump().await, before);
    harness.expire_heartbeat(node).await;
    assert_eq!(count(harness, node, &["a"]).await, deaths(&[("a", 1)]));
}

/// Two nodes that restore a third.
pub async fn counting_at_once_counts_once(harness: &dyn Harness) {
    let node = dead_node(harness).await;
    let counts = tokio::join!(
        count(harness, &node, &["a", "b"]),
        count(harness, &node, &["a", "b"])
    );
    let expected = deaths(&[("a", 1), ("b", 1)]);
    assert_eq!(counts, (expected.clone(), expected));
}

/// A count whose reply was lost is done again, and counts once.
pub async fn a_lost_reply_to_a_count_counts_once(harness: &dyn Harness) {
    let storage = harness.storage();
    // Once before, so that everything is prepared.
    count(harness, &dead_node(harness).await, &["a"]).await;
    let node = dead_node(harness).await;
    let jids = [Jid::from("a"), Jid::from("b")];
    harness.lose_reply(Operation::CountDeaths).await;
    let lost = storage.count_deaths(&node, &jids).await;
    assert_refused(lost, Applied::Unknown);
    let expected = deaths(&[("a", 2), ("b", 1)]);
    assert_eq!(count(harness, &node, &["a", "b"]).await, expected);
}

/// Jobs of a dead node come back even when nothing more fits.
pub async fn a_full_backend_counts_deaths(harness: &dyn Harness) {
    let node = dead_node(harness).await;
    harness.fill().await;
    assert_eq!(count(harness, &node, &["a"]).await, deaths(&[("a", 1)]));
    harness.make_room().await;
}

/// Deregistering deletes the data of a node; that of its jobs stays.
pub async fn deregister_forgets_a_node_and_keeps_the_deaths_of_jobs(harness: &dyn Harness) {
    let before = harness.dump().await.keys().len();
    let node = dead_node(harness).await;
    count(harness, &node, &["a"]).await;
    assert!(harness.storage().deregister(&node).await.unwrap());
    let dump = harness.dump().await;
    assert_eq!(dump.keys().len(), before + 1, "{dump:?}");
    let node = dead_node(harness).await;
    assert_eq!(count(harness, &node, &["a"]).await, deaths(&[("a", 2)]));
}

/// Another node may have restored its jobs and removed it from the list since the check: then
/// nothing is kept of it.
pub async fn a_node_that_is_off_the_list_counts_nothing(harness: &dyn Harness) {
    let node = dead_node(harness).await;
    count(harness, &node, &["a"]).await;
    assert!(harness.storage().deregister(&node).await.unwrap());
    let before = harness.dump().await;
    assert_eq!(count(harness, &node, &["a", "b"]).await, deaths(&[]));
    assert_eq!(harness.dump().await, before);
}

/// The last fetch decides.
pub async fn a_fetch_says_how_many_jobs_are_prefetched(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    assert_eq!(fixture.prefetched().await, 0);
    fixture.enqueue_bytes(&numbered(20)).await;
    for (max_jobs, expected) in [(4, 3), (4, 4), (2, 1), (2, 0), (2, 7), (1, 0)] {
        fetch(&mut fixture, max_jobs, expected).await;
        assert_eq!(fixture.prefetched().await, expected);
    }
    // Lists are apart.
    let other = Fixture::on_queue(harness, "other").await;
    fetch(&mut fixture, 1, 1).await;
    assert_eq!(other.prefetched().await, 0);
    assert_eq!(fixture.prefetched().await, 1);
}

/// A node that asks for five jobs, two more than can start, and gets four, starts three of them.
pub async fn fewer_jobs_than_asked_for_are_fewer_prefetched(harness: &dyn Harness) {
    for (found, expected) in [(5, 2), (4, 1), (3, 0), (2, 0), (1, 0)] {
        let mut fixture = Fixture::new(harness).await;
        fixture.enqueue_bytes(&numbered(found)).await;
        fetch(&mut fixture, 5, 2).await;
        assert_eq!(fixture.prefetched().await, expected, "{found}");
    }
}

/// A fetch that finds nothing may bring one job after a wait.
pub async fn a_wait_may_bring_one_more(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    let fetched = dequeue_while(&mut fixture, async |storage| {
        let queue = queue_name("default");
        storage.enqueue(&queue, &bytes(&["a"])).await.unwrap();
    });
    assert_eq!(fetched.await, bytes(&["a"]));
    assert_eq!(fixture.prefetched().await, 0);

    // One job waits in the node, and one more is asked for.
    let interrupt = CancellationToken::new();
    interrupt.cancel();
    let request = DequeueRequest {
        max_jobs: 1,
        prefetched: 2,
        ..wait(&interrupt)
    };
    let answer = fixture.connection.dequeue(request).await;
    assert_eq!(jobs(answer.unwrap()), bytes(&[]));
    assert_eq!(fixture.prefetched().await, 2);
}

/// A backend may take fewer jobs at once than it is asked for.
pub async fn a_large_prefetch_is_counted_to_the_batch(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue_bytes(&numbered(1_000)).await;
    let fetched = fetch(&mut fixture, 1_000, 950).await;
    assert_eq!(fixture.prefetched().await, fetched.saturating_sub(50));
}

/// Nothing is left of a node.
pub async fn deregister_forgets_what_was_prefetched(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a"]).await;
    fetch(&mut fixture, 1, 1).await;
    assert_done(&fixture.settle(&["a"], Target::Ack).await);
    let gone = fixture.storage.deregister(&fixture.held.node).await;
    assert!(gone.unwrap());
    assert_eq!(fixture.prefetched().await, 0);
    let dump = harness.dump().await;
    assert_eq!(dump.keys().len(), 1, "{dump:?}");
}

/// Fetches without a wait; returns how many jobs came.
async fn fetch(fixture: &mut Fixture<'_>, max_jobs: usize, prefetched: usize) -> usize {
    let request = DequeueRequest {
        prefetched,
        ..look(max_jobs)
    };
    let answer = fixture.connection.dequeue(request).await;
    jobs(answer.expect("dequeue")).len()
}

/// A node that registered, and died.
async fn dead_node(harness: &dyn Harness) -> NodeId {
    let node = node_id();
    let registered = harness
        .storage()
        .register(&node, &[], TTL, &Default::default())
        .await;
    registered.expect("register");
    harness.expire_heartbeat(&node).await;
    node
}

async fn count(harness: &dyn Harness, node: &NodeId, started: &[&str]) -> HashMap<Jid, u32> {
    let started: Vec<Jid> = started.iter().map(|jid| Jid::from(*jid)).collect();
    let counted = harness.storage().count_deaths(node, &started).await;
    counted.expect("count deaths")
}

fn deaths(of: &[(&str, u32)]) -> HashMap<Jid, u32> {
    let of = of.iter().map(|(jid, deaths)| (Jid::from(*jid), *deaths));
    of.collect()
}
