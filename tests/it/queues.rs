//! Queues at run time: added, removed, paused, resumed, wider and narrower.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use verk::{
    Event, EventKind, Jid, Job, State,
    error::ConfigError,
    prelude::*,
    queues::{QueueStatus, Status},
    test_seam::{RunFuture, TestSeam},
};
use verk_testing::within;

use crate::support::{Fixture, Gate, Gauge, Log, PATIENCE, SLEEPERS, queue_name};

#[verk::worker]
async fn brief(text: String, State(log): State<Log>) {
    log.push(text);
}

#[verk::worker]
async fn held(
    text: String,
    State(gate): State<Gate>,
    State(gauge): State<Gauge>,
    State(log): State<Log>,
) {
    gauge.enter();
    gate.pass().await;
    gauge.leave();
    log.push(text);
}

async fn started(concurrency: usize) -> Fixture {
    let it = Fixture::with(|builder| builder.queue("default", concurrency)).await;
    it.verk.start().unwrap();
    it
}

async fn enqueue_held(it: &Fixture, count: usize) {
    for number in 1..=count {
        it.verk
            .enqueue(Held::new(number.to_string()))
            .await
            .unwrap();
    }
}

/// What happened to the queues.
fn of_queue(event: &Event) -> Option<&'static str> {
    match event {
        Event {
            what: EventKind::QueueRunning,
            ..
        } => Some("running"),
        Event {
            what: EventKind::QueuePausing,
            ..
        } => Some("pausing"),
        Event {
            what: EventKind::QueuePaused,
            ..
        } => Some("paused"),
        _ => None,
    }
}

async fn wait_for_queue(it: &mut Fixture, wanted: &str) {
    let next = it.wait_for(|event| of_queue(&event)).await;
    assert_eq!(next, wanted);
}

fn only(it: &Fixture) -> (usize, usize, Status) {
    let [
        QueueStatus {
            concurrency,
            running,
            status,
            ..
        },
    ] = it.verk.queues()[..]
    else {
        panic!("one queue: {:?}", it.verk.queues());
    };
    (concurrency, running, status)
}

#[tokio::test]
async fn a_paused_queue_starts_no_job_until_it_is_resumed() {
    let mut it = started(5).await;
    wait_for_queue(&mut it, "running").await;
    it.storage.wait_for_dequeues(1).await;
    assert_eq!(only(&it), (5, 0, Status::Idle));

    assert!(it.verk.pause_queue("default").unwrap());
    assert!(!it.verk.pause_queue("default").unwrap(), "it is already");
    wait_for_queue(&mut it, "pausing").await;
    // The idle fetch was interrupted, or this would not come.
    wait_for_queue(&mut it, "paused").await;
    assert_eq!(only(&it), (5, 0, Status::Paused));
    it.verk.enqueue(Brief::new("later")).await.unwrap();
    assert_eq!(it.queued("default").await.len(), 1);

    assert!(it.verk.resume_queue("default").unwrap());
    assert!(!it.verk.resume_queue("default").unwrap(), "it is already");
    wait_for_queue(&mut it, "running").await;
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_job_that_a_fetch_brings_after_the_pause_goes_back() {
    let mut it = started(5).await;
    it.storage.wait_for_dequeues(1).await;
    it.verk.pause_queue("default").unwrap();
    // The manager has not looked yet: its fetch is still in flight.
    it.verk.enqueue(Brief::new("later")).await.unwrap();
    it.wait_for(|event| {
        assert!(!matches!(event.what, EventKind::JobStarted), "paused");
        matches!(event.what, EventKind::QueuePaused).then_some(())
    })
    .await;
    assert_eq!(it.queued("default").await.len(), 1);
    it.verk.resume_queue("default").unwrap();
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn jobs_that_run_when_their_queue_is_paused_go_on() {
    let mut it = started(2).await;
    enqueue_held(&it, 3).await;
    it.wait_for_started(2).await;
    assert_eq!(only(&it), (2, 2, Status::Running));
    let running = it.verk.running_jobs();
    assert_eq!(running.len(), 2);
    assert_eq!(
        (running[0].class.as_str(), &running[0].queue),
        ("Held", &queue_name("default"))
    );

    it.verk.pause_queue("default").unwrap();
    it.wait_for(|event| matches!(event.what, EventKind::QueuePausing).then_some(()))
        .await;
    assert_eq!(only(&it), (2, 2, Status::Pausing));
    it.gate.open();
    it.wait_for_finished(2).await;
    wait_for_queue(&mut it, "paused").await;
    assert_eq!(only(&it), (2, 0, Status::Paused));
    assert_eq!(it.verk.running_jobs(), []);
    assert_eq!(
        it.queued("default").await.len(),
        1,
        "the third did not start"
    );
    it.verk.shutdown().await;
    assert_eq!(it.queued("default").await.len(), 1);
    it.assert_signed_off().await;
}

#[tokio::test]
async fn a_queue_that_was_paused_before_the_start_starts_paused() {
    let mut it = Fixture::new().await;
    it.verk.pause_queue("default").unwrap();
    assert_eq!(only(&it), (5, 0, Status::Paused));
    it.verk.enqueue(Brief::new("later")).await.unwrap();
    it.verk.start().unwrap();
    wait_for_queue(&mut it, "pausing").await;
    wait_for_queue(&mut it, "paused").await;
    assert_eq!(it.queued("default").await.len(), 1);
    it.verk.resume_queue("default").unwrap();
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
}

#[tokio::test]
async fn each_pause_is_told_even_if_nobody_looked_in_between() {
    let mut it = started(1).await;
    wait_for_queue(&mut it, "running").await;
    it.verk.pause_queue("default").unwrap();
    wait_for_queue(&mut it, "pausing").await;
    wait_for_queue(&mut it, "paused").await;
    // No await between them: the manager sees one change.
    it.verk.resume_queue("default").unwrap();
    it.verk.pause_queue("default").unwrap();
    wait_for_queue(&mut it, "pausing").await;
    wait_for_queue(&mut it, "paused").await;
    it.verk.resume_queue("default").unwrap();
    wait_for_queue(&mut it, "running").await;
    it.verk.shutdown().await;
}

/// Makes the manager panic, once, when it tells that its queue pauses.
#[derive(Debug, Default)]
struct PanicOnce(AtomicBool);

impl TestSeam for PanicOnce {
    fn event(&self, event: &Event) {
        let pausing = matches!(event.what, EventKind::QueuePausing);
        assert!(
            !pausing || self.0.swap(true, Ordering::SeqCst),
            "the manager panics"
        );
    }

    fn run(&self, _: &Arc<Job>, _: Option<&ConfigError>, run: RunFuture) -> RunFuture {
        run
    }

    fn stored(&self, _: Vec<Jid>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn a_pause_outlives_a_panic_of_the_manager() {
    let mut it = Fixture::in_real_time(|builder| {
        builder
            .queue("default", 2)
            .for_test(Arc::new(PanicOnce::default()))
    })
    .await;
    it.verk.start().unwrap();
    enqueue_held(&it, 1).await;
    it.wait_for_started(1).await;
    it.verk.pause_queue("default").unwrap();
    wait_for_queue(&mut it, "pausing").await;
    // Again, by the manager that was restarted.
    wait_for_queue(&mut it, "pausing").await;
    it.verk.enqueue(Brief::new("later")).await.unwrap();
    assert_eq!(only(&it), (2, 1, Status::Pausing));
    it.gate.open();
    it.wait_for_finished(1).await;
    wait_for_queue(&mut it, "paused").await;
    assert_eq!(it.queued("default").await.len(), 1);
    it.verk.shutdown().await;
    assert_eq!(it.log.entries(), ["1"]);
    it.assert_signed_off().await;
}

#[tokio::test]
async fn a_pause_outlives_the_node_id() {
    let mut it = started(1).await;
    it.storage.wait_for_dequeues(1).await;
    it.verk.pause_queue("default").unwrap();
    it.wait_for(|event| matches!(event.what, EventKind::QueuePaused).then_some(()))
        .await;
    let first = it.verk.storage().nodes().await.unwrap()[0].id.clone();
    it.storage.faults().expire_heartbeat(&first);
    // Paused, it finds out by its heartbeat.
    within(PATIENCE, it.clock.wait_for_sleepers(SLEEPERS)).await;
    it.advance(Duration::from_secs(365 * 24 * 60 * 60 / 3));
    wait_for_queue(&mut it, "pausing").await;
    wait_for_queue(&mut it, "paused").await;
    let nodes = it.verk.storage().nodes().await.unwrap();
    assert!(
        nodes.iter().any(|node| node.id != first),
        "a new id: {nodes:?}"
    );
    it.verk.enqueue(Brief::new("later")).await.unwrap();
    assert_eq!(only(&it), (1, 0, Status::Paused));
    it.verk.resume_queue("default").unwrap();
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_removed_queue_drains_and_can_be_added_again() {
    let mut it = Fixture::with(|builder| builder.queue("default", 1).queue("other", 1)).await;
    it.verk.start().unwrap();
    enqueue_held(&it, 1).await;
    it.wait_for_started(1).await;
    it.verk.enqueue(Brief::new("after")).await.unwrap();

    let verk = it.verk.clone();
    let removal = tokio::spawn(async move { verk.remove_queue("default").await });
    it.wait_for(|event| matches!(event.what, EventKind::QueuePausing).then_some(()))
        .await;
    assert!(!removal.is_finished());
    assert_eq!(it.verk.queues().len(), 1, "the other");
    assert_eq!(it.verk.running_jobs().len(), 1, "it drains");

    // The second manager starts when the first has ended.
    it.verk.add_queue("default", 1).unwrap();
    it.verk
        .enqueue(Brief::new("elsewhere").queue("other"))
        .await
        .unwrap();
    it.wait_for_finished(1).await;
    assert_eq!(it.log.entries(), ["elsewhere"]);
    it.gate.open();
    removal.await.unwrap().unwrap();
    it.wait_for_finished(2).await;
    assert_eq!(it.log.entries(), ["elsewhere", "1", "after"]);
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn what_does_not_finish_when_its_queue_is_removed_goes_back() {
    let mut it = started(2).await;
    enqueue_held(&it, 3).await;
    let before = it.queued("default").await;
    it.wait_for_started(2).await;
    let verk = it.verk.clone();
    let removal = tokio::spawn(async move { verk.remove_queue("default").await });
    it.wait_for(|event| matches!(event.what, EventKind::QueuePausing).then_some(()))
        .await;
    while !removal.is_finished() {
        it.advance(Duration::from_secs(25));
        tokio::task::yield_now().await;
    }
    removal.await.unwrap().unwrap();
    let after = it.queued("default").await;
    assert_eq!(after.len(), 3);
    assert_eq!(after[2], before[before.len() - 1]);
    assert_eq!(it.log.entries(), [""; 0]);
    it.verk.shutdown().await;
    it.assert_signed_off().await;
}

/// Never yields.
#[verk::worker]
async fn stuck(State(gate): State<Gate>, State(log): State<Log>) {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| runtime.block_on(gate.pass()));
    log.push("done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_does_not_end_keeps_its_list() {
    let mut it = Fixture::in_real_time(|builder| {
        builder.queue("default", 1).shutdown_timeout(Duration::ZERO)
    })
    .await;
    it.verk.start().unwrap();
    it.verk.enqueue(Stuck::new()).await.unwrap();
    it.wait_for_started(1).await;
    let verk = it.verk.clone();
    let removal = tokio::spawn(async move { verk.remove_queue("default").await });
    it.wait_for(|event| matches!(event.what, EventKind::QueuePausing).then_some(()))
        .await;
    let again = it.verk.add_queue("default", 1);
    let ended = removal.is_finished();
    it.gate.open();
    again.unwrap();
    assert!(!ended);
    within(PATIENCE, removal).await.unwrap().unwrap();
    it.wait_for(|event| matches!(event.what, EventKind::QueueRunning).then_some(()))
        .await;
    it.verk.shutdown().await;
    assert_eq!(it.log.entries(), ["done"], "it ran once");
    it.assert_empty().await;
}

#[tokio::test]
async fn concurrency_changes_while_jobs_run() {
    let mut it = started(1).await;
    enqueue_held(&it, 6).await;
    it.wait_for_started(1).await;
    assert!(it.verk.set_concurrency("default", 3).unwrap());
    assert!(!it.verk.set_concurrency("default", 3).unwrap());
    it.wait_for_started(2).await;
    assert_eq!(only(&it), (3, 3, Status::Running));

    assert!(it.verk.set_concurrency("default", 1).unwrap());
    it.gate.open_once();
    it.gate.open_once();
    it.wait_for_finished(2).await;
    // Two have ended, and none may start.
    assert_eq!(only(&it), (1, 1, Status::Running));
    assert_eq!(it.queued("default").await.len(), 3);
    it.gate.open();
    it.wait_for_finished(4).await;
    assert_eq!(it.gauge.most(), 3);
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_fetch_that_asked_for_too_many_starts_no_more_than_allowed() {
    let mut it = started(5).await;
    it.storage.wait_for_dequeues(1).await;
    it.verk.set_concurrency("default", 1).unwrap();
    enqueue_held(&it, 5).await;
    it.wait_for_started(1).await;
    it.gate.open();
    it.wait_for_finished(5).await;
    assert_eq!(it.gauge.most(), 1);
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_queue_that_the_node_does_not_run_is_an_error_that_names_it() {
    let it = Fixture::new().await;
    let unknown = |result: Result<(), ConfigError>| {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, ConfigError::UnknownQueue { name } if name.as_str() == "low"),
            "{error}"
        );
    };
    unknown(it.verk.pause_queue("low").map(drop));
    unknown(it.verk.resume_queue("low").map(drop));
    unknown(it.verk.set_concurrency("low", 1).map(drop));
    unknown(it.verk.remove_queue("low").await);
    let none = it.verk.set_concurrency("default", 0).unwrap_err();
    assert_eq!(
        none.to_string(),
        "concurrency of queue default is 0; accepted: at least 1"
    );
    // Before the start nothing drains.
    it.verk.remove_queue("default").await.unwrap();
    unknown(it.verk.remove_queue("low").await);
    assert_eq!(it.verk.queues(), []);
    it.verk.add_queue("default", 2).unwrap();
    assert_eq!(only(&it), (2, 0, Status::Idle));
}
