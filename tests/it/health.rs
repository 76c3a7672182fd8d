//! What a node says of itself.

use std::time::Duration;

use verk::{Health, Verk, health::Reason, prelude::*};
use verk_testing::{RedisServer, within};

use crate::{
    lifecycle::Note,
    support::{Fixture, PATIENCE, States},
};

/// Waits until the node is as it should be.
async fn until(verk: &Verk, wanted: impl Fn(&Health) -> bool) -> Health {
    let clock = verk.client().clock();
    within(PATIENCE, async {
        loop {
            let health = verk.health();
            if wanted(&health) {
                return health;
            }
            clock.sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

fn failing(health: &Health) -> Vec<&str> {
    let mut parts = Vec::new();
    for reason in &health.reasons {
        if let Reason::StorageFailing { part, .. } = reason {
            parts.push(part.as_str());
        }
    }
    parts
}

#[tokio::test]
async fn a_node_is_ready_from_its_first_connection_until_it_stops() {
    let it = Fixture::in_real_time(|builder| builder.queue("a", 1).queue("b", 1)).await;
    let verk = &it.verk;
    assert_eq!(verk.health().reasons, [Reason::NotStarted]);
    verk.start().unwrap();
    // None of its tasks has run yet.
    let health = verk.health();
    assert!(health.live && !health.ready);
    let queue = |name: &str| Reason::Connecting {
        queue: name.parse().unwrap(),
    };
    assert_eq!(health.reasons, [queue("a"), queue("b")]);

    it.storage.faults().set_refusing(true);
    let health = until(verk, |health| {
        let failing = failing(health);
        failing.contains(&"queue a")
            && failing.contains(&"queue b")
            && failing.contains(&"schedule")
    })
    .await;
    assert!(health.live && !health.ready);
    it.storage.faults().set_refusing(false);
    until(verk, |health| health.ready).await;

    verk.pause_queue("a").unwrap();
    assert!(verk.health().ready);
    verk.pause_queue("b").unwrap();
    assert_eq!(verk.health().reasons, [Reason::Quiet]);
    verk.resume_queue("a").unwrap();
    until(verk, |health| health.ready).await;
    verk.quiet();
    assert_eq!(verk.health().reasons, [Reason::Quiet]);

    verk.shutdown().await;
    let health = verk.health();
    assert!(health.live && !health.ready);
    assert_eq!(health.reasons, [Reason::Stopping]);
}

#[tokio::test]
async fn a_storage_without_room_is_told_until_an_enqueue_works() {
    let it = Fixture::in_real_time(|builder| builder.queue("a", 1)).await;
    it.verk.start().unwrap();
    until(&it.verk, |health| health.ready).await;
    it.storage.faults().set_full(true);
    it.verk.enqueue(Note::new("one")).await.unwrap_err();
    let health = it.verk.health();
    assert_eq!(failing(&health), ["enqueue"]);
    let message = health.reasons[0].to_string();
    assert!(
        message.ends_with("no memory is left for new jobs"),
        "{message}"
    );
    it.storage.faults().set_full(false);
    it.verk.enqueue(Note::new("two")).await.unwrap();
    assert!(it.verk.health().ready);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_node_without_queues_is_ready() {
    let verk = Verk::builder()
        .storage(verk_testing::MemoryStorage::default())
        .build()
        .await
        .unwrap();
    let health = serde_json::to_value(verk.health()).unwrap();
    assert_eq!(
        health,
        serde_json::json!({"live": true, "ready": true, "reasons": [], "caught_panics": 0})
    );
}

#[tokio::test]
async fn a_node_is_not_ready_while_its_heartbeat_is_old() {
    // No heartbeat reaches a storage that refuses, and only virtual time passes.
    let it = Fixture::with(|builder| builder.queue("a", 1).heartbeat(Duration::from_secs(9))).await;
    until_ready_in_virtual_time(&it).await;
    it.storage.faults().set_refusing(true);
    it.advance(Duration::from_secs(10));
    let stale = |health: &Health| {
        let stale = |reason: &Reason| matches!(reason, Reason::HeartbeatStale { age } if *age >= Duration::from_secs(10));
        health.reasons.iter().any(stale)
    };
    let health = it.verk.health();
    assert!(stale(&health) && health.live && !health.ready, "{health:?}");
    it.storage.faults().set_refusing(false);
    it.verk.shutdown().await;
}

async fn until_ready_in_virtual_time(it: &Fixture) {
    it.verk.start().unwrap();
    within(PATIENCE, async {
        while !it.verk.health().ready {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_is_gone_is_told_and_one_that_is_back_is_found() {
    let server = RedisServer::start();
    let builder = Verk::builder().redis(server.url()).queue("a", 1);
    let builder = builder.heartbeat(Duration::from_secs(1));
    let verk = States::new().give(builder).build().await.unwrap();
    verk.start().unwrap();
    until(&verk, |health| health.ready).await;
    server.stop();
    let health = until(&verk, |health| {
        let failing = failing(health);
        let stale = |reason: &Reason| matches!(reason, Reason::HeartbeatStale { .. });
        failing.contains(&"heartbeat")
            && failing.contains(&"queue a")
            && health.reasons.iter().any(stale)
    })
    .await;
    assert!(health.live && !health.ready, "{health:?}");
    // Its keys are gone with it, so the node has to register again.
    server.restart();
    until(&verk, |health| health.ready).await;
    verk.shutdown().await;
}
