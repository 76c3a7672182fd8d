//! Where a job panicked, and which job keeps its thread.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use verk::{Event, EventKind, State, job::Failure};

use crate::support::{Fixture, Gate, Logged, until};

/// Panics in one of many ways.
#[verk::worker]
async fn panics(how: String) {
    match how.as_str() {
        "with text" => panic!("no route"),
        "with a format" => panic!("no route to {how}"),
        "with a value" => panic::panic_any(7_u8),
        "after a wait" => {
            tokio::task::yield_now().await;
            how.chars().nth(100).expect("after a wait")
        }
        "again" => {
            let _ = panic::catch_unwind(|| panic!("no route"));
            panic!("no other route")
        }
        "passed on" => {
            let _ = panic::catch_unwind(|| panic!("no route"));
            panic::resume_unwind(Box::new("from elsewhere"))
        }
        _ => unreachable!(),
    };
}

/// What is kept of the failure of a job that panics like this.
async fn failure_of(it: &mut Fixture, how: &str) -> Failure {
    it.verk.enqueue(Panics::new(how)).await.unwrap();
    it.wait_for(|event| match event {
        Event {
            what: EventKind::JobFailed { failure, .. },
            ..
        } => Some(failure),
        _ => None,
    })
    .await
}

/// Which line of this file has this text first, after `after`.
fn line_with(text: &str, after: &str) -> usize {
    let source = include_str!("panics.rs");
    let start = source.find(after).unwrap();
    let at = start + source[start..].find(text).unwrap();
    source[..at].lines().count()
}

#[tokio::test]
async fn a_panic_keeps_its_place() {
    let (logged, _guard) = Logged::capture();
    let mut it = Fixture::new().await;
    it.verk.start().unwrap();
    for (how, message, text) in [
        ("with text", "no route", "panic!("),
        ("with a format", "no route to with a format", "panic!("),
        ("with a value", "panicked", "panic::panic_any("),
        ("after a wait", "after a wait", ".nth(100)"),
        ("again", "no other route", "panic!(\"no other"),
    ] {
        let failure = failure_of(&mut it, how).await;
        assert_eq!(failure.error_class, "Panic");
        assert_eq!(failure.error_message, message);
        let lines = failure.error_backtrace;
        let place = format!("{}:{}:", file!(), line_with(text, &format!("{how:?} =>")));
        assert!(lines[0].starts_with(&place), "{how}: {lines:?}");
        let said = ["fail", &format!("panicked_at=\"{place}")];
        assert_eq!(logged.lines_with(&said), 1, "{how}");
        if Backtrace::capture().status() == BacktraceStatus::Captured {
            // The frame that panicked is the first, and not one of the standard library.
            assert!(lines[2].contains(&place), "{how}: {lines:?}");
        }
    }
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_panic_that_is_passed_on_has_the_place_of_no_other() {
    let mut it = Fixture::new().await;
    it.verk.start().unwrap();
    let failure = failure_of(&mut it, "passed on").await;
    assert_eq!(failure.error_message, "from elsewhere");
    assert_eq!(failure.error_backtrace, [] as [&str; 0]);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn the_hook_of_the_program_is_called_and_may_be_replaced() {
    let seen = Arc::new(AtomicUsize::new(0));
    let (count, before) = (Arc::clone(&seen), panic::take_hook());
    panic::set_hook(Box::new(move |info| {
        count.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
    let mut it = Fixture::new().await;
    it.verk.start().unwrap();
    let failure = failure_of(&mut it, "with text").await;
    assert!(!failure.error_backtrace.is_empty());
    assert_eq!(seen.load(Ordering::Relaxed), 1);

    let before = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let failure = failure_of(&mut it, "with text").await;
    panic::set_hook(before);
    assert_eq!(failure.error_message, "no route");
    assert_eq!(failure.error_backtrace, [] as [&str; 0]);
    it.verk.shutdown().await;
}

/// Keeps its thread until the test lets it go.
#[verk::worker]
async fn keeps_its_thread(State(gate): State<Gate>) {
    while !gate.try_pass() {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits as long, and keeps no thread.
#[verk::worker]
async fn waits_for_long(State(gate): State<Gate>) {
    gate.pass().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_keeps_its_thread_is_named_while_it_does() {
    // The heartbeat's thread finds it.
    let logged = Logged::capture_on_all_threads();
    let mut it = Fixture::in_real_time(|builder| builder.queue("default", 2)).await;
    it.verk.start().unwrap();
    it.verk.enqueue(WaitsForLong::new()).await.unwrap();
    it.wait_for_started(1).await;
    let jid = it.verk.enqueue(KeepsItsThread::new()).await.unwrap();
    let names = |class: &str| logged.lines_with(&["WARN", "keeps its thread", class]);
    until(|| names(r#"class="KeepsItsThread""#) > 0).await;
    it.gate.open();
    it.wait_for_finished(2).await;
    it.verk.shutdown().await;
    let named = [
        "WARN",
        "spawn_blocking",
        jid.as_str(),
        "queue=default",
        "attempt=1",
    ];
    assert_eq!(logged.lines_with(&named), 1, "once");
    assert_eq!(names("WaitsForLong"), 0);
}
