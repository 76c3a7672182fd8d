//! Processes: their reports, and the requests for them.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use verk_core::storage::{JobSet, ProcessReport, ProcessSignal, Source};

use super::{Harness, fixture::bytes};

/// The last report is shown.
pub async fn a_process_is_shown_as_it_reports(harness: &dyn Harness) {
    let storage = harness.storage();
    assert_eq!(storage.processes().await.unwrap(), []);
    let mut report = report("web:1:0123456789ab");
    assert_eq!(storage.report_process(&report).await.unwrap(), []);
    assert_eq!(storage.processes().await.unwrap(), [report.clone()]);

    report.busy = 1;
    report.quiet = true;
    report.work = [("2", r#"{"queue":"b"}"#)]
        .map(|(tid, job)| (tid.to_owned(), Bytes::from(job)))
        .into();
    storage.report_process(&report).await.unwrap();
    assert_eq!(storage.processes().await.unwrap(), [report.clone()]);
    report.work.clear();
    storage.report_process(&report).await.unwrap();
    assert_eq!(storage.processes().await.unwrap(), [report]);
}

/// Very many jobs are shown.
pub async fn very_many_jobs_are_shown(harness: &dyn Harness) {
    let storage = harness.storage();
    let mut report = report("web:1:0123456789ab");
    let job = Bytes::from_static(br#"{"queue":"a"}"#);
    report.work = (0..10_000).map(|n| (n.to_string(), job.clone())).collect();
    storage.report_process(&report).await.unwrap();
    assert_eq!(storage.processes().await.unwrap(), [report]);
}

/// A process that ends takes everything with it.
pub async fn a_forgotten_process_leaves_nothing(harness: &dyn Harness) {
    let storage = harness.storage();
    let before = harness.dump().await;
    let mut report = report("web:1:0123456789ab");
    report.sidekiq_6_work = true;
    storage.report_process(&report).await.unwrap();
    let signal = storage.signal_process(&report.identity, ProcessSignal::Quiet);
    signal.await.unwrap();
    for _ in 0..2 {
        storage.forget_process(&report.identity).await.unwrap();
        assert_eq!(harness.dump().await, before);
    }
    assert_eq!(storage.processes().await.unwrap(), []);
}

/// A name that is not that of a process, but of something else, is left alone.
pub async fn only_processes_are_forgotten(harness: &dyn Harness) {
    let storage = harness.storage();
    let queue = "default".parse().unwrap();
    storage.enqueue(&queue, &bytes(&["a"])).await.unwrap();
    let before = harness.dump().await;
    for identity in ["queue:default", "queues", "schedule", ""] {
        storage.forget_process(identity).await.unwrap();
    }
    assert_eq!(harness.dump().await, before);
    assert_eq!(
        storage.len(&Source::Set(JobSet::Schedule)).await.unwrap(),
        0
    );
}

/// A process is asked, and no other; in order, and once.
pub async fn signals_are_taken_once_in_order(harness: &dyn Harness) {
    use ProcessSignal::{Dump, Quiet, Stop};
    let storage = harness.storage();
    let (one, other) = (report("web:1:0123456789ab"), report("web:2:0123456789ab"));
    storage.report_process(&one).await.unwrap();
    for signal in [Dump, Quiet, Dump, Stop] {
        storage.signal_process(&one.identity, signal).await.unwrap();
    }
    assert_eq!(storage.report_process(&other).await.unwrap(), []);
    let taken = storage.report_process(&one).await.unwrap();
    assert_eq!(taken, [Dump, Quiet, Dump, Stop]);
    assert_eq!(storage.report_process(&one).await.unwrap(), []);
}

/// A process that stops to report is not shown, and its name is forgotten.
pub async fn a_process_that_was_killed_is_pruned(harness: &dyn Harness) {
    let storage = harness.storage();
    let identities = [
        "web:2:0123456789ab",
        "web:10:0123456789ab",
        "web:3:0123456789ab",
    ];
    for identity in identities {
        storage.report_process(&report(identity)).await.unwrap();
    }
    harness.expire_process(identities[2]).await;
    let shown = storage.processes().await.unwrap();
    let shown: Vec<_> = shown.iter().map(|report| &*report.identity).collect();
    assert_eq!(shown, [identities[1], identities[0]], "by identity");
    assert_eq!(storage.prune_processes().await.unwrap(), 1);
    assert_eq!(storage.prune_processes().await.unwrap(), 0);
    assert_eq!(storage.processes().await.unwrap().len(), 2);
}

/// A full backend still shows processes.
pub async fn a_full_backend_shows_processes(harness: &dyn Harness) {
    let storage = harness.storage();
    harness.fill().await;
    let report = report("web:1:0123456789ab");
    storage.report_process(&report).await.unwrap();
    assert_eq!(storage.processes().await.unwrap().len(), 1);
    storage.forget_process(&report.identity).await.unwrap();
    assert_eq!(storage.processes().await.unwrap(), []);
    harness.make_room().await;
}

fn report(identity: &str) -> ProcessReport {
    ProcessReport {
        identity: identity.to_owned(),
        info: Bytes::from(format!(r#"{{"identity":"{identity}"}}"#)),
        concurrency: 25,
        busy: 2,
        quiet: false,
        beat: UNIX_EPOCH + Duration::from_millis(1_700_000_000_250),
        rss: 12_345,
        rtt: Duration::from_micros(321),
        work: [("1", r#"{"queue":"a"}"#), ("2", r#"{"queue":"b"}"#)]
            .map(|(tid, job)| (tid.to_owned(), Bytes::from(job)))
            .into(),
        sidekiq_6_work: false,
    }
}
