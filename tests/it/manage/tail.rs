//! What a tail shows of two storages, and what it does not.

use std::time::UNIX_EPOCH;

use verk::{
    manage::{Skipped, Tail, TailEvent},
    storage::ProcessReport,
    time::unix_seconds,
};

use super::*;

/// The events of a step in short, without the counts.
async fn step(tail: &mut Tail) -> Vec<String> {
    let jid = |job: &Job| job.jid().to_string();
    let events = tail.step().await.unwrap().into_iter();
    let short = events.filter_map(|event| {
        Some(match event {
            TailEvent::Counts(_) => return None,
            TailEvent::Failed(entry) => format!("failed {}", jid(entry.job().unwrap())),
            TailEvent::Died(entry) => format!("died {}", jid(entry.job().unwrap())),
            TailEvent::Started(run) => format!("started {}", jid(run.job.as_ref().unwrap())),
            TailEvent::Ended(run) => format!("ended {}", jid(run.job.as_ref().unwrap())),
            TailEvent::Paused(pause) => format!("paused {}", pause.queue),
            TailEvent::Resumed(queue) => format!("resumed {queue}"),
            TailEvent::Joined(process) => format!("joined {}", process.identity),
            TailEvent::Left(process) => format!("left {}", process.identity),
            other => format!("{other:?}"),
        })
    });
    short.collect()
}

fn failed(jid: impl std::fmt::Display, at: SystemTime) -> Bytes {
    Bytes::from(format!(
        r#"{{"class":"A","jid":"{jid}","queue":"default","args":[],"retry_count":0,"failed_at":{}}}"#,
        unix_seconds(at)
    ))
}

#[tokio::test]
async fn failures_and_deaths_are_shown_once_and_old_ones_never() {
    for shared in storages().await {
        let hour = Duration::from_secs(3_600);
        let old = failed("old", shared.one.now() - hour);
        shared.add(JobSet::Retry, &[old]).await;
        shared
            .add(JobSet::Dead, &[payload("A", "dead before")])
            .await;
        // Redis rounds no score, but the clock of a test may not have moved since.
        while shared
            .one
            .dead_set()
            .list(&Query::new())
            .await
            .unwrap()
            .entries[0]
            .at()
            .unwrap()
            >= shared.other.now()
        {
            tokio::task::yield_now().await;
        }
        let mut tail = shared.other.tail();
        assert_eq!(step(&mut tail).await, Vec::<String>::new());

        let now = shared.other.now();
        shared
            .add(
                JobSet::Retry,
                &[
                    failed("one", now),
                    failed("two", now + Duration::from_micros(5)),
                ],
            )
            .await;
        shared.add(JobSet::Dead, &payloads("A", 7..8)).await;
        assert_eq!(
            step(&mut tail).await,
            ["failed one", "failed two", "died 7"]
        );
        assert_eq!(step(&mut tail).await, Vec::<String>::new());

        // The same job fails again: its payload and its time are others.
        shared
            .one
            .retry_set()
            .select()
            .jid("one")
            .delete()
            .await
            .unwrap();
        shared
            .add(JobSet::Retry, &[failed("one", shared.one.now())])
            .await;
        assert_eq!(step(&mut tail).await, ["failed one"]);
    }
}

#[tokio::test]
async fn more_than_a_step_reads_is_announced() {
    for shared in storages().await {
        let mut tail = shared.one.tail();
        assert_eq!(step(&mut tail).await, Vec::<String>::new());
        shared.add(JobSet::Dead, &payloads("A", 0..301)).await;
        let events = step(&mut tail).await;
        assert_eq!(events.len(), 301);
        assert_eq!(
            events[0],
            format!("{:?}", TailEvent::Skipped(Skipped::Dead))
        );
        let died: BTreeSet<&String> = events[1..].iter().collect();
        assert_eq!(died.len(), 300);
        assert_eq!(step(&mut tail).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn pauses_are_shown_as_they_come_and_go() {
    for shared in storages().await {
        let before = shared.other.pause_queue_everywhere("before").await.unwrap();
        assert!(before);
        let mut tail = shared.one.tail();
        assert_eq!(step(&mut tail).await, Vec::<String>::new());
        shared
            .other
            .pause_queue_everywhere("mailers")
            .await
            .unwrap();
        shared
            .other
            .resume_queue_everywhere("before")
            .await
            .unwrap();
        assert_eq!(step(&mut tail).await, ["paused mailers", "resumed before"]);
        assert_eq!(step(&mut tail).await, Vec::<String>::new());
    }
}

/// A process that reports these jobs for the `beat`th time.
fn report(identity: &str, beat: u64, jids: &[&str]) -> ProcessReport {
    let work = |jid: &&str| {
        let payload = format!(r#"{{"class":"A","jid":"{jid}","queue":"default","args":[]}}"#);
        let work = serde_json::json!({"queue": "default", "payload": payload, "run_at": 1});
        ((*jid).to_owned(), Bytes::from(work.to_string()))
    };
    ProcessReport {
        identity: identity.to_owned(),
        info: Bytes::from("{}"),
        concurrency: 5,
        busy: jids.len(),
        quiet: false,
        beat: UNIX_EPOCH + Duration::from_secs(10 * beat),
        rss: 0,
        rtt: Duration::ZERO,
        work: jids.iter().map(work).collect(),
        sidekiq_6_work: false,
    }
}

#[tokio::test]
async fn running_jobs_are_shown_as_processes_report_them() {
    for shared in storages().await {
        let says = async |report: ProcessReport| {
            shared.storage.report_process(&report).await.unwrap();
        };
        says(report("vm:1:0f", 0, &["one"])).await;
        let mut tail = shared.other.tail();
        assert_eq!(step(&mut tail).await, Vec::<String>::new());

        says(report("vm:1:0f", 1, &["two"])).await;
        says(report("vm:2:0f", 1, &["three"])).await;
        let mut events = step(&mut tail).await;
        events.sort();
        assert_eq!(
            events,
            [
                "ended one",
                "joined vm:2:0f",
                "started three",
                "started two"
            ]
        );
        assert_eq!(step(&mut tail).await, Vec::<String>::new());

        shared.storage.forget_process("vm:1:0f").await.unwrap();
        assert_eq!(step(&mut tail).await, ["left vm:1:0f", "ended two"]);
    }
}

#[tokio::test]
async fn counts_are_shown_when_they_change() {
    for shared in storages().await {
        let mut tail = shared.one.tail();
        let first = tail.step().await.unwrap();
        assert!(matches!(&first[..], [TailEvent::Counts(stats)] if stats.enqueued() == 0));
        assert_eq!(tail.step().await.unwrap().len(), 0);
        shared.enqueue(&payloads("A", 0..3)).await;
        let events = tail.step().await.unwrap();
        assert!(matches!(&events[..], [TailEvent::Counts(stats)] if stats.enqueued() == 3));
    }
}

#[tokio::test]
async fn a_backlog_that_hides_new_retries_is_announced_once() {
    for shared in storages().await {
        // All are due before the one that fails now.
        let old = shared.one.now() - Duration::from_secs(3_600);
        let backlog: Vec<Bytes> = (0..400).map(|jid| failed(jid, old)).collect();
        let mut tail = shared.one.tail();
        assert_eq!(step(&mut tail).await, Vec::<String>::new());
        shared.add(JobSet::Retry, &backlog).await;
        let skipped = format!("{:?}", TailEvent::Skipped(Skipped::Retries));
        assert_eq!(step(&mut tail).await, std::slice::from_ref(&skipped));
        assert_eq!(step(&mut tail).await, Vec::<String>::new());
        let cleared = shared.one.retry_set().select().delete().await.unwrap();
        assert_eq!(cleared, 400);
        assert_eq!(step(&mut tail).await, Vec::<String>::new());
        shared.add(JobSet::Retry, &backlog).await;
        assert_eq!(step(&mut tail).await, [skipped]);
    }
}

#[tokio::test]
async fn a_job_that_is_rescheduled_did_not_fail_again() {
    for shared in storages().await {
        let mut tail = shared.one.tail();
        assert_eq!(step(&mut tail).await, Vec::<String>::new());
        shared
            .add(JobSet::Retry, &[failed("one", shared.one.now())])
            .await;
        assert_eq!(step(&mut tail).await, ["failed one"]);
        let later = shared.one.now() + Duration::from_secs(60);
        let moved = shared
            .one
            .retry_set()
            .select()
            .reschedule(later)
            .await
            .unwrap();
        assert_eq!(moved, 1);
        assert_eq!(step(&mut tail).await, Vec::<String>::new());
    }
}
