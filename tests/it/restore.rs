//! Jobs of nodes that died go back to their queues.

use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use verk::{
    Event, EventKind, Job,
    names::NodeId,
    storage::{DequeueRequest, Dequeued, Inprogress, JobStore, NodeStore},
};
use verk_testing::{Key, MemoryStorage, within};

use crate::{
    faults::{Owned, Steady},
    support::{Fixture, Logged, PATIENCE, queue_name},
};

/// A node that took these jobs, and whose heartbeat is gone.
async fn dead_node(storage: &MemoryStorage, name: &str, jobs: u32) -> NodeId {
    dead_node_with(storage, name, "default", jobs).await
}

async fn dead_node_with(storage: &MemoryStorage, name: &str, queue: &str, jobs: u32) -> NodeId {
    let node = NodeId::register(name).unwrap();
    let queue = queue_name(queue);
    let ttl = Duration::from_secs(600);
    storage
        .register(
            &node,
            std::slice::from_ref(&queue),
            ttl,
            &Default::default(),
        )
        .await
        .unwrap();
    let payloads: Vec<Bytes> = (0..jobs)
        .map(|number| {
            Job::new("Steady", queue.clone(), format!("[{number}]"))
                .unwrap()
                .encode()
        })
        .collect();
    storage.enqueue(&queue, &payloads).await.unwrap();
    let inprogress = Inprogress {
        queue,
        node: node.clone(),
    };
    let request = DequeueRequest {
        max_jobs: 100,
        max_bytes: usize::MAX,
        prefetched: 0,
        wait: Duration::ZERO,
        interrupt: CancellationToken::new(),
    };
    let mut connection = storage.open_queue(&inprogress).await.unwrap();
    while connection.dequeue(request.clone()).await.unwrap() != Dequeued::Jobs(Vec::new()) {}
    storage.faults().expire_heartbeat(&node);
    node
}

async fn wait_for_restored(it: &mut Fixture) -> (NodeId, usize) {
    it.wait_for(|event| match event {
        Event {
            what: EventKind::JobsRestored { node, count, .. },
            ..
        } => Some((node, count)),
        _ => None,
    })
    .await
}

/// Waits until this node is the only one.
async fn wait_until_alone(it: &Fixture) {
    within(PATIENCE, async {
        while it.verk.storage().nodes().await.unwrap().len() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A node that holds the name of a dead one.
async fn started_as_worker_0(storage: MemoryStorage) -> Fixture {
    let it = Fixture::on(storage, |builder| {
        builder.queue("default", 1).node_id("worker-0".to_owned())
    })
    .await;
    it.verk.start().unwrap();
    it
}

#[tokio::test]
async fn what_an_earlier_holder_of_the_node_id_left_runs_again() {
    let storage = MemoryStorage::default();
    let dead = dead_node(&storage, "worker-0", 2).await;
    let mut it = started_as_worker_0(storage).await;
    // At once: this node has the name, so the other one is gone.
    assert_eq!(wait_for_restored(&mut it).await, (dead, 2));
    it.wait_for_finished(2).await;
    assert_eq!(it.log.entries(), ["0", "1"], "in the old order");
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_queue_that_cannot_take_its_jobs_back_holds_up_no_other() {
    let storage = MemoryStorage::default();
    // Two dead nodes, and the first of their queues is broken.
    let broken = dead_node_with(&storage, "worker-0", "broken", 2).await;
    let dead = dead_node_with(&storage, "worker-0", "default", 2).await;
    let both = [queue_name("broken"), queue_name("default")];
    for node in [&broken, &dead] {
        let ttl = Duration::from_secs(600);
        storage
            .register(node, &both, ttl, &Default::default())
            .await
            .unwrap();
        storage.faults().expire_heartbeat(node);
    }
    storage.faults().break_key(Key::Queue(queue_name("broken")));
    let mut it = started_as_worker_0(storage).await;
    assert_eq!(wait_for_restored(&mut it).await, (dead, 2));
    it.wait_for_finished(2).await;
    it.verk.shutdown().await;
}

#[tokio::test]
async fn what_still_runs_under_an_earlier_id_of_this_node_is_not_restored() {
    let mut it = Fixture::in_real_time(|builder| {
        builder
            .queue("default", 5)
            .heartbeat(Duration::from_secs(1))
            .node_id("worker-0".to_owned())
    })
    .await;
    it.verk.enqueue(Owned::new()).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_started(1).await;
    let node = it.verk.storage().nodes().await.unwrap().remove(0).id;
    it.storage.faults().expire_heartbeat(&node);
    it.storage.faults().expire_name(&node);
    // The node continues under a new id, which follows the old one in its name.
    for number in 0..50 {
        it.verk.enqueue(Steady::new(number)).await.unwrap();
        it.wait_for_finished(1).await;
    }
    it.gate.open();
    it.wait_for_finished(1).await;
    let owners: Vec<_> = it.log.entries().split_off(50);
    assert_eq!(owners, ["still owner: true"]);
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_dead_node_is_found_by_another_and_leaves_once_its_lists_stay_empty() {
    let (logged, _guard) = Logged::capture();
    let storage = MemoryStorage::default();
    let dead = dead_node(&storage, "other-host", 250).await;
    let mut it = Fixture::on(storage, |builder| {
        builder
            .queue("default", 1)
            .heartbeat(Duration::from_millis(500))
    })
    .await;
    it.verk.start().unwrap();
    assert_eq!(wait_for_restored(&mut it).await, (dead.clone(), 250));
    let announced = [
        "WARN",
        "sends no heartbeat",
        dead.as_str(),
        "restored_by=20",
    ];
    assert!(
        logged.lines_with(&announced) > 0,
        "nobody knows until when to wait"
    );
    it.wait_for_finished(250).await;
    wait_until_alone(&it).await;
    it.verk.shutdown().await;
    it.assert_empty().await;
    assert_eq!(
        it.log.entries(),
        (0..250)
            .map(|number| number.to_string())
            .collect::<Vec<_>>(),
        "in the old order"
    );
}
