//! Lines about a Redis that refuses something, or has keys that verk did not make.

use std::{
    future::Future,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use verk::{Event, EventKind, Verk, VerkBuilder, prelude::*};
use verk_testing::{RedisServer, VirtualClock, within};

use super::{
    Observed, PanickingWaker,
    log::{keep_places, panics_at_lines},
};
use crate::support::{PATIENCE, States, until, wait_for};

async fn build(redis: &RedisServer, configure: impl FnOnce(VerkBuilder) -> VerkBuilder) -> Verk {
    let builder = Verk::builder().redis(redis.url()).queue("default", 1);
    let builder = States::new().give(configure(builder));
    builder.build().await.unwrap()
}

/// Runs a job.
async fn assert_works(verk: &Verk) {
    let mut events = verk.events();
    verk.start().unwrap();
    verk.enqueue(Observed::new(1)).await.unwrap();
    let finished = |event: Event| matches!(event.what, EventKind::JobFinished { .. }).then_some(());
    wait_for(&mut events, finished).await;
}

#[tokio::test]
async fn a_redis_that_refuses_what_verk_can_do_without_runs_jobs() {
    let (log, _guard) = panics_at_lines();
    let redis = RedisServer::start();
    redis.command(&["ACL", "SETUSER", "default", "-info", "-subscribe"]);
    let verk = build(&redis, |builder| builder).await;
    assert_eq!(log.lines_with(&["Redis does not tell its version"]), 1);
    assert_works(&verk).await;
    until(|| log.lines_with(&["the server refuses the subscription"]) == 1).await;
    verk.shutdown().await;
}

#[tokio::test]
async fn a_job_whose_queue_cannot_be_listed_is_enqueued() {
    let (log, _guard) = panics_at_lines();
    let redis = RedisServer::start();
    redis.command(&["SET", "queues", "no set"]);
    let verk = build(&redis, |builder| builder).await;
    verk.enqueue(Observed::new(1)).await.unwrap();
    assert_eq!(log.lines_with(&["their queue may not be listed"]), 1);
    let queued = redis.command(&["LLEN", "queue:default"]).as_integer();
    assert_eq!(queued, Some(1));
    verk.shutdown().await;
}

#[tokio::test]
async fn a_node_that_finds_many_foreign_lists_runs_jobs() {
    let (log, _guard) = panics_at_lines();
    let redis = RedisServer::start();
    for number in 0..11 {
        redis.command(&["RPUSH", &format!("inprogress:gone:{number}"), "job"]);
    }
    let verk = build(&redis, |builder| builder).await;
    assert_works(&verk).await;
    until(|| log.lines_with(&["there may be more such lists", "found=11"]) == 1).await;
    assert_eq!(verk.admin().foreign_lists().await.unwrap().len(), 11);
    verk.shutdown().await;
}

#[tokio::test]
async fn a_process_that_is_asked_for_what_nobody_knows_goes_on() {
    let (log, _guard) = panics_at_lines();
    let redis = RedisServer::start();
    let clock = VirtualClock::new();
    let verk = build(&redis, |builder| {
        builder
            .clock(Arc::new(clock.clone()))
            .heartbeat(Duration::from_secs(365 * 24 * 60 * 60))
    })
    .await;
    assert_works(&verk).await;
    let processes = || redis.command(&["SMEMBERS", "processes"]).into_array();
    until(|| processes().is_some_and(|processes| processes.len() == 1)).await;
    let identity = processes().unwrap().remove(0).into_bytes().unwrap();
    let signals = [&identity[..], b"-signals"].concat();
    redis.command(&[b"LPUSH", &signals[..], b"HUP"]);
    until(|| {
        clock.advance(Duration::from_secs(1));
        log.lines_with(&["asked for something that is not known"]) == 1
    })
    .await;
    verk.shutdown().await;
}

#[tokio::test]
async fn a_waker_of_an_enqueue_that_panics_has_no_effect_on_others() {
    let redis = RedisServer::start();
    let verk = build(&redis, |builder| builder).await;
    let [mut first, mut second, mut third] =
        [1, 2, 3].map(|number| Box::pin(verk.enqueue(Observed::new(number))));
    // The second and the third wait until the first is on its way, and go together.
    let panicking = Waker::from(Arc::new(PanickingWaker));
    for (call, waker) in [
        (&mut first, Waker::noop()),
        (&mut second, &panicking),
        (&mut third, Waker::noop()),
    ] {
        assert!(
            call.as_mut()
                .poll(&mut Context::from_waker(waker))
                .is_pending()
        );
    }
    let (first, third) = within(PATIENCE, async { tokio::join!(first, third) }).await;
    first.unwrap();
    third.unwrap();
    within(PATIENCE, second).await.unwrap();
    let queued = redis.command(&["LLEN", "queue:default"]).as_integer();
    assert_eq!(queued, Some(3));
    assert!(verk.health().caught_panics > 0);
    verk.shutdown().await;
    keep_places();
}
