use std::{collections::BTreeMap, future, time::UNIX_EPOCH};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;

use super::*;
use crate::{names::NodeId, outcome::Outcome, queues::Queues, time::clock::by_hand::ClockByHand};

const HEARTBEAT: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

/// The workers of a queue, on a node that has just registered.
struct Fixture {
    clock: Arc<ClockByHand>,
    workers: WorkersManager,
}

impl Fixture {
    fn new(concurrency: usize) -> Self {
        let clock = ClockByHand::new();
        let queues = BTreeMap::from([("mailers".parse().unwrap(), concurrency)]);
        let node = NodeId::register("here").unwrap();
        let guard = Arc::new(Queues::new(&queues))
            .register_managers(&node)
            .remove(0);
        let registration = Registration::new(node, HEARTBEAT, false, clock.instant());
        let mut workers = WorkersManager::new(
            Arc::new(ServerTime::new(Arc::clone(&clock) as Arc<dyn Clock>)),
            Arc::new(registration),
            Arc::clone(&guard.handle),
        );
        workers.set_concurrency(concurrency);
        Self { clock, workers }
    }

    /// Starts the job of this payload.
    fn start(
        &mut self,
        held: &'static str,
        timeout: Option<Duration>,
        perform: impl FnOnce(Arc<RunState>) -> RunFuture + Send + 'static,
    ) {
        let job = Job::new("Welcome", "mailers".parse().unwrap(), "[]".to_owned()).unwrap();
        let held = Bytes::from_static(held.as_bytes());
        let recent = Arc::default();
        self.workers
            .start(Arc::new(job), held, timeout, recent, perform);
    }

    /// Starts a job that does not end by itself.
    fn start_endless(&mut self, held: &'static str) {
        self.start(held, None, |_| future::pending().boxed());
    }

    /// The future of the job that started last. It is polled once.
    fn begun(&mut self) -> BoxFuture<'static, Instant> {
        let mut run = self.workers.started().pop().unwrap().run;
        assert!((&mut run).now_or_never().is_none(), "it ended at once");
        run
    }

    /// Polls the job that started last until it ends.
    fn run(&mut self) {
        let run = self.workers.started().pop().unwrap().run;
        assert!(run.now_or_never().is_some(), "it waits");
    }

    /// How the next run that has ended did.
    fn end(&mut self) -> RunEnd {
        self.workers.try_finished().unwrap().end
    }

    fn held(&self) -> Vec<Bytes> {
        self.workers.held().collect()
    }
}

fn done(_: Arc<RunState>) -> RunFuture {
    future::ready(Ok(Outcome::Done)).boxed()
}

/// The class and the message of the error of a run.
fn error(end: RunEnd) -> (String, String) {
    let RunEnd::Returned(Err(error)) = end else {
        panic!("no error: {end:?}");
    };
    (error.failure.error_class, error.failure.error_message)
}

#[test]
fn a_permit_comes_back_with_the_end_of_its_run() {
    let mut fixture = Fixture::new(2);
    fixture.start("1", None, done);
    fixture.start("2", None, done);
    assert_eq!(fixture.workers.free(), 0);
    fixture.run();
    assert_eq!(
        fixture.workers.free(),
        0,
        "the manager has not seen the end"
    );
    let ended = fixture.workers.try_finished().unwrap();
    assert_eq!((ended.held.as_ref(), ended.lost), (&b"2"[..], false));
    assert!(matches!(ended.end, RunEnd::Returned(Ok(Outcome::Done))));
    assert_eq!(fixture.workers.free(), 1);
    assert!(fixture.workers.try_finished().is_none());
    assert!(!fixture.workers.is_idle());
}

#[test]
fn fewer_permits_end_no_run() {
    let mut fixture = Fixture::new(2);
    fixture.start("1", None, done);
    fixture.start("2", None, done);
    fixture.workers.set_concurrency(1);
    assert_eq!((fixture.workers.free(), fixture.held().len()), (0, 2));
    fixture.run();
    fixture.end();
    assert_eq!(fixture.workers.free(), 0);
    fixture.run();
    fixture.end();
    assert_eq!(fixture.workers.free(), 1);
}

#[test]
fn a_run_that_is_dropped_gives_its_permit_back() {
    let mut fixture = Fixture::new(1);
    fixture.start_endless("1");
    // The runtime shuts down, before the first poll of a run or after it.
    drop(fixture.workers.started().pop());
    assert!(matches!(fixture.end(), RunEnd::Cancelled));
    fixture.start_endless("2");
    drop(fixture.begun());
    assert!(matches!(fixture.end(), RunEnd::Cancelled));
    assert_eq!(fixture.workers.free(), 1);
}

#[test]
fn the_times_of_a_run_are_those_of_its_job() {
    let mut fixture = Fixture::new(1);
    let clock = Arc::clone(&fixture.clock);
    clock.pass(SECOND);
    fixture.start("1", None, move |_| {
        clock.pass(SECOND * 2);
        future::ready(Ok(Outcome::Done)).boxed()
    });
    fixture.run();
    let times = fixture.workers.try_finished().unwrap().times;
    assert_eq!(times.started_at, UNIX_EPOCH + SECOND);
    assert_eq!(times.ended_at, UNIX_EPOCH + SECOND * 3);
    assert_eq!(times.took, SECOND * 2);
}

#[test]
fn a_panic_is_a_failure_wherever_it_happens() {
    let mut fixture = Fixture::new(1);
    let in_future = |_| async { panic!("on purpose") }.boxed();
    let before_it = |_| -> RunFuture { panic!("on purpose") };
    fixture.start("1", None, in_future);
    fixture.run();
    assert_eq!(error(fixture.end()).1, "on purpose");
    fixture.start("2", None, before_it);
    fixture.run();
    assert_eq!(error(fixture.end()).1, "on purpose");
    assert_eq!(fixture.workers.free(), 1);
}

#[test]
fn a_run_ends_when_its_time_is_up() {
    let mut fixture = Fixture::new(1);
    fixture.start("1", Some(SECOND), |_| future::pending().boxed());
    let run = fixture.begun();
    fixture.clock.pass(SECOND);
    assert!(run.now_or_never().is_some());
    let message = "ran longer than its timeout of 1s".to_owned();
    assert_eq!(error(fixture.end()), ("Timeout".to_owned(), message));
}

#[test]
fn a_timeout_that_no_clock_can_reach_is_none() {
    let mut fixture = Fixture::new(1);
    fixture.start("1", Some(Duration::MAX), |run| {
        assert_eq!(run.deadline, None);
        done(run)
    });
    fixture.run();
    assert!(matches!(fixture.end(), RunEnd::Returned(Ok(_))));
}

#[test]
fn a_cancelled_run_drops_its_job_before_it_ends() {
    let mut fixture = Fixture::new(2);
    let dropped = Arc::new(Mutex::new(false));
    let in_job = Arc::clone(&dropped);
    fixture.start("1", None, move |run| {
        let on_drop = OnDrop(in_job);
        async move {
            let _on_drop = on_drop;
            run.cancelled.cancelled().await;
            future::pending().await
        }
        .boxed()
    });
    let run = fixture.begun();
    fixture.workers.cancel_all();
    assert!(!*dropped.lock());
    assert!(run.now_or_never().is_some());
    assert!(*dropped.lock());
    assert!(matches!(fixture.end(), RunEnd::Cancelled));

    // A job that is done at the same time counts as done.
    fixture.start("2", None, done);
    fixture.run();
    assert!(matches!(fixture.end(), RunEnd::Returned(Ok(_))));
}

/// Notes that it was dropped.
struct OnDrop(Arc<Mutex<bool>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        *self.0.lock() = true;
    }
}

#[test]
fn a_node_that_may_be_dead_begins_no_job() {
    let mut fixture = Fixture::new(1);
    fixture.start("1", None, |_| panic!("it began"));
    // The process was suspended between the start and the first poll.
    fixture.clock.pass(HEARTBEAT + SECOND);
    fixture.run();
    assert!(matches!(fixture.end(), RunEnd::Cancelled));
}

#[test]
fn a_lost_run_continues_and_is_held_no_more() {
    let mut fixture = Fixture::new(4);
    for held in ["1", "2", "3"] {
        fixture.start_endless(held);
    }
    fixture.start("4", None, done);
    assert_eq!(fixture.held(), ["1", "2", "3", "4"]);
    fixture.run();
    fixture.end();
    // It gets the place of the run that ended, and still is the youngest.
    fixture.start("5", None, done);
    fixture.workers.lose(1);
    assert_eq!(fixture.held(), ["1", "3", "5"]);
    fixture.workers.lose(2);
    assert_eq!(fixture.held(), ["1", "3"]);
    assert_eq!(fixture.workers.jobs().len(), 4);
    fixture.run();
    let ended = fixture.workers.try_finished().unwrap();
    assert_eq!((ended.held.as_ref(), ended.lost), (&b"5"[..], true));
}
