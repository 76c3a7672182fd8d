//! Crash points: a worker is stopped where it matters, and its job is recovered.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::FutureExt;
use verk::prelude::*;
use verk_testing::crash::{self, CrashPoint};

/// What was done to the outside world.
#[derive(Clone, Debug, Default)]
struct Ledger {
    charged: Arc<AtomicUsize>,
    mailed: Arc<AtomicUsize>,
}

impl Ledger {
    fn charged(&self) -> usize {
        self.charged.load(Ordering::SeqCst)
    }
}

/// Charges, and mails in the next step.
#[verk::worker]
async fn charge(once: bool, State(ledger): State<Ledger>) {
    if !once || ledger.charged() == 0 {
        ledger.charged.fetch_add(1, Ordering::SeqCst);
    }
    tokio::task::yield_now().await;
    ledger.mailed.fetch_add(1, Ordering::SeqCst);
    tokio::task::yield_now().await;
}

#[verk::worker]
async fn charge_later() -> Result<(), verk::EnqueueError> {
    Charge::new(true).queue("aside").enqueue().await?;
    tokio::task::yield_now().await;
    Ok(())
}

/// Charges before it sleeps.
#[verk::worker]
async fn nap(State(ledger): State<Ledger>, ctx: JobContext) -> Result<(), String> {
    ledger.charged.fetch_add(1, Ordering::SeqCst);
    ctx.sleep(std::time::Duration::from_secs(3600)).await;
    if ctx.attempt() == 1 {
        return Err("try again".into());
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_that_looks_first_survives_every_crash() {
    let points = AtomicUsize::new(0);
    crash::everywhere(async |crash| {
        points.fetch_add(1, Ordering::SeqCst);
        let ledger = Ledger::default();
        let report = crash.state(ledger.clone()).run(Charge::new(true)).await;
        assert_eq!(report.outcome.succeeded, 1);
        assert_eq!(ledger.charged(), 1);
    })
    .await;
    // Three points, two waits, and the check for a third.
    assert_eq!(points.into_inner(), 6);
}

#[tokio::test]
async fn a_worker_that_does_not_is_caught() {
    let played = crash::everywhere(async |crash| {
        let ledger = Ledger::default();
        let report = crash.state(ledger.clone()).run(Charge::new(false)).await;
        assert_eq!(ledger.charged(), 1, "after {} runs", report.runs);
    });
    let panic = std::panic::AssertUnwindSafe(played)
        .catch_unwind()
        .await
        .unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    let points: Vec<&str> = message
        .lines()
        .filter(|line| line.contains("after 2 runs"))
        .filter_map(|line| line.split_once(": assertion"))
        .map(|(point, _)| point)
        .collect();
    assert_eq!(
        points,
        [
            "before the outcome is stored",
            "at wait 1 of the worker",
            "at wait 2 of the worker"
        ],
        "{message}"
    );
}

#[tokio::test]
async fn each_point_is_where_it_says() {
    for (point, runs, charged, mailed) in [
        (CrashPoint::AfterFetch, 1, 1, 1),
        (CrashPoint::AtAwait(1), 2, 2, 1),
        (CrashPoint::AtAwait(2), 2, 2, 2),
        (CrashPoint::BeforeSettle, 2, 2, 2),
        (CrashPoint::LostReply, 1, 1, 1),
    ] {
        let ledger = Ledger::default();
        let report = crash::at(point)
            .state(ledger.clone())
            .run(Charge::new(false))
            .await;
        assert!(report.crashed, "{point}");
        assert_eq!(report.runs, runs, "{point}");
        assert_eq!(report.outcome.succeeded, 1, "{point}");
        assert_eq!(ledger.charged(), charged, "{point}");
        assert_eq!(ledger.mailed.load(Ordering::SeqCst), mailed, "{point}");
    }
}

#[tokio::test]
async fn a_point_that_is_not_reached_is_no_crash() {
    let report = crash::at(CrashPoint::AtAwait(3))
        .state(Ledger::default())
        .run(Charge::new(true))
        .await;
    assert!(!report.crashed);
    assert_eq!((report.runs, report.outcome.succeeded), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_enqueues_runs_too_and_crashes_nobody_else() {
    crash::everywhere(async |crash| {
        let ledger = Ledger::default();
        let point = crash.point();
        let report = crash.state(ledger.clone()).run(ChargeLater::new()).await;
        assert_eq!(report.outcome.succeeded, 1 + report.runs, "{point}");
        assert_eq!(ledger.charged(), 1);
    })
    .await;
}

#[tokio::test]
async fn sleeps_and_retries_pass_in_virtual_time() {
    let ledger = Ledger::default();
    let report = crash::at(CrashPoint::AtAwait(1))
        .state(ledger.clone())
        .run(Nap::new())
        .await;
    assert_eq!((report.runs, report.outcome.failed), (3, 1));
    assert_eq!(report.outcome.succeeded, 1);
    assert_eq!(ledger.charged(), 3);
}

/// Panics when it is dropped, with another one.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::panic_any(Self);
    }
}

#[tokio::test]
async fn a_scenario_whose_panic_panics_is_a_failure_like_any_other() {
    let played = crash::everywhere(async |_| std::panic::panic_any(Bomb));
    let panic = std::panic::AssertUnwindSafe(played).catch_unwind().await;
    let panic = std::mem::ManuallyDrop::new(panic.unwrap_err());
    let message = panic.downcast_ref::<String>().expect("the report");
    assert!(message.contains("before the outcome is stored: panicked"));
}
