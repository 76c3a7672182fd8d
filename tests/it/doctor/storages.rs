//! A healthy storage in memory and on Redis, for an examination.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use verk::{
    Verk,
    doctor::Finding,
    names::NodeId,
    prelude::*,
    storage::{ProcessReport, Storage, StoredNodeInfo},
    time::{Clock, SystemClock},
};
use verk_testing::{MemoryStorage, RedisServer, VirtualClock};

use crate::support::{ALL, States, queue_name};

/// A storage, with a Verk that runs the queue `clinic` and is not started.
pub(super) struct Ward {
    pub(super) verk: Verk,
    clock: VirtualClock,
    redis: Option<RedisServer>,
}

pub(super) async fn wards() -> Vec<Ward> {
    let clock = VirtualClock::new();
    let redis = RedisServer::builder().setting("appendonly", "yes").start();
    let of_memory = Verk::builder()
        .storage(MemoryStorage::new(Arc::new(clock.clone())))
        .clock(Arc::new(clock.clone()))
        .heartbeat(Duration::from_secs(365 * 24 * 60 * 60));
    let of_redis = Verk::builder().redis(redis.url());
    let mut wards = Vec::new();
    for (builder, redis) in [(of_memory, None), (of_redis, Some(redis))] {
        let builder = States::new().give(builder.queue("clinic", 1));
        wards.push(Ward {
            verk: builder.build().await.unwrap(),
            clock: clock.clone(),
            redis,
        });
    }
    wards
}

impl Ward {
    pub(super) fn storage(&self) -> &dyn Storage {
        &**self.verk.storage()
    }

    pub(super) async fn findings(&self) -> Vec<Finding> {
        let report = self.verk.admin().doctor().examine().await.unwrap();
        assert!(report.complete, "{report}");
        report.findings
    }

    /// Makes all locks some minutes old.
    pub(super) async fn age_locks(&self) {
        self.clock.advance(Duration::from_secs(180));
        let Some(redis) = &self.redis else {
            return;
        };
        for lock in self.storage().locks(ALL).await.unwrap().locks {
            let key = format!("verk:unique:{}", lock.id);
            let since = redis.command(&["HSET", &key, "since", "1"]);
            assert_eq!(since.as_integer(), Some(0));
        }
    }

    /// Registers a node of verk that runs `clinic`.
    pub(super) async fn register(&self, node: &str, info: StoredNodeInfo) -> NodeId {
        let node = NodeId::register(node).unwrap();
        let ttl = Duration::from_secs(3600);
        let queues = [queue_name("clinic")];
        let registered = self.storage().register(&node, &queues, ttl, &info);
        registered.await.unwrap();
        node
    }

    /// Shows a process of Sidekiq that runs this queue.
    pub(super) async fn show_sidekiq(&self, queue: &str) {
        let info = format!(r#"{{"version":"7.3.2","queues":["{queue}"],"weights":[{{}}]}}"#);
        let report = ProcessReport {
            identity: "ruby:1:0f".to_owned(),
            info: Bytes::from(info),
            concurrency: 1,
            busy: 0,
            quiet: false,
            beat: SystemClock.now(),
            rss: 0,
            rtt: Duration::ZERO,
            work: Default::default(),
            sidekiq_6_work: false,
        };
        self.storage().report_process(&report).await.unwrap();
    }
}
