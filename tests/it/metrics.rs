//! Metrics, as Prometheus scrapes them.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use verk::{
    Event, EventKind, State, Unique, Verk,
    cron::{CatchUp, Cron, Overlap},
    prelude::*,
};
use verk_testing::{CuttingProxy, Operation, RedisServer, within};

use crate::support::{Fixture, Gate, PATIENCE, States, queue_name};

#[verk::worker(max_retry_count = 0)]
async fn scraped(fails: bool) -> Result<(), String> {
    if fails { Err("no".into()) } else { Ok(()) }
}

#[verk::worker]
async fn scraped_late(State(gate): State<Gate>) {
    gate.pass().await;
}

fn recorder() -> (PrometheusRecorder, PrometheusHandle) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    (recorder, handle)
}

/// Waits until a scrape has this line.
async fn until_scraped(handle: &PrometheusHandle, line: &str) {
    within(PATIENCE, async {
        while !handle.render().lines().any(|one| one == line) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn assert_scraped(handle: &PrometheusHandle, lines: &[&str]) {
    let text = handle.render();
    for line in lines {
        assert!(text.lines().any(|one| one == *line), "no {line} in\n{text}");
    }
}

/// The names in the first column of the page's tables.
fn documented() -> BTreeSet<String> {
    let page = include_str!("../../src/docs/metrics.md");
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `"));
    cells
        .map(|cell| cell.split('`').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_happens_is_counted_and_what_is_there_is_shown() {
    let (recorder, handle) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut it = Fixture::in_real_time(|builder| builder.queue("default", 5)).await;
    let recording = tokio::spawn(it.verk.record_metrics(Duration::from_millis(1)));
    for _ in 0..2 {
        it.verk
            .enqueue(Scraped::new(false).queue("elsewhere"))
            .await
            .unwrap();
    }
    let later = Scraped::new(false)
        .queue("elsewhere")
        .schedule_in(Duration::from_secs(600));
    it.verk.enqueue(later).await.unwrap();
    for fails in [false, true, false] {
        it.verk.enqueue(Scraped::new(fails)).await.unwrap();
    }
    it.verk.enqueue(ScrapedLate::new()).await.unwrap();
    let storage = it.verk.storage();
    storage
        .enqueue(&queue_name("default"), &[Bytes::from("{")])
        .await
        .unwrap();
    it.storage.faults().lose_reply(Operation::Settle);
    it.verk.start().unwrap();
    until_scraped(&handle, r#"verk_queue_jobs{queue="elsewhere"} 2"#).await;
    until_scraped(&handle, r#"verk_jobs_running{queue="default"} 1"#).await;
    until_scraped(&handle, r#"verk_set_jobs{set="dead"} 2"#).await;
    it.wait_for_finished(2).await;
    assert_scraped(&handle, &[r#"verk_queue_concurrency{queue="default"} 5"#]);
    it.gate.open();
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    within(PATIENCE, recording).await.unwrap();

    assert_scraped(
        &handle,
        &[
            r#"verk_jobs_total{queue="default",class="Scraped",outcome="done"} 2"#,
            r#"verk_jobs_total{queue="default",class="Scraped",outcome="dead"} 1"#,
            r#"verk_jobs_total{queue="default",class="ScrapedLate",outcome="done"} 1"#,
            r#"verk_jobs_total{queue="default",class="ScrapedLate",outcome="dead"} 0"#,
            r#"verk_job_seconds_count{queue="default",class="Scraped"} 3"#,
            r#"verk_jobs_total{queue="default",class="",outcome="malformed"} 1"#,
            r#"verk_jobs_enqueued_total{queue="default"} 4"#,
            r#"verk_jobs_enqueued_total{queue="elsewhere"} 3"#,
            r#"verk_replies_lost_total 1"#,
            r#"verk_jobs_running{queue="default"} 0"#,
            r#"verk_connections_lost_total 0"#,
        ],
    );
    let text = handle.render();
    let latency = r#"verk_queue_latency_seconds{queue="elsewhere"} "#;
    let latency: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix(latency))
        .unwrap()
        .parse()
        .unwrap();
    assert!(latency > 0.0);
    let scraped = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let documented = documented();
    for name in scraped.map(|line| line.split(' ').next().unwrap()) {
        assert!(documented.contains(name), "{name} is not documented");
    }
}

#[tokio::test]
async fn a_connection_that_ends_is_counted() {
    let (recorder, handle) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let redis = RedisServer::start();
    let proxy = CuttingProxy::start(&redis);
    let verk = States::new()
        .give(Verk::builder())
        .redis(proxy.url())
        .queue("default", 1)
        .build()
        .await
        .unwrap();
    let mut running = verk
        .events()
        .only(|what| matches!(what, EventKind::QueueRunning));
    tokio::spawn(verk.record_metrics(Duration::from_millis(1)));
    verk.start().unwrap();
    assert!(matches!(
        running.recv().await,
        Some(Ok(Event {
            what: EventKind::QueueRunning,
            ..
        }))
    ));
    until_scraped(&handle, "verk_connections_lost_total 0").await;
    redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    within(PATIENCE, async {
        while handle.render().contains("verk_connections_lost_total 0\n") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    verk.shutdown().await;
}

#[tokio::test]
async fn periodic_jobs_and_locks_are_shown() {
    let (recorder, handle) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let it = Fixture::new().await;
    let entry = Cron::every("1m").class("Nobody", [1]).queue("aside");
    let entry = entry.catch_up(CatchUp::None).overlap(Overlap::Skip);
    it.verk.cron().upsert("beat", entry).await.unwrap();
    let unique = Scraped::new(false).queue("elsewhere").unique(Unique::new());
    it.verk.enqueue(unique).await.unwrap();
    it.advance(Duration::from_secs(3600));
    let recording = tokio::spawn(it.verk.record_metrics(Duration::from_secs(1)));
    until_scraped(&handle, r#"verk_cron_lag_seconds{name="beat"} 3540"#).await;
    until_scraped(&handle, "verk_unique_locks 1").await;
    for counter in ["runs", "missed", "skipped"] {
        assert_scraped(&handle, &[&format!("verk_cron_{counter}_total 0")]);
    }

    it.verk.start().unwrap();
    until_scraped(&handle, "verk_cron_runs_total 1").await;
    until_scraped(&handle, "verk_cron_missed_total 59").await;
    it.advance(Duration::from_secs(1));
    until_scraped(&handle, r#"verk_cron_lag_seconds{name="beat"} 0"#).await;
    // The job of the first run waits still.
    it.advance(Duration::from_secs(60));
    until_scraped(&handle, "verk_cron_skipped_total 1").await;
    it.verk.shutdown().await;
    within(PATIENCE, recording).await.unwrap();
    for line in handle.render().lines() {
        let name = line
            .strip_prefix("# TYPE ")
            .and_then(|line| line.split(' ').next());
        if let Some(name) = name {
            assert!(documented().contains(name), "{name} is not documented");
        }
    }
}

/// A program with an entry for each tenant makes no time series for each.
#[tokio::test]
async fn only_the_first_periodic_jobs_have_a_time_series() {
    let (recorder, handle) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let it = Fixture::new().await;
    let timetable = it.verk.cron();
    for tenant in 0..110 {
        let entry = Cron::every("1m").class("Nobody", [tenant]).queue("aside");
        let name = format!("tenant-{tenant:03}");
        timetable.upsert(&name, entry).await.unwrap();
    }
    let recording = tokio::spawn(it.verk.record_metrics(Duration::from_secs(1)));
    until_scraped(&handle, r#"verk_cron_lag_seconds{name=""} 0"#).await;
    // The first ones run, and others come before them.
    for tenant in 0..100 {
        let name = format!("tenant-{tenant:03}");
        timetable.remove(&name).await.unwrap();
    }
    it.advance(Duration::from_secs(61));
    until_scraped(&handle, r#"verk_cron_lag_seconds{name=""} 1"#).await;
    let text = handle.render();
    let series = text
        .lines()
        .filter(|line| line.starts_with("verk_cron_lag_seconds{"));
    assert_eq!(series.count(), 101);
    it.verk.shutdown().await;
    within(PATIENCE, recording).await.unwrap();
}
