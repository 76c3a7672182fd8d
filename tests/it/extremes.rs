//! Times at their ends, and clocks that go wrong: nothing overflows, nothing runs again and again.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use verk::{
    Event, EventKind, Job, Verk,
    events::AfterFailure,
    prelude::*,
    storage::{JobSet, Source},
    time::{Clock, SystemClock},
};
use verk_testing::{MemoryStorage, VirtualClock};

use crate::support::{ALL, Fixture, Log};

#[verk::worker]
async fn snoozing_for_ever(State(log): State<Log>) -> Result<Outcome, String> {
    log.push("ran");
    Ok(Outcome::Snooze(Duration::MAX))
}

fn out_of_range(_failed_at: SystemTime, _retry_count: u32) -> SystemTime {
    panic!("no such time")
}

#[verk::worker(retry_at = out_of_range)]
async fn retried_when(State(log): State<Log>) -> Result<(), String> {
    log.push("ran");
    Err("failed".into())
}

#[verk::worker]
async fn sleeping_for_ever(ctx: JobContext) {
    ctx.sleep(Duration::MAX).await;
}

/// The end of the year 9999, in seconds since 1970.
const END: f64 = 253_402_300_799.0;

async fn scores(it: &Fixture, set: JobSet) -> Vec<f64> {
    let members = it.members(set).await.into_iter();
    members.map(|member| member.score.unwrap()).collect()
}

#[tokio::test]
async fn a_job_for_the_end_of_time_is_scheduled_then() {
    let it = Fixture::new().await;
    it.verk
        .enqueue(SnoozingForEver::new().schedule_in(Duration::MAX))
        .await
        .unwrap();
    assert_eq!(scores(&it, JobSet::Schedule).await, [END]);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_snooze_until_the_end_of_time_runs_once() {
    let mut it = Fixture::new().await;
    it.verk.enqueue(SnoozingForEver::new()).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for(|event| matches!(event.what, EventKind::JobSnoozed { .. }).then_some(()))
        .await;
    assert_eq!(scores(&it, JobSet::Schedule).await, [END]);
    assert_eq!(it.log.entries(), ["ran"]);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_retry_at_that_panics_gives_way_to_the_backoff() {
    let mut it = Fixture::new().await;
    it.verk.enqueue(RetriedWhen::new()).await.unwrap();
    it.verk.start().unwrap();
    let then = it.wait_for(|event| match event {
        Event {
            what: EventKind::JobFailed { then, .. },
            ..
        } => Some(then),
        _ => None,
    });
    let then = then.await;
    assert!(matches!(then, AfterFailure::Retry { .. }), "{then:?}");
    assert_eq!(it.log.entries(), ["ran"]);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_node_may_wait_for_ever() {
    let mut it = Fixture::in_real_time(|builder| {
        builder
            .queue("default", 1)
            .poll_interval(Duration::MAX)
            .shutdown_timeout(Duration::MAX)
    })
    .await;
    it.verk.enqueue(SleepingForEver::new()).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_started(1).await;
    let verk = it.verk.clone();
    let shutdown = tokio::spawn(async move { verk.shutdown().await });
    it.wait_for(|event| matches!(event.what, EventKind::QueuePausing).then_some(()))
        .await;
    assert!(!shutdown.is_finished());
    shutdown.abort();
}

#[tokio::test]
async fn times_follow_the_storage_s_clock_also_in_a_program_that_only_enqueues() {
    let (ours, theirs) = (VirtualClock::new(), VirtualClock::new());
    ours.advance(Duration::from_secs(600));
    let now = theirs.now();
    let storage = MemoryStorage::new(Arc::new(theirs));
    let verk = Verk::builder()
        .storage(storage)
        .clock(Arc::new(ours))
        .build()
        .await
        .unwrap();
    verk.enqueue(SnoozingForEver::new().schedule_in(Duration::from_secs(60)))
        .await
        .unwrap();
    let members = verk
        .storage()
        .list(&Source::Set(JobSet::Schedule), &ALL.into())
        .await
        .unwrap()
        .jobs;
    assert_eq!(
        members[0].score,
        Some(verk::time::unix_seconds(now + Duration::from_secs(60)))
    );
    let job = Job::decode(members[0].job.clone()).unwrap();
    assert_eq!(job.created_at(), Some(now));
}

/// Panics the first time that the heartbeat asks for the time of day.
#[derive(Debug, Default)]
struct Panicking(AtomicBool);

impl Clock for Panicking {
    fn now(&self) -> SystemTime {
        let beats = thread::current().name() == Some("verk-heartbeat");
        assert!(
            !beats || self.0.swap(true, Ordering::SeqCst),
            "no time of day"
        );
        SystemClock.now()
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        SystemClock.sleep_until(deadline)
    }
}

#[verk::worker]
async fn quick() {}

#[tokio::test]
async fn a_heartbeat_that_panics_goes_on() {
    let heartbeat = Duration::from_millis(300);
    let mut it = Fixture::in_real_time(|builder| {
        builder
            .clock(Arc::new(Panicking::default()))
            .queue("default", 1)
            .heartbeat(heartbeat)
    })
    .await;
    it.verk.start().unwrap();
    // Without a heartbeat, the node would stop fetching.
    let end = SystemClock.instant() + 3 * heartbeat;
    while SystemClock.instant() < end {
        it.verk.enqueue(Quick::new()).await.unwrap();
        it.wait_for_finished(1).await;
    }
    it.verk.shutdown().await;
    it.assert_empty().await;
}
