//! Cells that fail, and what the error says.

use std::time::SystemTime;

use verk_core::{
    EnqueueExt as _,
    error::Applied,
    names::NodeId,
    storage::{
        DueSet, Gate, HolderPlace, Inprogress, JobSet, LockId, Move, MoveTarget, MovedQueue, Page,
        Settled, Settlement, Source, StoredLock, Target,
    },
};
use verk_testing::{Fault, Operation};

use crate::{Fleet, HOUR, QUEUES, job, name, payload};

#[tokio::test]
async fn a_read_names_the_cell_that_fails() {
    let fleet = Fleet::of(3);
    fleet.memories[2].faults().set_refusing(true);
    let error = fleet.admin.stats().await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("cell 2 (verk_testing::memory::MemoryStorage): "),
        "{text}"
    );
    assert!(error.get_ref().is::<Fault>());
    assert!(
        fleet
            .admin
            .dead_set()
            .list(&Default::default())
            .await
            .is_err()
    );
    assert!(fleet.admin.pauses().await.is_err());
    assert!(
        fleet
            .admin
            .locks(Page {
                offset: 0,
                limit: 1
            })
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_cell_that_fails_refuses_its_own_queues_alone() {
    let fleet = Fleet::of(3);
    fleet.memories[1].faults().set_refusing(true);
    for queue in QUEUES {
        let cell = fleet.cells.of(&name(queue));
        match fleet.client.enqueue(job(queue, 1)).await {
            Ok(_) => assert_ne!(cell, 1),
            Err(error) => {
                assert_eq!(cell, 1);
                assert!(!error.may_be_stored());
                assert!(error.to_string().contains("cell 1 ("), "{error}");
            }
        }
        let later = job(queue, 1).schedule_in(HOUR);
        assert_eq!(fleet.client.enqueue(later).await.is_err(), cell == 1);
        let once = fleet.client.enqueue_once(queue, job(queue, 1)).await;
        assert_eq!(once.is_err(), cell == 1);
    }
}

/// Cell 0 comes first.
#[tokio::test]
async fn a_batch_over_cells_says_whether_a_part_may_be_stored() {
    for (down, applied) in [(0, Applied::NotApplied), (2, Applied::Unknown)] {
        let fleet = Fleet::of(3);
        fleet.memories[down].faults().set_refusing(true);
        let later = QUEUES.map(|queue| job(queue, 1).schedule_in(HOUR));
        let error = fleet.client.enqueue_all(later).await.unwrap_err();
        assert!(error.stored.is_empty());
        assert_eq!(error.source.may_be_stored(), applied == Applied::Unknown);
        fleet.memories[down].faults().set_refusing(false);
        let scheduled = fleet.admin.scheduled_set().count().await.unwrap();
        assert_eq!(scheduled == 0, applied == Applied::NotApplied);
    }
}

#[tokio::test]
async fn a_pause_that_is_not_complete_is_an_error() {
    let fleet = Fleet::of(3);
    fleet.memories[1].faults().set_refusing(true);
    let error = fleet
        .admin
        .pause_queue_everywhere("mailers")
        .await
        .unwrap_err();
    assert_eq!(error.applied(), Applied::Unknown);
    assert!(error.to_string().contains("cell 1 ("), "{error}");
    fleet.memories[1].faults().set_refusing(false);
    assert_eq!(
        fleet.admin.paused_queues().await.unwrap(),
        [name("mailers")]
    );
    assert!(fleet.admin.pause_queue_everywhere("mailers").await.unwrap());

    for cell in &fleet.memories {
        cell.faults().set_refusing(true);
    }
    let error = fleet
        .admin
        .resume_queue_everywhere("mailers")
        .await
        .unwrap_err();
    assert_eq!(error.applied(), Applied::NotApplied);
}

/// The job may be moved, so it is not looked for in another cell.
#[tokio::test]
async fn a_move_with_an_unknown_result_is_not_tried_elsewhere() {
    let fleet = Fleet::of(3);
    fleet.put(fleet.home("mailers"), "mailers", "same").await;
    fleet
        .put(fleet.elsewhere("mailers"), "mailers", "same")
        .await;
    fleet
        .home("mailers")
        .faults()
        .lose_reply(Operation::MoveJobs);
    let moves = [Move::new(payload("mailers", "same"), MoveTarget::Delete)];
    let source = Source::Queue(name("mailers"));
    let moved = fleet.view.move_jobs(&source, &moves, None).await;
    let [Settled::Failed(error)] = &moved[..] else {
        panic!("{moved:?}");
    };
    assert_eq!(error.applied(), Applied::Unknown);
    assert!(error.to_string().contains("cell "), "{error}");
    assert_eq!(fleet.view.len(&source).await.unwrap(), 1);
}

#[tokio::test]
async fn clearing_says_which_cell_failed() {
    let fleet = Fleet::of(3);
    for queue in QUEUES {
        fleet
            .client
            .enqueue(job(queue, 1).schedule_in(HOUR))
            .await
            .unwrap();
    }
    fleet.memories[1].faults().set_refusing(true);
    let error = fleet
        .view
        .clear(&Source::Set(JobSet::Schedule))
        .await
        .unwrap_err();
    assert_eq!(error.applied(), Applied::Unknown);
    assert!(error.to_string().contains("cell 1 ("), "{error}");
    fleet.memories[1].faults().set_refusing(false);
    assert!(fleet.admin.scheduled_set().clear().await.unwrap() > 0);
    assert_eq!(fleet.admin.scheduled_set().count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_node_never_works_on_the_whole_fleet() {
    let fleet = Fleet::of(3);
    let (view, ttl) = (&fleet.view, HOUR);
    let node = NodeId::register("web").unwrap();
    let held = Inprogress {
        queue: name("mailers"),
        node: node.clone(),
    };
    let page = Page {
        offset: 0,
        limit: 1,
    };
    let settlements = [Settlement::new("{}".into(), Target::Ack)];
    let of_settled = |settled: Vec<Settled>| match settled.into_iter().next() {
        Some(Settled::Failed(error)) => error,
        other => panic!("{other:?}"),
    };
    let moved = MovedQueue {
        queue: held.queue.clone(),
        revision: 1,
        gate: Gate::Closed,
        place: String::new(),
    };
    let lock = StoredLock {
        id: LockId::from_bits(1),
        jid: "a".into(),
        class: String::new(),
        place: HolderPlace::Dead(SystemTime::UNIX_EPOCH),
        since: SystemTime::UNIX_EPOCH,
        until: None,
        conflicts: 0,
        next: None,
        revision: 1,
    };
    let errors = [
        view.register(&node, &[], ttl, &Default::default())
            .await
            .unwrap_err(),
        view.claim_name(&node, ttl).await.unwrap_err(),
        view.open_heartbeat(&node, ttl).await.unwrap_err(),
        view.deregister(&node).await.unwrap_err(),
        view.open_queue(&held).await.unwrap_err(),
        view.poll_schedule(&node, ttl).await.unwrap_err(),
        view.due(DueSet::Retry, SystemTime::UNIX_EPOCH, page)
            .await
            .unwrap_err(),
        view.record_stats(&node, 1, &Default::default())
            .await
            .unwrap_err(),
        view.count_deaths(&node, &[]).await.unwrap_err(),
        view.claim_layout("cells=1").await.unwrap_err(),
        view.record_move(&moved, 0).await.unwrap_err(),
        view.adopt_lock(&lock, None).await.unwrap_err(),
        of_settled(view.settle(&held, &settlements).await),
        of_settled(view.restore(&held, &settlements).await),
        of_settled(vec![view.begin(&held, &"{}".into(), &[]).await]),
    ];
    for error in errors {
        assert_eq!(error.applied(), Applied::NotApplied);
        let text = error.to_string();
        assert!(
            text.contains("a step of a node, which works on one cell"),
            "{text}"
        );
    }
    // One cell alone is that cell's storage.
    let one = Fleet::of(1);
    one.view
        .register(&node, &[], ttl, &Default::default())
        .await
        .unwrap();
}
