//! Processes: their reports, and the requests for them.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use verk_core::storage::{
    JobSet, MAX_BATCH_BYTES, MAX_BATCH_JOBS, ProcessReport, ProcessSignal, ProcessStore, ShownWork,
    Source,
};

use super::{Harness, fixture::bytes};

/// The last report is shown.
pub async fn a_process_is_shown_as_it_reports(harness: &dyn Harness) {
    let storage = harness.storage();
    assert_eq!(storage.processes().await.unwrap(), []);
    let mut report = report("web:1:0123456789ab");
    assert_eq!(storage.process(&report.identity).await.unwrap(), None);
    assert_eq!(storage.report_process(&report).await.unwrap(), []);
    assert_shown(harness, &report).await;

    report.busy = 1;
    report.quiet = true;
    report.work = [("2", r#"{"queue":"b"}"#)]
        .map(|(tid, job)| (tid.to_owned(), Bytes::from(job)))
        .into();
    storage.report_process(&report).await.unwrap();
    assert_shown(harness, &report).await;
    report.work.clear();
    storage.report_process(&report).await.unwrap();
    assert_shown(harness, &report).await;
}

/// The only process that is shown is as it reported itself.
async fn assert_shown(harness: &dyn Harness, report: &ProcessReport) {
    const LIMIT: usize = 40;
    let storage = harness.storage();
    let without_work = ProcessReport {
        work: BTreeMap::new(),
        ..report.clone()
    };
    let shown = storage.process(&report.identity).await.unwrap();
    assert_eq!(shown.as_ref(), Some(&without_work));
    assert_eq!(storage.processes().await.unwrap(), [without_work]);
    assert_eq!(storage.process("web").await.unwrap(), None);
    let work = all_work(&*storage, LIMIT).await.into_iter();
    let work: BTreeMap<_, _> = work.map(|shown| (shown.thread, shown.work)).collect();
    assert_eq!(work, report.work);
}

/// Reads all running jobs, by pages.
async fn all_work(storage: &(impl ProcessStore + ?Sized), limit: usize) -> Vec<ShownWork> {
    let mut all = Vec::new();
    let mut from = None;
    loop {
        let page = storage.work(from.as_ref(), limit).await.unwrap();
        all.extend(page.work);
        from = page.next;
        if from.is_none() {
            return all;
        }
    }
}

/// Very many jobs are shown, by pages.
pub async fn very_many_jobs_are_shown(harness: &dyn Harness) {
    let storage = harness.storage();
    let mut report = report("web:1:0123456789ab");
    let job = Bytes::from_static(br#"{"queue":"a"}"#);
    report.work = (0..10_000).map(|n| (n.to_string(), job.clone())).collect();
    storage.report_process(&report).await.unwrap();
    let page = storage.work(None, usize::MAX).await.unwrap();
    assert!(
        (MAX_BATCH_JOBS..2 * MAX_BATCH_JOBS).contains(&page.work.len()),
        "{}",
        page.work.len()
    );
    assert!(page.next.is_some());
    assert_shown(harness, &report).await;
}

/// The running jobs of all processes are read by pages, by process.
pub async fn running_jobs_are_read_by_process(harness: &dyn Harness) {
    let storage = harness.storage();
    let identities = ["web:1:0f", "web:3:0f", "web:2:0f", "web:4:0f", "web:5:0f"];
    for identity in identities {
        let mut report = report(identity);
        if identity == identities[2] {
            report.work.clear();
        }
        storage.report_process(&report).await.unwrap();
    }
    harness.expire_process(identities[3]).await;
    for limit in [0, 1, 2, 3, 100] {
        let work = all_work(&*storage, limit).await;
        let mut shown: Vec<_> = work
            .iter()
            .map(|shown| (&*shown.identity, &*shown.thread))
            .collect();
        assert!(
            shown.is_sorted_by_key(|(identity, _)| *identity),
            "{shown:?}"
        );
        shown.sort_unstable();
        let expected =
            ["web:1:0f", "web:3:0f", "web:5:0f"].map(|identity| [(identity, "1"), (identity, "2")]);
        assert_eq!(shown, expected.concat(), "in pages of {limit}");
    }
}

/// A page continues where the last one ended, whatever has come and gone since.
pub async fn a_page_of_running_jobs_continues_after_its_process_ended(harness: &dyn Harness) {
    let storage = harness.storage();
    for identity in ["web:1:0f", "web:2:0f", "web:3:0f"] {
        storage.report_process(&report(identity)).await.unwrap();
    }
    let first = storage.work(None, 1).await.unwrap();
    assert!(!first.work.is_empty());
    let next = first.next.unwrap();
    for identity in ["web:1:0f", "web:2:0f"] {
        storage.forget_process(identity).await.unwrap();
    }
    let page = storage.work(Some(&next), 100).await.unwrap();
    let identities: Vec<_> = page.work.iter().map(|shown| &*shown.identity).collect();
    assert_eq!(identities, ["web:3:0f"; 2]);
    assert_eq!(page.next, None);
    storage.forget_process("web:3:0f").await.unwrap();
    let end = storage.work(Some(&next), 1).await.unwrap();
    assert_eq!((end.work, end.next), (vec![], None));
}

/// A page of large jobs ends early, but has at least one job.
pub async fn a_page_of_running_jobs_is_bounded_in_bytes(harness: &dyn Harness) {
    let storage = harness.storage();
    let mut report = report("web:1:0123456789ab");
    let large = |size: usize| Bytes::from(vec![b'x'; size]);
    report.work = (0..6)
        .map(|n| (n.to_string(), large(MAX_BATCH_BYTES / 2)))
        .collect();
    storage.report_process(&report).await.unwrap();
    let page = storage.work(None, MAX_BATCH_JOBS).await.unwrap();
    assert!((1..6).contains(&page.work.len()), "{}", page.work.len());
    assert_shown(harness, &report).await;

    report.work = [("1".to_owned(), large(2 * MAX_BATCH_BYTES))].into();
    storage.report_process(&report).await.unwrap();
    let page = storage.work(None, MAX_BATCH_JOBS).await.unwrap();
    assert_eq!(page.work.len(), 1);
    assert_shown(harness, &report).await;
}

/// A process that ends takes everything with it.
pub async fn a_forgotten_process_leaves_nothing(harness: &dyn Harness) {
    let storage = harness.storage();
    let before = harness.dump().await;
    let mut report = report("web:1:0123456789ab");
    report.sidekiq_6_work = true;
    storage.report_process(&report).await.unwrap();
    let signal = storage.signal_process(&report.identity, ProcessSignal::Quiet);
    assert!(signal.await.unwrap());
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
        let sent = storage.signal_process(&one.identity, signal).await;
        assert!(sent.unwrap());
    }
    assert_eq!(storage.report_process(&other).await.unwrap(), []);
    let taken = storage.report_process(&one).await.unwrap();
    assert_eq!(taken, [Dump, Quiet, Dump, Stop]);
    assert_eq!(storage.report_process(&one).await.unwrap(), []);
}

/// A process that is not shown gets no signal, and none waits for it.
pub async fn a_process_that_is_not_shown_gets_no_signal(harness: &dyn Harness) {
    let storage = harness.storage();
    let report = report("web:1:0123456789ab");
    storage.report_process(&report).await.unwrap();
    harness.expire_process(&report.identity).await;
    let before = harness.dump().await;
    for identity in [&*report.identity, "web:2:0123456789ab", "queues", ""] {
        let sent = storage.signal_process(identity, ProcessSignal::Stop).await;
        assert!(!sent.unwrap(), "{identity}");
    }
    assert_eq!(harness.dump().await, before);
    assert_eq!(storage.report_process(&report).await.unwrap(), []);
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

/// A full backend still shows processes, and sends signals.
pub async fn a_full_backend_shows_processes(harness: &dyn Harness) {
    let storage = harness.storage();
    harness.fill().await;
    let report = report("web:1:0123456789ab");
    storage.report_process(&report).await.unwrap();
    assert_eq!(storage.processes().await.unwrap().len(), 1);
    let sent = storage.signal_process(&report.identity, ProcessSignal::Stop);
    assert!(sent.await.unwrap());
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
