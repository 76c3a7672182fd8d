//! What the conformance suite can't ask: the virtual clock, and the switches.

use verk_core::{
    error::Applied,
    storage::{DequeueRequest, Dequeued, Heartbeat, NameClaim, NodeStore},
};

use super::*;
use crate::{VirtualClock, within};

const MINUTE: Duration = Duration::from_secs(60);

struct Setup {
    clock: VirtualClock,
    storage: MemoryStorage,
    held: Inprogress,
}

impl Setup {
    async fn new() -> Self {
        let clock = VirtualClock::new();
        let storage = MemoryStorage::new(Arc::new(clock.clone()));
        let held = Inprogress {
            queue: "default".parse().unwrap(),
            node: NodeId::register("web").unwrap(),
        };
        storage
            .register(&held.node, &[], MINUTE, &Default::default())
            .await
            .unwrap();
        Self {
            clock,
            storage,
            held,
        }
    }

    async fn connection(&self) -> Box<dyn QueueConnection> {
        self.storage.open_queue(&self.held).await.unwrap()
    }

    async fn heartbeat(&self) -> Box<dyn Heartbeat> {
        let heartbeat = self.storage.open_heartbeat(&self.held.node, MINUTE).await;
        heartbeat.unwrap()
    }
}

fn wait(wait: Duration) -> DequeueRequest {
    DequeueRequest {
        max_jobs: 1,
        max_bytes: 1024,
        prefetched: 0,
        wait,
        interrupt: Default::default(),
    }
}

#[tokio::test]
async fn a_heartbeat_and_a_name_run_out_with_the_clock() {
    let setup = Setup::new().await;
    let (node, storage) = (&setup.held.node, &setup.storage);
    storage.claim_name(node, MINUTE).await.unwrap();
    let mut heartbeat = setup.heartbeat().await;

    setup.clock.advance(MINUTE * 3 / 4);
    assert!(heartbeat.beat().await.unwrap().alive);
    setup.clock.advance(MINUTE * 3 / 4);
    assert!(storage.nodes().await.unwrap()[0].alive);
    let successor = NodeId::register("web").unwrap();
    assert_eq!(
        storage.claim_name(&successor, MINUTE).await.unwrap(),
        NameClaim::Held {
            by: node.clone(),
            ttl: MINUTE / 4
        }
    );

    setup.clock.advance(MINUTE / 4);
    assert!(!storage.nodes().await.unwrap()[0].alive);
    assert!(!heartbeat.beat().await.unwrap().alive);
    let claim = storage.claim_name(&successor, MINUTE).await.unwrap();
    assert_eq!(claim, NameClaim::Granted);
}

#[tokio::test]
async fn a_wait_ends_with_the_clock() {
    let setup = Setup::new().await;
    let mut connection = setup.connection().await;
    let (answer, ()) = within(MINUTE, async {
        tokio::join!(connection.dequeue(wait(MINUTE / 2)), async {
            setup.storage.wait_for_dequeues(1).await;
            setup.clock.advance_to(setup.clock.next_deadline().unwrap());
        })
    })
    .await;
    assert_eq!(answer.unwrap(), Dequeued::Jobs(Vec::new()));
    assert_eq!(setup.clock.sleepers(), 0);
}

#[tokio::test]
async fn a_wait_without_end_can_be_asked_for() {
    let setup = Setup::new().await;
    let mut connection = setup.connection().await;
    let (answer, enqueued) = within(MINUTE, async {
        tokio::join!(connection.dequeue(wait(Duration::MAX)), async {
            setup.storage.wait_for_dequeues(1).await;
            setup
                .storage
                .enqueue(&setup.held.queue, &["a".into()])
                .await
        })
    })
    .await;
    enqueued.unwrap();
    assert_eq!(answer.unwrap(), Dequeued::Jobs(vec!["a".into()]));
}

#[tokio::test]
async fn server_time_is_that_of_the_clock() {
    let setup = Setup::new().await;
    setup.clock.advance(MINUTE);
    let beat = setup.heartbeat().await.beat().await.unwrap();
    assert_eq!(beat.server_time, setup.clock.now());
    assert_eq!(
        setup.storage.server_time().await.unwrap(),
        setup.clock.now()
    );
}

#[tokio::test]
async fn refusing_ends_a_wait_and_names_its_cause() {
    let setup = Setup::new().await;
    let mut connection = setup.connection().await;
    let (answer, ()) = within(MINUTE, async {
        tokio::join!(connection.dequeue(wait(MINUTE)), async {
            setup.storage.wait_for_dequeues(1).await;
            setup.storage.faults().set_refusing(true);
        })
    })
    .await;
    let error = answer.unwrap_err();
    assert_eq!(error.applied(), Applied::NotApplied);
    let cause = error.get_ref().to_string();
    assert_eq!(cause, Fault::Refused.to_string());
}

#[tokio::test]
async fn a_dequeue_that_waits_learns_that_its_node_is_gone() {
    let setup = Setup::new().await;
    let mut connection = setup.connection().await;
    let (answer, ()) = within(MINUTE, async {
        tokio::join!(connection.dequeue(wait(MINUTE)), async {
            setup.storage.wait_for_dequeues(1).await;
            setup.storage.faults().expire_heartbeat(&setup.held.node);
        })
    })
    .await;
    assert_eq!(answer.unwrap(), Dequeued::NodeGone);
}
