//! What a process shows to Sidekiq Web, and the effect of its buttons.

use std::time::Duration;

use verk::{
    State, Verk,
    queues::{QueueStatus, Status},
    storage::{ProcessReport, ProcessSignal},
};
use verk_testing::{MemoryStorage, within};

use crate::support::{Fixture, Gate, Log, PATIENCE};

#[verk::worker]
async fn shown(State(gate): State<Gate>, State(log): State<Log>) {
    gate.pass().await;
    log.push("shown");
}

async fn started(configure: impl FnOnce(verk::VerkBuilder) -> verk::VerkBuilder) -> Fixture {
    let it = Fixture::with(|builder| configure(builder.queue("default", 5).queue("low", 2))).await;
    it.verk.start().unwrap();
    it
}

/// Lets time pass, in the steps of the reports, until the process shows what is wanted.
async fn wait_for_report(it: &Fixture, wanted: impl Fn(&ProcessReport) -> bool) -> ProcessReport {
    within(PATIENCE, async {
        loop {
            let mut processes = it.verk.storage().processes().await.unwrap();
            if let Some(report) = processes.pop()
                && wanted(&report)
            {
                return report;
            }
            it.advance(Duration::from_secs(10));
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Asks for something, as Sidekiq Web does.
async fn ask(it: &Fixture, signal: ProcessSignal) {
    let identity = wait_for_report(it, |_| true).await.identity;
    assert!(it.verk.admin().signal(&identity, signal).await.unwrap());
}

#[tokio::test]
async fn a_process_shows_itself_and_its_jobs_until_it_ends() {
    let mut it = started(|builder| builder.tag("billing".to_owned()).labels(["eu"])).await;
    let jid = it.verk.enqueue(Shown::new()).await.unwrap();
    it.wait_for_started(1).await;
    let report = wait_for_report(&it, |report| report.busy == 1).await;
    assert_eq!((report.concurrency, report.quiet), (7, false));
    let admin = it.verk.admin();
    let process = admin.find_process(&report.identity).await.unwrap().unwrap();
    let all = admin.processes().await.unwrap();
    assert_eq!(all, std::slice::from_ref(&process));
    assert_eq!(
        (&*process.tag, &*process.labels),
        ("billing", &["eu".to_owned()][..])
    );
    assert_eq!(
        (process.pid, process.embedded),
        (Some(std::process::id()), false)
    );
    let queues: Vec<_> = process
        .queues
        .iter()
        .map(|queue| (queue.name.as_str(), queue.concurrency))
        .collect();
    assert_eq!(queues, [("default", 5), ("low", 2)]);
    let node = process.node.expect("its node is registered");
    assert!(node.as_str().ends_with(&process.nonce));
    assert_eq!(process.rss_kib.is_some(), cfg!(target_os = "linux"));

    let running = admin.running(None, 10).await.unwrap();
    assert_eq!((running.jobs.len(), running.next), (1, None));
    let running = &running.jobs[0];
    assert_eq!(
        (&running.process, &*running.thread),
        (&report.identity, jid.as_str())
    );
    assert_eq!(*running.job.as_ref().unwrap().jid(), jid);
    assert_eq!(running.queue, Some("default".parse().unwrap()));
    assert!(running.since.is_some());

    it.gate.open();
    wait_for_report(&it, |report| report.busy == 0).await;
    it.verk.shutdown().await;
    assert_eq!(it.verk.storage().processes().await.unwrap(), []);
}

#[tokio::test]
async fn quiet_stops_fetching_and_lets_jobs_end() {
    let mut it = started(|builder| builder).await;
    it.verk.enqueue(Shown::new()).await.unwrap();
    it.wait_for_started(1).await;
    ask(&it, ProcessSignal::Quiet).await;
    let report = wait_for_report(&it, |report| report.quiet).await;
    assert_eq!(report.busy, 1);

    it.verk.add_queue("late", 1).unwrap();
    it.verk.enqueue(Shown::new()).await.unwrap();
    it.gate.open();
    it.wait_for_finished(1).await;
    within(PATIENCE, async {
        let paused = |queue: &QueueStatus| queue.status == Status::Paused;
        while !it.verk.queues().iter().all(paused) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(it.queued("default").await.len(), 1);
    assert_eq!(it.log.entries(), ["shown"]);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn only_a_process_that_is_shown_and_not_embedded_gets_a_signal() {
    let it = Fixture::with(|builder| builder).await;
    let (storage, admin) = (it.verk.storage(), it.verk.admin());
    let embedded = ProcessReport {
        identity: "puma:1:0f".into(),
        info: r#"{"embedded":true}"#.into(),
        ..unreported()
    };
    storage.report_process(&embedded).await.unwrap();
    for identity in ["puma:1:0f", "puma:2:0f"] {
        assert!(!admin.signal(identity, ProcessSignal::Stop).await.unwrap());
    }
    assert_eq!(storage.report_process(&embedded).await.unwrap(), []);
    assert_eq!(admin.find_process("puma:2:0f").await.unwrap(), None);
}

#[tokio::test]
async fn stop_ends_the_node_as_a_signal_does() {
    let mut it = Fixture::with(|builder| builder.queue("default", 5)).await;
    it.verk.enqueue(Shown::new()).await.unwrap();
    let verk = it.verk.clone();
    let run = tokio::spawn(async move { verk.run().await });
    it.wait_for_started(1).await;
    ask(&it, ProcessSignal::Dump).await;
    ask(&it, ProcessSignal::Stop).await;
    // It is shown for as long as its jobs run.
    let report = wait_for_report(&it, |report| report.quiet).await;
    assert_eq!(report.busy, 1);
    it.gate.open();
    within(PATIENCE, run).await.unwrap().unwrap();
    assert_eq!(it.log.entries(), ["shown"]);
    assert_eq!(it.verk.storage().processes().await.unwrap(), []);
    it.assert_empty().await;
}

#[tokio::test]
async fn a_process_that_was_killed_is_forgotten_by_the_next() {
    let it = Fixture::with(|builder| builder.queue("default", 1)).await;
    let killed = ProcessReport {
        identity: "web:1:0123456789ab".into(),
        ..unreported()
    };
    let storage = it.verk.storage();
    storage.report_process(&killed).await.unwrap();
    it.advance(Duration::from_secs(60));
    it.verk.start().unwrap();
    wait_for_report(&it, |report| report.identity != killed.identity).await;
    assert_eq!(storage.prune_processes().await.unwrap(), 0);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn only_a_process_that_runs_queues_shows_itself_and_only_if_it_may() {
    let it = started(|builder| builder.process_registry(false)).await;
    it.verk.enqueue(Shown::new()).await.unwrap();
    it.gate.open();
    within(PATIENCE, async {
        while it.log.entries().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    it.verk.shutdown().await;
    assert_eq!(it.verk.storage().processes().await.unwrap(), []);

    let storage = MemoryStorage::default();
    let client = Verk::builder()
        .storage(storage.clone())
        .build()
        .await
        .unwrap();
    client.enqueue(Shown::new()).await.unwrap();
    assert_eq!(client.storage().processes().await.unwrap(), []);
}

#[tokio::test]
async fn a_storage_that_fails_does_not_hold_up_the_end() {
    let it = started(|builder| builder).await;
    wait_for_report(&it, |_| true).await;
    it.storage.faults().set_refusing(true);
    let verk = it.verk.clone();
    let shutdown = tokio::spawn(async move { verk.shutdown().await });
    within(PATIENCE, async {
        while !shutdown.is_finished() {
            it.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn unreported() -> ProcessReport {
    ProcessReport {
        identity: String::new(),
        info: "{}".into(),
        concurrency: 0,
        busy: 0,
        quiet: false,
        beat: std::time::UNIX_EPOCH,
        rss: 0,
        rtt: Duration::ZERO,
        work: Default::default(),
        sidekiq_6_work: false,
    }
}
