//! Code that is not verk's and that panics: it has no effect on jobs, permits and nodes.

mod faults;
mod log;
mod process;
mod redis;
mod start;
mod table;

use std::{
    error::Error,
    fmt,
    panic::panic_any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant, SystemTime},
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use verk::{
    Event, EventKind, State, Verk,
    prelude::*,
    storage::JobSet,
    test_seam::{RunFuture, TestSeam},
    time::{Clock, SystemClock},
};
use verk_testing::within;

use crate::support::{Fixture, Gate, Log, PATIENCE, at_once, until};
use log::{CALLS, PanickingLog};
pub(crate) use log::{PanicsAtLines, panic_if_asked, panicking_layer};

#[verk::worker]
async fn observed(number: u32, State(log): State<Log>) {
    tokio::task::yield_now().await;
    log.push(number.to_string());
}

#[verk::worker(retry_at = at_once, max_retry_count = 1)]
async fn observed_failure(ctx: JobContext) -> Result<(), String> {
    if ctx.attempt() == 1 {
        Err("not yet".to_owned())
    } else {
        Ok(())
    }
}

#[verk::worker]
async fn observed_for_long(State(gate): State<Gate>) {
    gate.pass().await;
}

/// Panics when it is dropped, with another one.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any(Self);
    }
}

#[verk::worker(max_retry_count = 0)]
async fn bomb_payload() {
    panic_any(Bomb);
}

#[verk::worker(max_retry_count = 0, timeout = "1s")]
async fn bomb_in_a_future(ends: bool) {
    let _bomb = Bomb;
    if !ends {
        std::future::pending::<()>().await;
    }
}

fn no_time(_failed_at: SystemTime, _retry_count: u32) -> SystemTime {
    panic_any(Bomb)
}

#[verk::worker(retry_at = no_time)]
async fn without_a_time() -> Result<(), String> {
    Err("no".to_owned())
}

/// Panics when it is shown.
#[derive(Debug)]
struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic_any(Bomb)
    }
}

impl Error for Unreadable {}

#[verk::worker(retry_in = kill)]
async fn with_an_unreadable_error() -> Result<(), Unreadable> {
    Err(Unreadable)
}

fn kill(_retry_count: u32, _error: &Unreadable) -> RetryIn {
    RetryIn::Kill
}

#[verk::worker(retry_in = undecided)]
async fn without_a_decision() -> Result<(), String> {
    Err("no".to_owned())
}

fn undecided(_retry_count: u32, _error: &String) -> RetryIn {
    panic_any(Bomb)
}

/// The node is well, as far as it knows, and caught something.
fn assert_well(verk: &Verk) {
    let health = verk.health();
    assert!(health.live && health.ready, "{health:?}");
    assert!(health.caught_panics > 0, "nothing panicked");
}

#[tokio::test]
async fn a_subscriber_that_panics_has_no_effect_on_jobs() {
    for &call in CALLS {
        let log = PanickingLog::install(call);
        let mut it = Fixture::new().await;
        for number in 0..20 {
            it.verk.enqueue(Observed::new(number)).await.unwrap();
        }
        it.verk.enqueue(ObservedFailure::new()).await.unwrap();
        it.verk.start().unwrap();
        it.wait_for_finished(21).await;
        assert_well(&it.verk);
        it.verk.shutdown().await;
        it.assert_empty().await;
        assert_eq!(it.log.entries().len(), 20, "{call:?}");
        assert!(log.panicked() > 0, "{call:?}");
    }
}

#[tokio::test]
async fn a_subscriber_that_panics_has_no_effect_on_a_shutdown() {
    for &call in CALLS {
        let log = PanickingLog::install(call);
        let mut it = Fixture::in_real_time(|builder| {
            builder.queue("default", 2).shutdown_timeout(Duration::ZERO)
        })
        .await;
        for _ in 0..3 {
            it.verk.enqueue(ObservedForLong::new()).await.unwrap();
        }
        let before = it.queued("default").await;
        it.verk.start().unwrap();
        it.wait_for_started(2).await;
        within(PATIENCE, it.verk.shutdown()).await;
        assert_eq!(it.queued("default").await, before, "{call:?}");
        it.assert_signed_off().await;
        assert!(log.panicked() > 0, "{call:?}");
    }
}

/// Panics in the manager of a queue when a job starts, once.
#[derive(Debug, Default)]
struct PanickingOnce(AtomicBool);

impl TestSeam for PanickingOnce {
    fn event(&self, event: &Event) {
        if matches!(event.what, EventKind::JobStarted) && !self.0.swap(true, Ordering::SeqCst) {
            panic_any(Bomb);
        }
    }

    fn run(
        &self,
        _: &Arc<verk::Job>,
        _: Option<&verk::error::ConfigError>,
        run: RunFuture,
    ) -> RunFuture {
        run
    }

    fn stored(&self, _: Vec<verk::Jid>) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}

#[tokio::test]
async fn a_subscriber_that_panics_has_no_effect_on_a_manager_that_restarts() {
    for &call in CALLS {
        let log = PanickingLog::install(call);
        let seam = Arc::new(PanickingOnce::default());
        let mut it =
            Fixture::in_real_time(|builder| builder.queue("default", 2).for_test(seam.clone()))
                .await;
        for number in 0..10 {
            it.verk.enqueue(Observed::new(number)).await.unwrap();
        }
        it.verk.start().unwrap();
        it.wait_for_finished(10).await;
        assert!(seam.0.load(Ordering::SeqCst), "the manager panicked");
        assert_well(&it.verk);
        within(PATIENCE, it.verk.shutdown()).await;
        it.assert_empty().await;
        assert!(log.panicked() > 0, "{call:?}");
    }
}

#[tokio::test]
async fn a_panic_whose_payload_panics_gives_its_permit_back() {
    let mut it = Fixture::new().await;
    for _ in 0..5 {
        it.verk.enqueue(BombPayload::new()).await.unwrap();
    }
    it.verk.enqueue(Observed::new(1)).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    let dead = it.set(JobSet::Dead).await;
    assert_eq!(dead.len(), 5);
    assert_eq!(dead[0].error_class().as_deref(), Some("Panic"));
    it.assert_signed_off().await;
    log::keep_places();
}

#[tokio::test]
async fn a_future_that_panics_when_it_is_dropped_gives_its_permit_back() {
    let mut it = Fixture::new().await;
    for number in 0..5 {
        let job = BombInAFuture::new(number % 2 == 0);
        it.verk.enqueue(job).await.unwrap();
    }
    it.verk.enqueue(Observed::new(1)).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_started(5).await;
    it.advance(Duration::from_secs(2));
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    assert_eq!(it.set(JobSet::Dead).await.len(), 5);
    it.assert_signed_off().await;
}

#[tokio::test]
async fn a_retry_at_that_panics_is_replaced_by_the_backoff() {
    let mut it = Fixture::new().await;
    it.verk.enqueue(WithoutATime::new()).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for(|event| matches!(event.what, EventKind::JobFailed { .. }).then_some(()))
        .await;
    assert_well(&it.verk);
    it.verk.shutdown().await;
    assert_eq!(it.set(JobSet::Retry).await.len(), 1);
    log::keep_places();
}

#[tokio::test]
async fn a_retry_in_or_an_error_that_panics_leaves_the_failure_as_it_is() {
    let mut it = Fixture::new().await;
    it.verk.enqueue(WithAnUnreadableError::new()).await.unwrap();
    it.verk.enqueue(WithoutADecision::new()).await.unwrap();
    it.verk.start().unwrap();
    for _ in 0..2 {
        it.wait_for(|event| matches!(event.what, EventKind::JobFailed { .. }).then_some(()))
            .await;
    }
    assert_well(&it.verk);
    it.verk.shutdown().await;
    let dead = it.set(JobSet::Dead).await;
    assert_eq!(dead[0].error_class().as_deref(), Some("Unreadable"));
    let retry = it.set(JobSet::Retry).await;
    assert_eq!(retry[0].error_message().as_deref(), Some("no"));
    log::keep_places();
}

/// Makes a [`PanickingClock`] panic once, when the time that passes is asked for.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// The real time, which panics once.
#[derive(Clone, Debug, Default)]
struct PanickingClock {
    /// Whether it does when it is [`STOPPED`].
    can_be_stopped: bool,
    /// Whether it does when a heartbeat asks for the time of day.
    at_a_heartbeat: Arc<AtomicBool>,
}

impl Clock for PanickingClock {
    fn now(&self) -> SystemTime {
        if thread::current().name() == Some("verk-heartbeat")
            && self.at_a_heartbeat.swap(false, Ordering::SeqCst)
        {
            panic_any(Bomb);
        }
        SystemClock.now()
    }

    fn instant(&self) -> Instant {
        if self.can_be_stopped && STOPPED.swap(false, Ordering::SeqCst) {
            panic_any(Bomb);
        }
        SystemClock.instant()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        SystemClock.sleep_until(deadline)
    }
}

#[verk::worker]
async fn stops_the_clock() {
    STOPPED.store(true, Ordering::SeqCst);
}

#[tokio::test]
async fn a_clock_that_panics_when_a_job_ends_leaves_no_permit_behind() {
    let clock = PanickingClock {
        can_be_stopped: true,
        ..PanickingClock::default()
    };
    let mut it =
        Fixture::in_real_time(|builder| builder.queue("default", 1).clock(Arc::new(clock))).await;
    for _ in 0..3 {
        it.verk.enqueue(StopsTheClock::new()).await.unwrap();
    }
    it.verk.start().unwrap();
    it.wait_for_finished(3).await;
    assert_well(&it.verk);
    it.verk.shutdown().await;
    it.assert_empty().await;
    log::keep_places();
}

#[tokio::test]
async fn a_heartbeat_that_panics_is_one_that_failed() {
    let clock = PanickingClock::default();
    clock.at_a_heartbeat.store(true, Ordering::SeqCst);
    let mut it =
        Fixture::in_real_time(|builder| builder.queue("default", 1).clock(Arc::new(clock.clone())))
            .await;
    it.verk.start().unwrap();
    until(|| !clock.at_a_heartbeat.load(Ordering::SeqCst)).await;
    it.verk.enqueue(Observed::new(1)).await.unwrap();
    it.wait_for_finished(1).await;
    until(|| it.verk.health().ready).await;
    it.verk.shutdown().await;
    it.assert_empty().await;
    log::keep_places();
}

/// Panics when it is woken.
struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic_any(Bomb);
    }
}

#[tokio::test]
async fn a_waker_of_a_subscriber_that_panics_has_no_effect_on_jobs() {
    let it = Fixture::new().await;
    let waker = Waker::from(Arc::new(PanickingWaker));
    let mut events = it.verk.events();
    let mut wait = || {
        let polled = events.poll_next_unpin(&mut Context::from_waker(&waker));
        matches!(polled, Poll::Pending)
    };
    assert!(wait());
    it.verk.start().unwrap();
    for number in 0..20 {
        it.verk.enqueue(Observed::new(number)).await.unwrap();
        // Not by an event: other subscribers may miss that they are woken.
        until(|| it.log.entries().len() > number as usize).await;
        while !wait() {}
    }
    assert_well(&it.verk);
    it.verk.shutdown().await;
    it.assert_empty().await;
    log::keep_places();
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn a_recorder_of_metrics_that_panics_has_no_effect_on_jobs() {
    let recorder = metrics_recorder::Panicking::default();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut it = Fixture::in_real_time(|builder| builder.queue("default", 5)).await;
    let recording = tokio::spawn(it.verk.record_metrics(Duration::from_millis(1)));
    it.verk.start().unwrap();
    for number in 0..20 {
        it.verk.enqueue(Observed::new(number)).await.unwrap();
    }
    it.wait_for_finished(20).await;
    within(PATIENCE, recorder.until_asked_for_all()).await;
    assert_well(&it.verk);
    it.verk.shutdown().await;
    within(PATIENCE, recording).await.unwrap();
    it.assert_empty().await;
    log::keep_places();
}

#[cfg(feature = "metrics")]
mod metrics_recorder {
    use std::{collections::HashSet, sync::Mutex};

    use metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    /// Panics at whatever it is asked for.
    #[derive(Default)]
    pub(super) struct Panicking(Mutex<HashSet<String>>);

    impl Panicking {
        /// Waits until it panicked at the first metric of each kind: what one panic leaves out is
        /// asked for by another call.
        pub(super) async fn until_asked_for_all(&self) {
            let wanted = [
                "describe",
                "verk_jobs_total",
                "verk_job_seconds",
                "verk_connections_lost_total",
                "verk_queue_jobs",
            ];
            while !wanted
                .iter()
                .all(|name| self.0.lock().unwrap().contains(*name))
            {
                tokio::task::yield_now().await;
            }
        }

        fn panics(&self, name: &str) -> ! {
            self.0.lock().unwrap().insert(name.to_owned());
            std::panic::panic_any(super::Bomb)
        }
    }

    impl Recorder for Panicking {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
            self.panics("describe");
        }

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
            self.panics("describe");
        }

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
            self.panics("describe");
        }

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            self.panics(key.name())
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            self.panics(key.name())
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            self.panics(key.name())
        }
    }
}
