//! The queues and the processes of a fleet, as an operator sees them.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use verk::{
    manage::{PauseNote, QueueOverview},
    names::NodeId,
    storage::{ProcessReport, StoredNodeInfo},
};
use verk_testing::within;

use super::{payloads, storages};
use crate::support::{Fixture, PATIENCE, queue_name};

/// A process as Sidekiq 8.1 shows itself.
fn sidekiq(identity: &str, quiet: bool) -> ProcessReport {
    let info = r#"{"capsules":{"default":{"concurrency":5,"mode":"weighted","weights":{"default":1,"low":2}}},"version":"8.1.7"}"#;
    ProcessReport {
        identity: identity.to_owned(),
        info: Bytes::from(info),
        concurrency: 0,
        busy: 1,
        quiet,
        beat: UNIX_EPOCH,
        rss: 0,
        rtt: Duration::ZERO,
        work: [("os9".to_owned(), Bytes::from("{}"))].into(),
        sidekiq_6_work: false,
    }
}

#[tokio::test]
async fn a_queue_is_shown_with_what_waits_and_who_runs_it() {
    for shared in storages().await {
        assert_eq!(shared.one.queues().await.unwrap(), []);
        shared.enqueue(&payloads("A", 0..5)).await;
        let mut consumer = shared.consumer().await;
        assert_eq!(consumer.fetch(2).await.len(), 2);
        for (identity, quiet) in [("vm:1:0f", false), ("vm:2:0f", false), ("vm:3:0f", true)] {
            let report = sidekiq(identity, quiet);
            shared.storage.report_process(&report).await.unwrap();
        }
        let note = PauseNote::new().by("ada");
        shared.other.pause_queue("paused", note).await.unwrap();

        let queues = shared.one.queues().await.unwrap();
        let names: Vec<_> = queues.iter().map(|queue| queue.queue.as_str()).collect();
        assert_eq!(names, ["default", "paused"]);
        let [default, paused] = &queues[..] else {
            unreachable!()
        };
        assert_eq!(
            (default.enqueued, default.running, default.nodes),
            (3, 2, 1)
        );
        assert_eq!((default.processes, default.concurrency), (2, 10));
        assert_eq!((default.prefetched, default.to_restore), (0, 0));
        assert_eq!((default.processed, default.failed), (0, 0));
        assert_eq!(default.paused, None);
        let pause = paused.paused.as_ref().unwrap();
        assert_eq!(
            (pause.queue.as_str(), pause.by.as_deref()),
            ("paused", Some("ada"))
        );
        assert_eq!((paused.enqueued, paused.processes, paused.nodes), (0, 0, 0));
    }
}

#[tokio::test]
async fn a_node_is_shown_with_what_it_holds_and_what_it_is() {
    for shared in storages().await {
        assert_eq!(shared.one.nodes().await.unwrap(), []);
        shared.enqueue(&payloads("A", 0..5)).await;
        let mut consumer = shared.consumer().await;
        assert_eq!(consumer.fetch(2).await.len(), 2);
        let elixir = NodeId::from("12345678904294967295");
        let ttl = Duration::from_secs(600);
        let queues = ["low", "other"].map(queue_name);
        let info = StoredNodeInfo::default();
        shared
            .of_node
            .register(&elixir, &queues, ttl, &info)
            .await
            .unwrap();

        let nodes = shared.one.nodes().await.unwrap();
        let [elixir, web] = &nodes[..] else {
            panic!("{nodes:?}")
        };
        assert_eq!(
            (elixir.id.as_str(), elixir.alive, &elixir.info),
            ("12345678904294967295", true, &None)
        );
        let queues: Vec<_> = elixir
            .queues
            .iter()
            .map(|queue| (queue.name.as_str(), queue.held))
            .collect();
        assert_eq!(queues, [("low", 0), ("other", 0)]);
        assert_eq!((web.id.name(), web.alive), ("web", true));
        let queues: Vec<_> = web
            .queues
            .iter()
            .map(|queue| (queue.name.as_str(), queue.held))
            .collect();
        assert_eq!(queues, [("default", 2)]);
    }
}

#[verk::worker]
async fn of_the_fleet() {}

#[tokio::test]
async fn a_node_of_verk_says_what_it_runs() {
    let it = Fixture::with(|builder| builder.queue("default", 5)).await;
    let nodes = it.verk.admin().nodes().await.unwrap();
    let info = nodes[0].info.as_ref().unwrap();
    assert_eq!(info.version, format!("verk {}", env!("CARGO_PKG_VERSION")));
    assert!(info.level > 0 && info.registered_at.is_some());
    assert_eq!(info.class_count, info.classes.len());
    assert!(
        info.classes.contains(&"OfTheFleet".to_owned()),
        "{:?}",
        info.classes
    );
    let nonce = nodes[0].id.as_str().rsplit('.').next().unwrap();
    let ending = format!(":{}:{nonce}", std::process::id());
    assert!(info.process.ends_with(&ending), "{}", info.process);

    // The next registration is of the same process.
    it.verk.start().unwrap();
    it.storage.faults().expire_heartbeat(&nodes[0].id);
    let process = info.process.clone();
    within(PATIENCE, async {
        loop {
            let nodes = it.verk.admin().nodes().await.unwrap();
            let alive = nodes.iter().find(|node| node.alive);
            if let Some(again) = alive.and_then(|node| node.info.as_ref()) {
                assert_eq!(again.process, process);
                return;
            }
            it.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    })
    .await;
    it.verk.shutdown().await;
    assert_eq!(
        it.verk
            .admin()
            .nodes()
            .await
            .unwrap()
            .iter()
            .filter(|node| node.alive)
            .count(),
        0
    );
}

#[tokio::test]
async fn hundreds_of_queues_are_shown() {
    for shared in storages().await {
        let node = NodeId::register("web").unwrap();
        let queues: Vec<_> = (0..500)
            .map(|n| queue_name(&format!("queue-{n:03}")))
            .collect();
        let ttl = Duration::from_secs(600);
        shared
            .of_node
            .register(&node, &queues, ttl, &Default::default())
            .await
            .unwrap();
        for queue in &queues {
            let jobs = payloads("A", 0..1);
            shared.storage.enqueue(queue, &jobs).await.unwrap();
        }
        let shown = shared.one.queues().await.unwrap();
        assert_eq!(shown.len(), 500);
        let is_whole = |queue: &QueueOverview| (queue.enqueued, queue.nodes) == (1, 1);
        assert!(shown.iter().all(is_whole));
    }
}
