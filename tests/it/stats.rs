//! What was processed is counted once, whatever goes wrong with the counting.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use verk::{
    Event, EventKind, State, Verk,
    prelude::*,
    stats::{Day, DayStats, Stats},
    storage::JobSet,
};
use verk_testing::{
    Key, MemoryStorage, Operation, VirtualClock, conformance::Harness as _, within,
};

use crate::support::{Fixture, Log, PATIENCE, at_once, queue_name};

#[verk::worker]
async fn counted(State(log): State<Log>) {
    log.push("counted");
}

/// Fails `failures` times, then succeeds.
#[verk::worker(max_retry_count = 2, retry_at = at_once)]
async fn uneven(failures: u32, ctx: JobContext) -> Result<(), String> {
    if ctx.attempt() <= failures {
        return Err("not yet".into());
    }
    Ok(())
}

#[verk::worker(queue = "other", max_retry_count = 0, dead = false)]
async fn unwanted() -> Result<(), String> {
    Err("never".into())
}

#[verk::worker(queue = "other")]
async fn undecided(answer: String) -> Result<Outcome, String> {
    Ok(match answer.as_str() {
        "snooze" => Outcome::Snooze(Duration::from_secs(365 * 24 * 60 * 60)),
        "discard" => Outcome::Discard("not needed".into()),
        _ => Outcome::Kill("hopeless".into()),
    })
}

async fn two_queues() -> Fixture {
    Fixture::with(|builder| builder.queue("default", 5).queue("other", 5)).await
}

/// All runs, and those that failed.
fn total(stats: &Stats) -> (u64, u64) {
    (stats.processed, stats.failed)
}

fn of_queue(stats: &Stats, queue: &str) -> (u64, u64) {
    let stats = stats.queue(queue).unwrap();
    (stats.processed, stats.failed)
}

/// Lets time pass, in the steps of the statistics, until the storage knows of so many runs.
async fn wait_for_processed(it: &Fixture, processed: u64) -> Stats {
    within(PATIENCE, async {
        loop {
            let stats = it.verk.admin().stats().await.unwrap();
            if stats.processed == processed {
                return stats;
            }
            it.advance(Duration::from_secs(10));
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// What the storage still knows of the numbers of reports.
async fn numbers_of_reports(it: &Fixture) -> Vec<String> {
    let dump = it.storage.dump().await;
    let keys = dump.keys().keys().cloned();
    keys.filter(|key| key.ends_with(" stats")).collect()
}

#[tokio::test]
async fn every_run_is_counted_as_what_it_came_to() {
    let mut it = two_queues().await;
    it.verk.enqueue(Counted::new()).await.unwrap();
    it.verk.enqueue(Uneven::new(0)).await.unwrap();
    it.verk.enqueue(Uneven::new(2)).await.unwrap(); // fails twice, then succeeds
    it.verk.enqueue(Uneven::new(9)).await.unwrap(); // fails three times: dead
    it.verk.enqueue(Unwanted::new()).await.unwrap(); // fails once: discarded
    for answer in ["snooze", "discard", "kill"] {
        it.verk.enqueue(Undecided::new(answer)).await.unwrap();
    }
    let class = r#"{"class":"Nobody","jid":"1","args":[],"max_retry_count":0}"#;
    let payloads = [Bytes::from("no job"), Bytes::from(class)];
    let other = queue_name("other");
    it.verk.storage().enqueue(&other, &payloads).await.unwrap();
    it.verk.start().unwrap();
    let mut ended = 0;
    while ended < 14 {
        it.wait_for(|event| match event {
            Event {
                what: EventKind::JobFinished { .. },
                ..
            }
            | Event {
                what: EventKind::JobFailed { .. },
                ..
            }
            | Event {
                what: EventKind::JobSnoozed { .. },
                ..
            }
            | Event {
                what: EventKind::JobDiscarded { .. },
                ..
            }
            | Event {
                what: EventKind::JobMalformed { .. },
                ..
            } => Some(()),
            _ => None,
        })
        .await;
        ended += 1;
    }
    it.verk.shutdown().await;

    let stats = it.verk.admin().stats().await.unwrap();
    // In `default`: 3 succeeded, 2 + 3 failed. In `other`: 1 discarded; 1 without retry, 1 killed
    // and 1 without a worker failed.
    assert_eq!(total(&stats), (12, 8));
    assert_eq!(of_queue(&stats, "default"), (8, 5));
    assert_eq!(of_queue(&stats, "other"), (4, 3));
    assert_eq!((stats.scheduled, stats.retry, stats.dead), (1, 0, 4));
    let today = Day::of(UNIX_EPOCH + VirtualClock::START);
    assert_eq!(
        it.verk.admin().stats_of_day(today).await.unwrap(),
        DayStats::new(today, 12, 8)
    );
    assert_eq!(numbers_of_reports(&it).await, [""; 0]);
    it.assert_signed_off().await;
}

#[tokio::test]
async fn counts_are_stored_every_ten_seconds_and_at_shutdown() {
    let mut it = Fixture::new().await;
    it.verk.start().unwrap();
    it.verk.enqueue(Counted::new()).await.unwrap();
    it.wait_for_finished(1).await;
    assert_eq!(
        total(&it.verk.admin().stats().await.unwrap()),
        (0, 0),
        "not yet"
    );
    wait_for_processed(&it, 1).await;
    assert_eq!(numbers_of_reports(&it).await.len(), 1);

    it.verk.enqueue(Counted::new()).await.unwrap();
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    assert_eq!(total(&it.verk.admin().stats().await.unwrap()), (2, 0));
    assert_eq!(numbers_of_reports(&it).await, [""; 0]);
}

#[tokio::test]
async fn a_report_whose_reply_is_lost_counts_once() {
    let mut it = Fixture::new().await;
    it.verk.start().unwrap();
    for round in 1..=3 {
        it.storage.faults().lose_reply(Operation::RecordStats);
        it.verk.enqueue(Counted::new()).await.unwrap();
        it.wait_for_finished(1).await;
        wait_for_processed(&it, round).await;
    }
    it.storage.faults().lose_reply(Operation::RecordStats);
    it.verk.enqueue(Counted::new()).await.unwrap();
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    assert_eq!(total(&it.verk.admin().stats().await.unwrap()), (4, 0));
    it.assert_empty().await;
}

#[tokio::test]
async fn a_broken_counter_holds_up_no_job_and_loses_no_count() {
    let mut it = Fixture::new().await;
    it.storage.faults().break_key(Key::Processed);
    it.verk.start().unwrap();
    for _ in 0..3 {
        it.verk.enqueue(Uneven::new(1)).await.unwrap();
        it.wait_for_finished(1).await;
        it.advance(Duration::from_secs(10));
    }
    it.verk.admin().stats().await.unwrap_err();
    it.storage.faults().mend_key(&Key::Processed);
    let stats = wait_for_processed(&it, 6).await;
    assert_eq!(total(&stats), (6, 3));

    it.storage.faults().break_key(Key::Processed);
    it.verk.enqueue(Counted::new()).await.unwrap();
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_run_counts_on_the_day_on_which_it_ended() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let mut it = Fixture::new().await;
    it.verk.start().unwrap();
    // The reports of the first day come when that is over.
    it.storage.faults().break_key(Key::Processed);
    for (runs, days) in [(1, 1), (2, 2), (3, 0)] {
        for _ in 0..runs {
            it.verk.enqueue(Counted::new()).await.unwrap();
            it.wait_for_finished(1).await;
        }
        it.advance(DAY * days);
    }
    it.storage.faults().mend_key(&Key::Processed);
    it.verk.shutdown().await;
    let history = it.verk.admin().stats_history(5).await.unwrap();
    let shown: Vec<_> = history
        .iter()
        .map(|of| (of.day.to_string(), of.processed))
        .collect();
    let expected = [
        ("2025-01-04", 3),
        ("2025-01-03", 0),
        ("2025-01-02", 2),
        ("2025-01-01", 1),
        ("2024-12-31", 0),
    ];
    assert_eq!(
        shown,
        expected.map(|(day, processed)| (day.to_owned(), processed))
    );
}

#[tokio::test]
async fn a_node_that_was_declared_dead_counts_under_both_its_ids() {
    let mut it = Fixture::new().await;
    it.verk.start().unwrap();
    it.verk.enqueue(Counted::new()).await.unwrap();
    it.wait_for_finished(1).await;
    let nodes = it.verk.storage().nodes().await.unwrap();
    it.storage.faults().expire_heartbeat(&nodes[0].id);
    it.verk.enqueue(Counted::new()).await.unwrap();
    it.wait_for_finished(1).await;
    it.verk.shutdown().await;
    assert_eq!(total(&it.verk.admin().stats().await.unwrap()), (2, 0));
    assert_eq!(numbers_of_reports(&it).await, [""; 0]);
}

#[tokio::test]
async fn what_waits_is_counted_and_its_age_is_told() {
    let it = two_queues().await;
    let stats = it.verk.admin().stats().await.unwrap();
    let queues: Vec<_> = stats.queues.iter().map(|of| of.queue.as_str()).collect();
    assert_eq!(queues, ["default", "other"], "those of this node");
    assert_eq!(stats.queue("default").unwrap().latency, Duration::ZERO);

    it.verk.enqueue(Counted::new()).await.unwrap();
    it.advance(Duration::from_secs(90));
    it.verk.enqueue(Counted::new()).await.unwrap();
    let later = Counted::new().schedule_in(Duration::from_secs(60));
    it.verk.enqueue(later).await.unwrap();
    let distant = Counted::new().queue("elsewhere");
    it.verk.enqueue(distant).await.unwrap();
    it.advance(Duration::from_secs(10));

    let stats = it.verk.admin().stats().await.unwrap();
    let shown: Vec<_> = stats
        .queues
        .iter()
        .map(|of| (of.queue.as_str(), of.enqueued, of.latency.as_secs()))
        .collect();
    assert_eq!(
        shown,
        [("default", 2, 100), ("elsewhere", 1, 10), ("other", 0, 0)]
    );
    assert_eq!((stats.enqueued(), stats.scheduled), (3, 1));
    assert_eq!(it.set(JobSet::Schedule).await.len(), 1);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_verk_that_runs_no_queue_can_read() {
    let it = Fixture::new().await;
    let reader = Verk::builder().storage(it.storage.clone());
    let reader = reader.build().await.unwrap();
    it.verk.enqueue(Counted::new()).await.unwrap();
    assert_eq!(reader.admin().stats().await.unwrap().enqueued(), 1);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn what_a_removed_queue_counted_is_stored() {
    let mut it = two_queues().await;
    it.verk.enqueue(Counted::new()).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_finished(1).await;
    it.verk.remove_queue("default").await.unwrap();
    it.verk.shutdown().await;

    let stats = it.verk.admin().stats().await.unwrap();
    assert_eq!(total(&stats), (1, 0));
    assert_eq!(of_queue(&stats, "default"), (1, 0));
}

/// The execution metrics that the storage has.
async fn executions(it: &Fixture) -> Vec<String> {
    let dump = it.storage.dump().await;
    let of_minutes = dump.keys().iter();
    of_minutes
        .filter(|(key, _)| key.starts_with("executions "))
        .flat_map(|(_, entries)| entries)
        .map(|entry| String::from_utf8(entry.to_vec()).unwrap())
        .collect()
}

#[tokio::test]
async fn what_ran_is_measured_by_class_if_that_is_wanted() {
    for wanted in [true, false] {
        let it = Fixture::with(|builder| {
            let builder = builder.queue("default", 5).queue("other", 5);
            builder.execution_metrics(wanted)
        })
        .await;
        it.verk.enqueue(Uneven::new(1)).await.unwrap(); // fails once, then succeeds
        it.verk.enqueue(Undecided::new("discard")).await.unwrap();
        let unknown = r#"{"class":"Nobody's","jid":"1","args":[]}"#;
        let jobs = [Bytes::from_static(unknown.as_bytes())];
        let queue = queue_name("default");
        it.verk.storage().enqueue(&queue, &jobs).await.unwrap();
        it.verk.start().unwrap();
        wait_for_processed(&it, 4).await;
        it.verk.shutdown().await;

        let executions = executions(&it).await;
        let of = |class: &str| {
            executions
                .iter()
                .filter(|entry| entry.contains(class))
                .count()
        };
        assert_eq!(of("Uneven") > 0, wanted, "{executions:?}");
        assert_eq!(of("Undecided") > 0, wanted, "{executions:?}");
        assert_eq!(of("Nobody's"), 0, "it did not run: {executions:?}");
    }
}

#[tokio::test]
async fn a_node_knows_at_once_what_it_counted_itself() {
    let storage = MemoryStorage::default();
    let with_queue = |builder: verk::VerkBuilder| builder.queue("default", 5);
    let mut it = Fixture::on(storage.clone(), with_queue).await;
    let before = it.verk.live_stats();
    assert_eq!((before.processed, before.queues.len()), (0, 1));
    it.verk.start().unwrap();
    it.verk.enqueue(Counted::new()).await.unwrap();
    it.verk.enqueue(Uneven::new(1)).await.unwrap();
    it.wait_for_finished(2).await;

    let live = it.verk.live_stats();
    assert_eq!((live.processed, live.failed, live.running), (3, 1, 0));
    let queue = &live.queues[0];
    assert_eq!(queue.queue, queue_name("default"));
    assert_eq!((queue.processed, queue.failed, queue.running), (3, 1, 0));
    it.verk.shutdown().await;
    assert_eq!(it.verk.live_stats(), live, "stored, and still known");

    let again = Fixture::on(storage, with_queue).await;
    assert_eq!(again.verk.live_stats().processed, 0);
    assert_eq!(total(&again.verk.admin().stats().await.unwrap()), (3, 1));
    again.verk.shutdown().await;
}
