//! The queues and the processes of a fleet, as an operator sees them.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use verk::{
    manage::{PauseNote, QueueOverview},
    names::NodeId,
    storage::ProcessReport,
};

use super::{payloads, storages};
use crate::support::queue_name;

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
async fn hundreds_of_queues_are_shown() {
    for shared in storages().await {
        let node = NodeId::register("web").unwrap();
        let queues: Vec<_> = (0..500)
            .map(|n| queue_name(&format!("queue-{n:03}")))
            .collect();
        let ttl = Duration::from_secs(600);
        shared.storage.register(&node, &queues, ttl).await.unwrap();
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
