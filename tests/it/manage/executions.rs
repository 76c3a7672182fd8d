//! Execution metrics that are read again and again.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use verk::{
    Verk,
    manage::{Admin, ExecutionCache, ExecutionRange},
    names::NodeId,
    storage::{Counts, Executions, Minute, StatsReport, StatsStore},
    time::Clock,
};
use verk_testing::{MemoryStorage, VirtualClock};

const MINUTE: Duration = Duration::from_secs(60);

struct Shown {
    clock: VirtualClock,
    storage: MemoryStorage,
    admin: Admin,
    cache: ExecutionCache,
    reports: u64,
}

impl Shown {
    async fn new() -> Self {
        let clock = VirtualClock::new();
        let storage = MemoryStorage::new(Arc::new(clock.clone()));
        let builder = Verk::builder().storage(storage.clone());
        let verk = builder
            .clock(Arc::new(clock.clone()))
            .build()
            .await
            .unwrap();
        Self {
            clock,
            storage,
            admin: verk.admin(),
            cache: ExecutionCache::default(),
            reports: 0,
        }
    }

    /// A run of class A that ended at that time is reported.
    async fn run_at(&mut self, at: SystemTime) {
        let run = Executions {
            counts: Counts {
                succeeded: 1,
                failed: 0,
            },
            ..Executions::default()
        };
        let report = StatsReport {
            executions: [(Minute::of(at), [("A".to_owned(), run)].into())].into(),
            ..StatsReport::default()
        };
        self.reports += 1;
        let node = NodeId::from("web");
        let stored = self.storage.record_stats(&node, self.reports, &report);
        assert!(stored.await.unwrap());
    }

    /// How many runs the steps of the range have, the oldest first; without those that have none.
    async fn runs(&mut self, range: &ExecutionRange) -> Vec<u64> {
        let history = self.cache.read(&self.admin, range).await.unwrap();
        let steps = history.classes.iter().flat_map(|class| &class.steps);
        let runs = steps.map(|step| step.counts.succeeded);
        runs.filter(|runs| *runs > 0).collect()
    }
}

#[tokio::test]
async fn a_step_that_has_ended_is_read_once_an_hour() {
    for (range, age) in [
        (ExecutionRange::minutes(100), 5 * MINUTE),
        (ExecutionRange::ten_minutes(100), 25 * MINUTE),
    ] {
        let mut shown = Shown::new().await;
        let now = shown.clock.now();
        let ended = now - age;
        for (of_ended, of_current) in [(1, 1), (1, 2)] {
            shown.run_at(ended).await;
            shown.run_at(now).await;
            let runs = shown.runs(&range).await;
            assert_eq!(runs, [of_ended, of_current], "{range:?}");
        }
        let of_class = shown.runs(&range.clone().class("A")).await;
        assert_eq!(of_class, [2, 2], "{range:?}");
        shown.clock.advance(60 * MINUTE);
        assert_eq!(shown.runs(&range).await, [2, 2], "{range:?}");
    }
}

#[tokio::test]
async fn the_last_steps_may_still_grow() {
    let mut shown = Shown::new().await;
    let range = ExecutionRange::minutes(480);
    for minute in 0..500 {
        let now = shown.clock.now();
        // Late, as a node may report.
        shown.run_at(now - MINUTE).await;
        shown.run_at(now).await;
        let runs = shown.runs(&range).await;
        assert_eq!(runs.last(), Some(&1), "{minute}");
        assert!(runs.iter().rev().skip(1).all(|runs| *runs <= 2), "{minute}");
        shown.clock.advance(MINUTE);
    }
    let read = shown.admin.executions(&range).await.unwrap();
    let kept = shown.cache.read(&shown.admin, &range).await.unwrap();
    assert_eq!(kept, read);
}
