//! Lines about a storage that fails, is silent, or already has an equal job.

use std::time::Duration;

use bytes::Bytes;
use verk::{
    EventKind, Job,
    client::IntoJob,
    prelude::*,
    storage::{Due, JobSet, JobStore, NodeStore},
    time::Clock,
};
use verk_testing::{Key, within};

use super::{Observed, ObservedForLong, log::panics_at_lines};
use crate::support::{Fixture, PATIENCE, queue_name, until};

/// Lets time pass until the node has ended.
async fn shut_down(it: &Fixture) {
    let verk = it.verk.clone();
    let shutdown = tokio::spawn(async move { verk.shutdown().await });
    until(|| {
        it.advance(Duration::from_millis(100));
        shutdown.is_finished()
    })
    .await;
    shutdown.await.unwrap();
}

#[tokio::test]
async fn a_job_that_is_scheduled_twice_is_stored_once() {
    let (log, _guard) = panics_at_lines();
    let it = Fixture::new().await;
    let job = Job::new("Observed", queue_name("default"), "[1]".to_owned()).unwrap();
    for _ in 0..2 {
        let later = job.clone().into_job().schedule_in(Duration::from_secs(60));
        it.verk.enqueue(later).await.unwrap();
    }
    assert_eq!(log.lines_with(&["scheduled jobs that equal others"]), 1);
    assert_eq!(it.set(JobSet::Schedule).await.len(), 1);
}

#[tokio::test]
async fn an_entry_that_is_killed_twice_is_killed() {
    let (log, _guard) = panics_at_lines();
    let it = Fixture::new().await;
    let queue = it.verk.client().admin().queue("default").unwrap();
    for _ in 0..2 {
        let payload = Bytes::from("no job");
        it.storage
            .enqueue(&queue_name("default"), &[payload])
            .await
            .unwrap();
        assert_eq!(queue.select().kill().await.unwrap(), 1);
    }
    assert_eq!(log.lines_with(&["a job equals one in the set"]), 1);
    assert_eq!(queue.count().await.unwrap(), 0);
    assert_eq!(it.set_len(JobSet::Dead).await, 1);
}

#[tokio::test]
async fn a_due_member_that_is_buried_twice_is_gone() {
    let (log, _guard) = panics_at_lines();
    let mut it = Fixture::new().await;
    it.verk.start().unwrap();
    for merged in [0, 1] {
        let due = Due {
            at: it.clock.now(),
            job: Bytes::from("no job"),
        };
        it.storage.schedule(&[due]).await.unwrap();
        within(PATIENCE, async {
            while it.set_len(JobSet::Schedule).await > 0 {
                it.advance(Duration::from_secs(1));
                tokio::task::yield_now().await;
            }
        })
        .await;
        until(|| log.lines_with(&["a member of this set equals one"]) == merged).await;
    }
    it.wait_for(|event| matches!(event.what, EventKind::JobMerged).then_some(()))
        .await;
    assert_eq!(it.set_len(JobSet::Dead).await, 1);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_dead_set_that_cannot_be_cut_holds_up_no_job() {
    let (log, _guard) = panics_at_lines();
    let mut it = Fixture::new().await;
    it.storage.faults().break_key(Key::Set(JobSet::Dead));
    it.verk.start().unwrap();
    until(|| log.lines_with(&["cannot cut the dead set"]) == 1).await;
    let soon = Observed::new(1).schedule_in(Duration::from_secs(1));
    it.verk.enqueue(soon).await.unwrap();
    it.advance(Duration::from_secs(1));
    it.wait_for_finished(1).await;
    it.storage.faults().mend_key(&Key::Set(JobSet::Dead));
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn statistics_that_cannot_be_read_end_no_metrics() {
    let (log, _guard) = panics_at_lines();
    let it = Fixture::new().await;
    it.storage.faults().break_key(Key::Processed);
    let recording = tokio::spawn(it.verk.record_metrics(Duration::from_secs(1)));
    for lines in 1..=2 {
        until(|| log.lines_with(&["cannot read the statistics"]) == lines).await;
        it.advance(Duration::from_secs(1));
    }
    it.storage.faults().mend_key(&Key::Processed);
    it.verk.shutdown().await;
    within(PATIENCE, recording).await.unwrap();
}

#[tokio::test]
async fn an_outcome_that_cannot_be_stored_holds_up_no_shutdown() {
    let (log, _guard) = panics_at_lines();
    let mut it =
        Fixture::with(|builder| builder.queue("default", 1).shutdown_timeout(Duration::ZERO)).await;
    it.verk.enqueue(ObservedForLong::new()).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_started(1).await;
    it.storage.faults().set_refusing(true);
    it.gate.open();
    until(|| it.verk.running_jobs().is_empty()).await;
    shut_down(&it).await;
    assert_eq!(log.lines_with(&["outcomes could not be stored"]), 1);
    // Others restore its job.
    it.storage.faults().set_refusing(false);
    assert_eq!(it.storage.nodes().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_storage_that_is_silent_holds_up_no_shutdown() {
    let (log, _guard) = panics_at_lines();
    let mut it = Fixture::new().await;
    it.verk.enqueue(Observed::new(1)).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_finished(1).await;
    it.storage.faults().set_holding_reports(true);
    shut_down(&it).await;
    for line in [
        "the last statistics may be missing",
        "leaving without signing off",
        "Sidekiq Web shows this process for another minute",
    ] {
        assert_eq!(log.lines_with(&["does not answer", line]), 1, "{line}");
    }
    it.assert_no_jobs().await;
}

#[tokio::test]
async fn a_keeper_of_the_statistics_that_panics_loses_no_count() {
    let (log, _guard) = panics_at_lines();
    let mut it = Fixture::new().await;
    it.verk.start().unwrap();
    it.verk.enqueue(Observed::new(1)).await.unwrap();
    it.wait_for_finished(1).await;
    it.storage.faults().panic_at_stats();
    until(|| {
        it.advance(Duration::from_secs(1));
        log.lines_with(&["the keeper of the statistics panicked: restarting"]) == 1
    })
    .await;
    within(PATIENCE, async {
        while it.verk.admin().stats().await.unwrap().processed == 0 {
            it.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    })
    .await;

    it.verk.enqueue(Observed::new(2)).await.unwrap();
    it.wait_for_finished(1).await;
    it.storage.faults().panic_at_stats();
    it.verk.shutdown().await;
    assert_eq!(log.lines_with(&["the last ones may be missing"]), 1);
    assert_eq!(it.verk.admin().stats().await.unwrap().processed, 1);
    it.assert_empty().await;
}

/// Knows of no span.
#[cfg(feature = "otel")]
struct WithoutACurrentSpan;

#[cfg(feature = "otel")]
impl tracing::Subscriber for WithoutACurrentSpan {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}

    fn current_span(&self) -> tracing_core::span::Current {
        std::panic::panic_any(super::Bomb)
    }
}

#[cfg(feature = "otel")]
#[tokio::test]
async fn a_job_without_a_trace_is_enqueued() {
    let it = Fixture::new().await;
    let guard = tracing::subscriber::set_default(WithoutACurrentSpan);
    it.verk.enqueue(Observed::new(1)).await.unwrap();
    drop(guard);
    assert_eq!(it.queued("default").await.len(), 1);
    assert!(it.verk.health().caught_panics > 0);
    super::log::keep_places();
}
