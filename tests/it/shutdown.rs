//! Stopping, pools and permits.

use std::time::Duration;

use verk::{Job, State};

use verk_testing::within;

use crate::support::{Fixture, Gate, Gauge, Log, PATIENCE};

#[verk::worker]
async fn gated(number: u32, State(gate): State<Gate>, State(log): State<Log>) {
    gate.pass().await;
    log.push(number.to_string());
}

#[verk::worker(queue = "other")]
async fn elsewhere(State(log): State<Log>) {
    log.push("elsewhere");
}

/// Never yields.
#[verk::worker]
async fn blocking(State(gate): State<Gate>) {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| runtime.block_on(gate.pass()));
}

#[verk::worker]
async fn measured(State(gauge): State<Gauge>, State(gate): State<Gate>) {
    gauge.enter();
    gate.pass().await;
    gauge.leave();
}

async fn fixture(concurrency: usize) -> Fixture {
    Fixture::with(|builder| builder.queue("default", concurrency).queue("other", 1)).await
}

#[tokio::test]
async fn running_jobs_may_finish_at_shutdown() {
    let mut it = fixture(5).await;
    it.verk.enqueue(Gated::new(1)).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_started(1).await;
    let verk = it.verk.clone();
    let shutdown = tokio::spawn(async move { verk.shutdown().await });
    it.gate.open();
    shutdown.await.unwrap();
    assert_eq!(it.log.entries(), ["1"]);
    it.assert_empty().await;
}

#[tokio::test]
async fn what_does_not_finish_goes_back_to_the_front_in_order_and_uncounted() {
    let mut it = fixture(3).await;
    for number in 1..=5 {
        it.verk.enqueue(Gated::new(number)).await.unwrap();
    }
    let before = it.queued("default").await;
    it.verk.start().unwrap();
    it.wait_for_started(3).await;
    assert_eq!(it.queued("default").await.len(), 2);

    let verk = it.verk.clone();
    let shutdown = tokio::spawn(async move { verk.shutdown().await });
    it.clock.wait_for_sleepers(1).await;
    // The deadline, and then whatever waits for a last time-out.
    while !shutdown.is_finished() {
        it.advance(Duration::from_secs(25));
        tokio::task::yield_now().await;
    }
    shutdown.await.unwrap();
    assert_eq!(
        it.queued("default").await,
        before,
        "the same bytes in the same order"
    );
    assert_eq!(Job::decode(before[0].clone()).unwrap().failures(), 0);
    assert_eq!(it.log.entries(), [""; 0]);
    it.assert_signed_off().await;
}

/// In real time, with no time for running jobs at shutdown.
async fn impatient(concurrency: usize) -> Fixture {
    Fixture::in_real_time(|builder| {
        builder
            .queue("default", concurrency)
            .shutdown_timeout(Duration::ZERO)
    })
    .await
}

#[tokio::test]
async fn more_than_a_batch_goes_back_in_order() {
    let mut it = impatient(250).await;
    let jobs = (0..250).map(Gated::new);
    it.verk.client().enqueue_all(jobs).await.unwrap();
    let before = it.queued("default").await;
    it.verk.start().unwrap();
    it.wait_for_started(250).await;
    it.verk.shutdown().await;
    assert_eq!(it.queued("default").await, before);
    it.assert_signed_off().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_does_not_end_holds_up_no_other() {
    let mut it = impatient(3).await;
    it.verk.enqueue(Gated::new(1)).await.unwrap();
    it.verk.enqueue(Blocking::new()).await.unwrap();
    it.verk.enqueue(Gated::new(2)).await.unwrap();
    let before = it.queued("default").await;
    it.verk.start().unwrap();
    it.wait_for_started(3).await;
    it.verk.shutdown().await;
    // Read before the asserts: a blocked thread would delay a test that fails.
    let queued = it.queued("default").await;
    let nodes = it.verk.storage().nodes().await.unwrap();
    it.gate.open();
    assert_eq!(queued, [before[0].clone(), before[2].clone()]);
    assert_eq!(nodes.len(), 1, "it holds a job");
}

#[tokio::test]
async fn shutdown_works_before_start_and_twice() {
    let it = fixture(1).await;
    it.verk.shutdown().await;
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_shutdown_ends_whoever_runs_the_node() {
    let it = fixture(1).await;
    let verk = it.verk.clone();
    let run = tokio::spawn(async move { verk.run_until(std::future::pending()).await });
    let verk = it.verk.clone();
    let run_to_signal = tokio::spawn(async move { verk.run().await });
    it.storage.wait_for_dequeues(2).await;
    it.verk.shutdown().await;
    within(PATIENCE, run).await.unwrap().unwrap();
    within(PATIENCE, run_to_signal).await.unwrap().unwrap();
    it.assert_empty().await;
}

#[tokio::test]
async fn no_more_jobs_run_at_once_than_the_queue_allows() {
    let mut it = fixture(3).await;
    for _ in 0..10 {
        it.verk.enqueue(Measured::new()).await.unwrap();
    }
    it.verk.start().unwrap();
    it.wait_for_started(3).await;
    it.gate.open();
    it.wait_for_finished(10).await;
    assert_eq!(it.gauge.most(), 3);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_queue_whose_permits_are_taken_holds_up_no_other() {
    let mut it = fixture(1).await;
    it.verk.enqueue(Gated::new(1)).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_started(1).await;
    it.verk.enqueue(Gated::new(2)).await.unwrap();
    it.verk.enqueue(Elsewhere::new()).await.unwrap();
    it.wait_for_finished(1).await;
    assert_eq!(it.log.entries(), ["elsewhere"]);
    it.gate.open();
    it.wait_for_finished(2).await;
    it.verk.shutdown().await;
    it.assert_empty().await;
}
