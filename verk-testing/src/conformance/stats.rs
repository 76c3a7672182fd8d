//! Statistics: what a node counted is added once, in all counters or in none.

use std::time::{Duration, UNIX_EPOCH};

use verk_core::{
    error::Applied,
    names::NodeId,
    stats::{Day, DayStats},
    storage::{
        Counts, ExecutionStep, Executions, Histogram, JobSet, Minute, StatsReport, Storage,
        StoredExecutions, StoredQueueStats, StoredStats, Target,
    },
};

use super::{
    Harness,
    fixture::{
        Fixture, assert_done, assert_refused, bytes, dead, due, job, node_id, queue_name, soon,
    },
};
use crate::{Key, Operation};

/// Nothing was counted yet.
pub async fn without_a_report_all_is_zero(harness: &dyn Harness) {
    let storage = harness.storage();
    let before = harness.dump().await;
    assert_eq!(storage.stats(&[]).await.unwrap(), StoredStats::default());
    let queues = ["default", "other"].map(queue_name);
    let stats = storage.stats(&queues).await.unwrap();
    assert_eq!(stats.queues, vec![StoredQueueStats::default(); 2]);
    assert_eq!(days(&*storage, &["2025-01-01"]).await, [(0, 0)]);
    assert_eq!(storage.day_stats(&[]).await.unwrap(), []);
    assert_eq!(harness.dump().await, before, "looking changes nothing");
}

/// The facts of a backend can be read at any time.
pub async fn facts_change_nothing(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a"]).await;
    let before = harness.dump().await;
    let facts = fixture.storage.server_facts().await.expect("facts");
    assert_eq!((facts.elsewhere, facts.disk_fails), (0, false), "{facts:?}");
    assert!(!fixture.storage.address().is_empty());
    assert_eq!(harness.dump().await, before);
}

/// A report is added to the totals, its days and its queues.
pub async fn a_report_is_added_to_every_counter(harness: &dyn Harness) {
    let storage = harness.storage();
    let report = StatsReport {
        days: [
            (day("2025-01-01"), counts(5, 2)),
            (day("2025-01-02"), counts(3, 0)),
        ]
        .into(),
        queues: [
            (queue_name("a"), counts(8, 0)),
            (queue_name("b:c"), counts(0, 2)),
        ]
        .into(),
        executions: Default::default(),
    };
    let node = node_id();
    assert!(storage.record_stats(&node, 1, &report).await.unwrap());
    assert!(storage.record_stats(&node, 2, &report).await.unwrap());

    assert_eq!(total(&*storage).await, (20, 4));
    let days = days(&*storage, &["2025-01-02", "2025-01-03", "2025-01-01"]).await;
    assert_eq!(days, [(6, 0), (0, 0), (14, 4)], "as they were asked for");
    assert_eq!(of_queue(&*storage, "a").await, counts(16, 0));
    assert_eq!(of_queue(&*storage, "b:c").await, counts(0, 4));
    assert_eq!(of_queue(&*storage, "c").await, counts(0, 0));
}

/// The same number twice counts once, and so does a lower one; a higher one counts.
pub async fn a_report_that_is_sent_twice_counts_once(harness: &dyn Harness) {
    let storage = harness.storage();
    let node = node_id();
    let report = report("default", counts(1, 1));
    assert!(storage.record_stats(&node, 9, &report).await.unwrap());
    let before = harness.dump().await;
    for sequence in [9, 8, 1, 0] {
        let again = storage.record_stats(&node, sequence, &report).await;
        assert!(!again.unwrap(), "{sequence}");
    }
    assert_eq!(harness.dump().await, before);

    assert!(storage.record_stats(&node, 10, &report).await.unwrap());
    assert!(
        storage
            .record_stats(&node, 1_000_000, &report)
            .await
            .unwrap()
    );
    assert_eq!(total(&*storage).await, (6, 3));
}

/// Execution metrics are a part of the report.
pub async fn executions_are_added_once(harness: &dyn Harness) {
    let storage = harness.storage();
    let node = node_id();
    let mut report = report("default", counts(1, 0));
    assert!(storage.record_stats(&node, 1, &report).await.unwrap());
    let without = harness.dump().await.keys().len();

    let mut executions = Executions {
        counts: counts(70_000, 2),
        took: Duration::from_millis(1_234),
        ..Executions::default()
    };
    executions.histogram[0] = 69_999;
    executions.histogram[25] = 1;
    let classes = [("A::B", executions.clone()), ("C", executions)];
    let classes = classes.map(|(class, executions)| (class.to_owned(), executions));
    report.executions = [(minute(1_739_522_580), classes.into())].into();
    assert!(storage.record_stats(&node, 2, &report).await.unwrap());
    let with = harness.dump().await;
    assert!(with.keys().len() > without);
    assert!(!storage.record_stats(&node, 2, &report).await.unwrap());
    assert_eq!(harness.dump().await, with);

    assert!(storage.record_stats(&node, 3, &report).await.unwrap());
    let more = harness.dump().await;
    assert!(more.keys().keys().eq(with.keys().keys()), "no new keys");
    assert_ne!(more, with);
    assert_eq!(
        total(&*storage).await,
        (3, 0),
        "the totals are those of the days"
    );
}

/// Execution metrics are read by the minute and by ten minutes, of all classes or of one.
pub async fn executions_are_read_in_steps(harness: &dyn Harness) {
    let storage = harness.storage();
    // 2025-02-14 08:43 UTC, the minute after it, and the next ten minutes.
    let minutes = [1_739_522_580, 1_739_522_640, 1_739_523_000].map(minute);
    let unknown = minute(1_739_530_000);
    let runs = |succeeded, failed, milliseconds| {
        let mut runs = Executions {
            counts: counts(succeeded, failed),
            took: Duration::from_millis(milliseconds),
            ..Executions::default()
        };
        runs.histogram[3] = succeeded;
        runs
    };
    let mut report = report("default", counts(1, 0));
    report.executions = [
        (
            minutes[0],
            [
                ("A::B".to_owned(), runs(7, 2, 70)),
                ("C".to_owned(), runs(1, 0, 5)),
            ]
            .into(),
        ),
        (minutes[1], [("A::B".to_owned(), runs(1, 0, 10))].into()),
        (minutes[2], [("C".to_owned(), runs(0, 3, 0))].into()),
    ]
    .into();
    assert!(storage.record_stats(&node_id(), 1, &report).await.unwrap());
    let before = harness.dump().await;

    let read = async |step, times: &[Minute], class| {
        let read = storage.executions(step, times, class).await.unwrap();
        assert!(read.iter().all(|stored| !stored.cut));
        let classes = read.into_iter().map(|stored| stored.classes);
        let shown = classes.map(|classes| {
            let classes = classes.into_iter();
            let shown = classes.map(|(class, runs)| {
                (
                    class,
                    runs.counts.succeeded,
                    runs.counts.failed,
                    runs.took.as_millis(),
                )
            });
            shown.collect::<Vec<_>>()
        });
        shown.collect::<Vec<_>>()
    };
    let of = |class: &str, succeeded, failed, ms| (class.to_owned(), succeeded, failed, ms);
    let times = [minutes[1], unknown, minutes[0], minutes[2]];
    assert_eq!(
        read(ExecutionStep::Minute, &times, None).await,
        [
            vec![of("A::B", 1, 0, 10)],
            vec![],
            vec![of("A::B", 7, 2, 70), of("C", 1, 0, 5)],
            vec![of("C", 0, 3, 0)],
        ]
    );
    assert_eq!(
        read(ExecutionStep::Minute, &times, Some("C")).await,
        [
            vec![],
            vec![],
            vec![of("C", 1, 0, 5)],
            vec![of("C", 0, 3, 0)]
        ]
    );
    // Any minute of the ten will do.
    let times = [minute(1_739_522_400), minutes[2], unknown];
    assert_eq!(
        read(ExecutionStep::TenMinutes, &times, None).await,
        [
            vec![of("A::B", 8, 2, 80), of("C", 1, 0, 5)],
            vec![of("C", 0, 3, 0)],
            vec![],
        ]
    );
    assert!(read(ExecutionStep::Minute, &[], None).await.is_empty());

    let many = [unknown; 100];
    let none = storage.executions(ExecutionStep::Minute, &many, None).await;
    assert_eq!(none.unwrap(), vec![StoredExecutions::default(); 100]);
    let times = [minutes[2], minutes[0], unknown, minutes[1]];
    let read = storage.histograms("A::B", &times).await.unwrap();
    let counted: Vec<_> = read.iter().map(|of_minute| of_minute[3]).collect();
    assert_eq!(counted, [0, 7, 0, 1]);
    assert_eq!(read.iter().flatten().sum::<u64>(), 8);
    let nobody = storage.histograms("Nobody", &times).await.unwrap();
    assert_eq!(nobody, [Histogram::default(); 4]);
    assert_eq!(harness.dump().await, before, "looking changes nothing");
}

/// Of equal reports that come at the same time, one counts.
pub async fn reports_at_once_count_once(harness: &dyn Harness) {
    let storage = harness.storage();
    let node = node_id();
    let report = report("default", counts(1, 0));
    let send = || storage.record_stats(&node, 1, &report);
    let answers = tokio::join!(send(), send(), send(), send());
    let answers = [answers.0, answers.1, answers.2, answers.3];
    let added = answers
        .into_iter()
        .filter(|answer| *answer.as_ref().unwrap());
    assert_eq!(added.count(), 1);
    assert_eq!(total(&*storage).await, (1, 0));
}

/// Each node numbers its own reports.
pub async fn nodes_are_numbered_apart(harness: &dyn Harness) {
    let storage = harness.storage();
    let report = report("default", counts(2, 1));
    for node in [node_id(), node_id()] {
        assert!(storage.record_stats(&node, 1, &report).await.unwrap());
        assert!(!storage.record_stats(&node, 1, &report).await.unwrap());
    }
    assert_eq!(total(&*storage).await, (6, 2));
}

/// A report of many queues and days is one step.
pub async fn many_queues_are_one_report(harness: &dyn Harness) {
    let storage = harness.storage();
    let queues: Vec<_> = (0..2_500)
        .map(|number| queue_name(&format!("queue {number}")))
        .collect();
    let all = StatsReport {
        days: [(day("2025-01-01"), counts(2_500, 2_500))].into(),
        queues: queues
            .iter()
            .map(|queue| (queue.clone(), counts(1, 1)))
            .collect(),
        executions: Default::default(),
    };
    assert!(storage.record_stats(&node_id(), 1, &all).await.unwrap());
    let stats = storage.stats(&queues).await.unwrap();
    assert_eq!((stats.processed, stats.failed), (5_000, 2_500));
    assert_eq!(stats.queues.len(), 2_500);
    assert!(
        stats
            .queues
            .iter()
            .all(|queue| queue.counts == counts(1, 1))
    );
}

/// Numbers beyond those that a float holds exactly stay exact.
pub async fn large_numbers_stay_exact(harness: &dyn Harness) {
    let storage = harness.storage();
    let node = node_id();
    let large = 9_007_199_254_740_993;
    let first = report("default", counts(large, 0));
    assert!(storage.record_stats(&node, 1, &first).await.unwrap());
    let second = report("default", counts(1, 1));
    assert!(storage.record_stats(&node, 2, &second).await.unwrap());
    assert_eq!(total(&*storage).await, (large + 2, 1));
    assert_eq!(of_queue(&*storage, "default").await, counts(large + 1, 1));
}

/// The end of a registration forgets the number, and keeps what was counted.
pub async fn deregister_forgets_the_number(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let node = &fixture.held.node;
    let report = report("default", counts(1, 0));
    let other = NodeId::register("other").unwrap();
    assert!(
        fixture
            .storage
            .record_stats(&other, 1, &report)
            .await
            .unwrap()
    );
    assert!(fixture.storage.deregister(node).await.unwrap());
    let before = harness.dump().await;

    let fixture = Fixture::new(harness).await;
    let node = &fixture.held.node;
    assert!(
        fixture
            .storage
            .record_stats(node, 1, &report)
            .await
            .unwrap()
    );
    assert!(fixture.storage.deregister(node).await.unwrap());
    let after = harness.dump().await;
    let keys = |dump: &super::Dump| dump.keys().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&after), keys(&before));
    assert_eq!(total(&*fixture.storage).await, (2, 0));
    let again = fixture.storage.record_stats(&other, 1, &report).await;
    assert!(!again.unwrap(), "that of another node is kept");
}

/// Queues and sets are counted, and the job that waits longest is shown.
pub async fn sizes_and_the_oldest_job_are_read(harness: &dyn Harness) {
    let mut fixture = Fixture::holding(harness, &["r", "s", "d", "d2", "held"]).await;
    assert_done(&fixture.settle(&["r"], Target::Retry(due(1, "r"))).await);
    assert_done(&fixture.settle(&["s"], Target::Schedule(due(1, "s"))).await);
    assert_done(&fixture.settle(&["d"], dead(1, "d")).await);
    assert_done(&fixture.settle(&["d2"], dead(1, "d2")).await);
    fixture.enqueue(&["a", "b", "c"]).await;
    let queues = ["none", "default"].map(queue_name);
    let stats = fixture.storage.stats(&queues).await.unwrap();
    assert_eq!((stats.scheduled, stats.retry, stats.dead), (1, 1, 2));
    let [none, default] = &stats.queues[..] else {
        panic!("one each, not {stats:?}");
    };
    assert_eq!((none.enqueued, &none.oldest), (0, &None));
    assert_eq!((default.enqueued, &default.oldest), (3, &Some(job("a"))));

    assert_eq!(fixture.dequeue(1).await, bytes(&["a"]));
    let stats = fixture.storage.stats(&queues).await.unwrap();
    assert_eq!(stats.queues[1].oldest, Some(job("b")));
}

/// A report whose reply is lost says so, and counts once however often it is sent.
pub async fn a_lost_reply_to_a_report_counts_once(harness: &dyn Harness) {
    let storage = harness.storage();
    let node = node_id();
    let report = report("default", counts(2, 1));
    assert!(storage.record_stats(&node, 1, &report).await.unwrap());
    harness.lose_reply(Operation::RecordStats).await;
    let lost = soon(storage.record_stats(&node, 2, &report)).await;
    assert_refused(lost, Applied::Unknown);
    assert!(!soon(storage.record_stats(&node, 2, &report)).await.unwrap());
    assert_eq!(total(&*storage).await, (6, 2));
}

/// A full backend still counts.
pub async fn a_full_backend_counts(harness: &dyn Harness) {
    let storage = harness.storage();
    let node = node_id();
    harness.fill().await;
    let report = report("default", counts(1, 1));
    assert!(storage.record_stats(&node, 1, &report).await.unwrap());
    assert!(!storage.record_stats(&node, 1, &report).await.unwrap());
    assert_eq!(total(&*storage).await, (2, 1));
}

/// One counter of another type fails the whole report, which can be sent again under its number;
/// the jobs continue.
pub async fn a_broken_counter_fails_the_report(harness: &dyn Harness) {
    let fixture = Fixture::holding(harness, &["a"]).await;
    let storage = &fixture.storage;
    let node = &fixture.held.node;
    let report = report("default", counts(2, 1));
    assert!(storage.record_stats(node, 1, &report).await.unwrap());
    for (round, key) in [Key::Processed, Key::FailedOf(queue_name("default"))]
        .into_iter()
        .enumerate()
    {
        let before = harness.dump().await;
        let sequence = round as u64 + 2;
        harness.break_key(&key).await;
        let refused = storage.record_stats(node, sequence, &report).await;
        assert_refused(refused, Applied::NotApplied);
        storage.stats(&[queue_name("default")]).await.unwrap_err();
        assert_eq!(fixture.queued().await, bytes(&[]));
        harness.mend_key(&key).await;
        assert_eq!(harness.dump().await, before, "{key:?}");
        assert!(storage.record_stats(node, sequence, &report).await.unwrap());
    }
    harness.break_key(&Key::Processed).await;
    assert_done(&fixture.settle(&["a"], Target::Retry(due(1, "a"))).await);
    assert_eq!(fixture.members(JobSet::Retry).await.len(), 1);
    harness.mend_key(&Key::Processed).await;
    assert_eq!(total(&**storage).await, (9, 3));
}

fn day(text: &str) -> Day {
    text.parse().expect("a day")
}

fn minute(second: u64) -> Minute {
    Minute::of(UNIX_EPOCH + Duration::from_secs(second))
}

fn counts(succeeded: u64, failed: u64) -> Counts {
    Counts { succeeded, failed }
}

/// What one queue counted on one day.
fn report(queue: &str, counts: Counts) -> StatsReport {
    StatsReport {
        days: [(day("2025-01-01"), counts)].into(),
        queues: [(queue_name(queue), counts)].into(),
        executions: Default::default(),
    }
}

/// All runs, and those that failed.
async fn total(storage: &dyn Storage) -> (u64, u64) {
    let stats = storage.stats(&[]).await.unwrap();
    (stats.processed, stats.failed)
}

async fn of_queue(storage: &dyn Storage, queue: &str) -> Counts {
    let stats = storage.stats(&[queue_name(queue)]).await.unwrap();
    stats.queues[0].counts
}

async fn days(storage: &dyn Storage, days: &[&str]) -> Vec<(u64, u64)> {
    let days: Vec<Day> = days.iter().map(|text| day(text)).collect();
    let stats: Vec<DayStats> = storage.day_stats(&days).await.unwrap();
    assert!(stats.iter().map(|stats| &stats.day).eq(&days));
    stats
        .iter()
        .map(|stats| (stats.processed, stats.failed))
        .collect()
}
