//! Where a job panicked.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use verk::{Event, Failure};

use crate::support::{Fixture, Logged};

/// Panics in one of many ways.
#[verk::worker]
async fn panics(how: String) {
    match how.as_str() {
        "with text" => panic!("no route"),
        "with a format" => panic!("no route to {how}"),
        "with a value" => panic::panic_any(7_u8),
        "after a wait" => {
            tokio::task::yield_now().await;
            None::<u8>.expect("after a wait")
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
        Event::JobFailed { failure, .. } => Some(failure),
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
        ("after a wait", "after a wait", "None::<u8>"),
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
