//! Errors on the way to the storage and back, and what a node does about them.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use verk::{
    EnqueueExt, Event, EventKind, Job, JobContext, State,
    storage::{Due, Inprogress, JobSet, JobStore, NodeStore, Settled, Settlement, Target},
    time::Clock,
};
use verk_testing::{Key, Operation, within};

use crate::support::{
    ALL, Fixture, Gate, Log, Logged, PATIENCE, SLEEPERS, at_once, queue_name, wait_for,
};

#[verk::worker]
pub(crate) async fn steady(number: u32, State(log): State<Log>) {
    log.push(number.to_string());
}

#[verk::worker(retry_at = at_once)]
async fn failing_once(State(log): State<Log>, ctx: JobContext) -> Result<(), String> {
    log.push(format!("attempt {}", ctx.attempt()));
    if ctx.attempt() == 1 {
        Err("once".into())
    } else {
        Ok(())
    }
}

#[verk::worker]
pub(crate) async fn owned(State(gate): State<Gate>, State(log): State<Log>, ctx: JobContext) {
    gate.pass().await;
    log.push(format!("still owner: {}", ctx.still_owner()));
}

async fn fixture() -> Fixture {
    Fixture::in_real_time(|builder| {
        builder
            .queue("default", 5)
            .heartbeat(Duration::from_secs(1))
    })
    .await
}

async fn enqueue_steady(it: &Fixture, count: u32) {
    it.verk
        .client()
        .enqueue_all((0..count).map(Steady::new))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lost_reply_to_a_fetch_loses_no_job_and_runs_none_twice() {
    let mut it = fixture().await;
    enqueue_steady(&it, 20).await;
    it.storage.faults().lose_reply(Operation::Dequeue);
    it.verk.start().unwrap();
    it.wait_for_finished(20).await;
    it.verk.shutdown().await;
    let mut ran = it.log.entries();
    ran.sort_by_key(|number| number.parse::<u32>().unwrap());
    assert_eq!(
        ran,
        (0..20).map(|number| number.to_string()).collect::<Vec<_>>()
    );
    it.assert_empty().await;
}

#[tokio::test]
async fn what_was_read_long_ago_does_not_start() {
    let mut it = Fixture::with(|builder| {
        builder
            .queue("default", 5)
            .heartbeat(Duration::from_secs(10))
    })
    .await;
    enqueue_steady(&it, 1).await;
    let held = it.queued("default").await.remove(0);
    let faults = it.storage.faults();
    faults.lose_reply(Operation::Dequeue);
    faults.set_holding_reads(true);
    it.verk.start().unwrap();
    it.wait_for(|event| matches!(event.what, EventKind::ReplyLost { .. }).then_some(()))
        .await;
    // The process stands still while the answer is on its way: it is declared dead, and its job
    // given back.
    let node = it.storage.nodes().await.unwrap().remove(0).id;
    faults.set_losing_heartbeats(true);
    it.advance(Duration::from_secs(11));
    faults.expire_heartbeat(&node);
    let inprogress = Inprogress {
        queue: queue_name("default"),
        node,
    };
    let to = Target::Requeue;
    let restored = [Settlement::new(held, to)];
    let restored = it.storage.restore(&inprogress, &restored).await;
    assert!(matches!(restored[..], [Settled::Done]), "{restored:?}");
    faults.set_holding_reads(false);
    tokio::task::yield_now().await;

    within(PATIENCE, it.clock.wait_for_sleepers(SLEEPERS)).await;
    faults.set_losing_heartbeats(false);
    it.advance(Duration::from_secs(11));
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    assert_eq!(it.log.entries(), ["0"]);
    it.assert_empty().await;
}

#[tokio::test]
async fn jobs_of_a_lost_reply_start_in_their_order() {
    let mut it = fixture().await;
    enqueue_steady(&it, 5).await;
    it.storage.faults().lose_reply(Operation::Dequeue);
    it.verk.start().unwrap();
    let mut started = Vec::new();
    for _ in 0..5 {
        let args = it.wait_for(|event| match event {
            Event {
                what: EventKind::JobStarted,
                job: Some(job),
                ..
            } => Some(job.args().to_owned()),
            _ => None,
        });
        started.push(args.await);
    }
    assert_eq!(started, ["[0]", "[1]", "[2]", "[3]", "[4]"]);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_node_that_was_lost_in_an_outage_ends_its_old_life_at_once() {
    let mut it = Fixture::with(|builder| {
        builder
            .queue("default", 1)
            .heartbeat(Duration::from_secs(10))
    })
    .await;
    it.verk.start().unwrap();
    it.storage.wait_for_dequeues(1).await;
    it.storage.faults().set_refusing(true);
    // The heartbeat runs out, and the list is to be compared.
    it.advance(Duration::from_secs(40));
    // The heartbeat, the queue, the schedule, the watch, the pauses and the process: each waits
    // before it tries again.
    within(PATIENCE, it.clock.wait_for_sleepers(6)).await;
    it.storage.faults().set_refusing(false);
    it.advance(Duration::from_secs(5));
    // No time passes, so nothing else makes the queue look up.
    it.wait_for(|event| matches!(event.what, EventKind::QueuePaused).then_some(()))
        .await;
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_node_with_nothing_to_do_does_not_wait_for_the_storage_at_shutdown() {
    let hour = Duration::from_secs(3600);
    let it = Fixture::with(|builder| {
        builder
            .queue("default", 1)
            .heartbeat(Duration::from_secs(10))
            .shutdown_timeout(24 * hour)
    })
    .await;
    it.verk.start().unwrap();
    it.storage.wait_for_dequeues(1).await;
    it.storage.faults().set_refusing(true);
    // The list is to be compared, and cannot be read.
    it.advance(Duration::from_secs(40));
    within(PATIENCE, it.clock.wait_for_sleepers(6)).await;
    let start = it.clock.instant();
    let verk = it.verk.clone();
    let shutdown = tokio::spawn(async move { verk.shutdown().await });
    while !shutdown.is_finished() {
        it.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
    assert!(it.clock.instant() - start < hour);
}

#[tokio::test]
async fn a_removed_queue_waits_for_the_storage_until_the_node_stops() {
    let hour = Duration::from_secs(3600);
    let it = Fixture::with(|builder| {
        builder
            .queue("default", 1)
            .heartbeat(Duration::from_secs(10))
            .shutdown_timeout(24 * hour)
    })
    .await;
    it.verk.start().unwrap();
    it.storage.wait_for_dequeues(1).await;
    it.storage.faults().set_refusing(true);
    // The list is to be compared, and cannot be read.
    it.advance(Duration::from_secs(40));
    within(PATIENCE, it.clock.wait_for_sleepers(6)).await;
    let verk = it.verk.clone();
    let removal = tokio::spawn(async move { verk.remove_queue("default").await });
    for _ in 0..600 {
        it.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
    assert!(!removal.is_finished());

    let start = it.clock.instant();
    let verk = it.verk.clone();
    let shutdown = tokio::spawn(async move { verk.shutdown().await });
    while !shutdown.is_finished() {
        it.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
    assert!(it.clock.instant() - start < hour);
    within(PATIENCE, removal).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_node_that_may_hold_a_job_that_it_does_not_know_stays_on_the_list() {
    let it = Fixture::with(|builder| {
        builder
            .queue("default", 1)
            .heartbeat(Duration::from_secs(10))
    })
    .await;
    it.verk.start().unwrap();
    it.storage.wait_for_dequeues(1).await;
    it.storage.faults().set_refusing(true);
    it.advance(Duration::from_secs(40));
    within(PATIENCE, it.clock.wait_for_sleepers(6)).await;
    let verk = it.verk.clone();
    let shutdown = tokio::spawn(async move { verk.shutdown().await });
    // The storage is there again when the queue has given up.
    let (faults, mut events) = (it.storage.faults(), it.verk.events());
    let mended = tokio::spawn(async move {
        let paused = |event: Event| matches!(event.what, EventKind::QueuePaused).then_some(());
        wait_for(&mut events, paused).await;
        faults.set_refusing(false);
    });
    while !shutdown.is_finished() {
        it.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
    mended.await.unwrap();
    shutdown.await.unwrap();
    assert_eq!(it.verk.storage().nodes().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_lost_reply_to_a_settle_settles_once() {
    let mut it = fixture().await;
    it.verk.enqueue(FailingOnce::new()).await.unwrap();
    it.storage.faults().lose_reply(Operation::Settle);
    it.verk.start().unwrap();
    it.wait_for(|event| matches!(event.what, EventKind::JobFailed { .. }).then_some(()))
        .await;
    it.wait_for_finished(1).await;
    assert_eq!(it.log.entries(), ["attempt 1", "attempt 2"]);
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_storage_that_refuses_is_asked_again() {
    let mut it = fixture().await;
    it.verk.start().unwrap();
    it.storage.faults().set_refusing(true);
    let refused = it.verk.enqueue(Steady::new(0)).await.unwrap_err();
    assert!(!refused.may_be_stored());
    it.storage.faults().set_refusing(false);
    enqueue_steady(&it, 1).await;
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_full_storage_drains() {
    let mut it = fixture().await;
    enqueue_steady(&it, 10).await;
    it.verk.enqueue(FailingOnce::new()).await.unwrap();
    it.storage.faults().set_full(true);
    it.verk.start().unwrap();
    it.wait_for_finished(11).await;
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn an_outcome_that_cannot_be_stored_waits_and_holds_up_no_other() {
    let mut it = fixture().await;
    it.storage.faults().break_key(Key::Set(JobSet::Retry));
    it.verk.enqueue(FailingOnce::new()).await.unwrap();
    enqueue_steady(&it, 10).await;
    it.verk.start().unwrap();
    it.wait_for_finished(10).await;
    assert_eq!(it.verk.storage().nodes().await.unwrap().len(), 1);
    it.storage.faults().mend_key(&Key::Set(JobSet::Retry));
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_broken_retry_set_holds_up_no_scheduled_job() {
    let mut it = fixture().await;
    it.storage.faults().break_key(Key::Set(JobSet::Retry));
    it.verk
        .enqueue(Steady::new(0).schedule_in(Duration::from_millis(1)))
        .await
        .unwrap();
    it.verk.start().unwrap();
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
}

#[tokio::test]
async fn due_jobs_of_a_broken_queue_hold_up_no_other() {
    let mut it = fixture().await;
    it.storage
        .faults()
        .break_key(Key::Queue(queue_name("broken")));
    let due = |queue: &str, number: u32| Due {
        at: UNIX_EPOCH + Duration::from_secs(number.into()),
        job: Job::new("Steady", queue_name(queue), format!("[{number}]"))
            .unwrap()
            .encode(),
    };
    let mut jobs: Vec<Due> = (0..250).map(|number| due("broken", number)).collect();
    jobs.push(due("default", 250));
    it.storage.schedule(&jobs).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_finished(1).await;
    assert_eq!(it.set_len(JobSet::Schedule).await, 250);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_node_that_was_declared_dead_goes_on_under_a_new_id() {
    let (logged, _guard) = Logged::capture();
    let mut it = fixture().await;
    // The queue learns of it, not the heartbeat: what is logged on its thread is not captured.
    it.storage.faults().set_losing_heartbeats(true);
    it.verk.enqueue(Owned::new()).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_started(1).await;
    let before = it.verk.storage().nodes().await.unwrap();
    let before = &before[0].id;
    it.storage.faults().expire_heartbeat(before);

    enqueue_steady(&it, 10).await;
    let lost = it.wait_for(|event| match event {
        Event {
            what: EventKind::NodeLost { node, .. },
            ..
        } => Some(node),
        _ => None,
    });
    assert_eq!(lost.await, *before);
    let again = it.wait_for(|event| match event {
        Event {
            what: EventKind::NodeRegistered { node, .. },
            ..
        } => Some(node),
        _ => None,
    });
    assert_ne!(again.await, *before);
    let logged = logged.lines_with(&["WARN", "declared dead", before.as_str()]);
    assert_eq!(logged, 1);
    it.wait_for_finished(10).await;
    it.gate.open();
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_job_that_another_node_was_given_cannot_be_settled() {
    let mut it = fixture().await;
    it.verk.enqueue(Owned::new()).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_started(1).await;
    let node = it.verk.storage().nodes().await.unwrap().remove(0).id;

    // Another node judges this one dead, and takes its job.
    it.storage.faults().expire_heartbeat(&node);
    let inprogress = Inprogress {
        queue: queue_name("default"),
        node,
    };
    let held = it.storage.inprogress(&inprogress, ALL).await.unwrap();
    let settlement = Settlement::new(held[0].clone(), Target::Requeue);
    it.storage.restore(&inprogress, &[settlement]).await;

    // It runs here again, under the new id of this very node.
    it.wait_for_started(1).await;
    it.gate.open();
    let mut lost = 0;
    for _ in 0..2 {
        lost += it
            .wait_for(|event| match event {
                Event {
                    what: EventKind::JobLost,
                    ..
                } => Some(1),
                Event {
                    what: EventKind::JobFinished { .. },
                    ..
                } => Some(0),
                _ => None,
            })
            .await;
    }
    assert_eq!(lost, 1);
    it.verk.shutdown().await;
    it.assert_empty().await;
}

/// The node cannot know whether its outcome was stored before another node restored the job: here
/// it was not.
#[tokio::test]
async fn a_lost_reply_is_no_success_of_a_node_that_was_declared_dead() {
    let mut it = fixture().await;
    it.verk.enqueue(Owned::new()).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_started(1).await;
    let node = it.verk.storage().nodes().await.unwrap().remove(0).id;
    it.storage.faults().expire_heartbeat(&node);
    let inprogress = Inprogress {
        queue: queue_name("default"),
        node,
    };
    let held = it.storage.inprogress(&inprogress, ALL).await.unwrap();
    let settlement = Settlement::new(held[0].clone(), Target::Requeue);
    it.storage.restore(&inprogress, &[settlement]).await;
    // It runs under the new id. Then the first run ends, and after that the second.
    it.wait_for_started(1).await;
    it.storage.faults().lose_reply(Operation::Settle);
    for stored in [false, true] {
        it.gate.open_once();
        let was_stored = it.wait_for(|event| match event.what {
            EventKind::JobLost => Some(false),
            EventKind::JobFinished { .. } => Some(true),
            _ => None,
        });
        assert_eq!(was_stored.await, stored);
    }
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_running_job_can_ask_whether_it_is_still_the_nodes() {
    let mut it = fixture().await;
    it.verk.enqueue(Owned::new()).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_started(1).await;
    let node = it.verk.storage().nodes().await.unwrap().remove(0).id;

    // An operator removes it; the next lost reply makes the node look.
    let inprogress = Inprogress {
        queue: queue_name("default"),
        node,
    };
    let held: Vec<Bytes> = it.storage.inprogress(&inprogress, ALL).await.unwrap();
    it.storage
        .settle(
            &inprogress,
            &[Settlement::new(held[0].clone(), Target::Ack)],
        )
        .await;
    it.storage.faults().lose_reply(Operation::Dequeue);
    enqueue_steady(&it, 1).await;
    it.wait_for_finished(1).await;
    it.gate.open();
    let lost = it
        .wait_for(|event| matches!(event.what, EventKind::JobLost).then_some(event))
        .await;
    assert_eq!(lost.job.unwrap().class(), "Owned");
    assert_eq!(it.log.entries(), ["0", "still owner: false"]);
    it.verk.shutdown().await;
    it.assert_empty().await;
}
