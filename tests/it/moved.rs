//! Jobs that wait in another queue than the one they name: their queue was renamed, or an operator
//! moved them.

use std::time::Duration;

use bytes::Bytes;
use verk::{
    Event, EventKind, Job,
    config::UnknownClass,
    events::AfterFailure,
    prelude::*,
    storage::{DueSet, JobSet},
};
use verk_testing::{RedisServer, within};

use crate::support::{ALL, Fixture, PATIENCE, States, at_once, queue_name};

#[verk::worker(class = "Moved::Failing", retry_at = at_once)]
async fn failing(ctx: JobContext) -> Result<(), String> {
    match ctx.attempt() {
        1 => Err("not yet".into()),
        _ => Ok(()),
    }
}

#[verk::worker(class = "Moved::Snoozing")]
async fn snoozing() -> Result<Outcome, String> {
    Ok(Outcome::Snooze(Duration::from_secs(60)))
}

/// A job that names the queue `old`.
fn payload(class: &str, more: &str) -> Bytes {
    format!(r#"{{"retry":true,"queue":"old","class":"{class}","args":[],"jid":"1"{more}}}"#).into()
}

/// Runs such a job from the queue `new`. Returns what is in the set that it goes to.
async fn run_in_new(class: &str, more: &str, set: JobSet) -> Job {
    let unknown = UnknownClass::RequeueAfter(Duration::from_secs(60));
    let mut it = Fixture::with(|builder| builder.queue("new", 1).unknown_class(unknown)).await;
    let jobs = [payload(class, more)];
    let new = queue_name("new");
    it.verk.storage().enqueue(&new, &jobs).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for(|event| match event {
        Event {
            what: EventKind::JobFailed { .. },
            ..
        }
        | Event {
            what: EventKind::JobSnoozed { .. },
            ..
        } => Some(()),
        _ => None,
    })
    .await;
    it.verk.shutdown().await;
    let mut jobs = it.set(set).await;
    assert_eq!(jobs.len(), 1);
    jobs.remove(0)
}

#[tokio::test]
async fn a_failure_a_snooze_and_a_wait_for_a_class_come_back_to_the_queue_of_the_fetch() {
    let dead = r#","retry":0"#;
    let dead_in_slow = r#","retry":0,"retry_queue":"slow""#;
    for (class, more, set, queue) in [
        ("Moved::Failing", dead, JobSet::Dead, "new"),
        ("Moved::Failing", dead_in_slow, JobSet::Dead, "slow"),
        ("Moved::Snoozing", "", JobSet::Schedule, "new"),
        // A snooze is no retry.
        ("Moved::Snoozing", dead_in_slow, JobSet::Schedule, "new"),
        ("Moved::NoSuchWorker", "", JobSet::Schedule, "new"),
    ] {
        let job = run_in_new(class, more, set).await;
        assert_eq!(job.queue(), Some(&queue_name(queue)), "{class} {more}");
    }
}

#[tokio::test]
async fn jobs_of_a_renamed_queue_are_retried_there() {
    let server = RedisServer::start();
    let builder = Verk::builder().redis(server.url()).queue("new", 1);
    let verk = States::new().give(builder).build().await.unwrap();
    let old = queue_name("old");
    let jobs = [payload("Moved::Failing", "")];
    verk.storage().enqueue(&old, &jobs).await.unwrap();
    server.command(&["RENAME", "queue:old", "queue:new"]);

    let mut events = verk.events();
    verk.start().unwrap();
    let ends = async {
        let mut ends = Vec::new();
        while ends.len() < 2 {
            match events.recv().await.unwrap().unwrap() {
                Event {
                    what: EventKind::JobFailed { then, .. },
                    queue: Some(queue),
                    ..
                } => {
                    assert!(matches!(then, AfterFailure::Retry { .. }), "{then:?}");
                    ends.push(queue.to_string());
                }
                Event {
                    what: EventKind::JobFinished { .. },
                    queue: Some(queue),
                    ..
                } => ends.push(queue.to_string()),
                _ => {}
            }
        }
        ends
    };
    assert_eq!(within(PATIENCE, ends).await, ["new", "new"]);
    verk.shutdown().await;
}

#[tokio::test]
async fn what_an_operator_takes_out_of_a_renamed_queue_comes_back_to_it() {
    let it = Fixture::new().await;
    let (new, storage) = (it.verk.admin().queue("new").unwrap(), it.verk.storage());
    let jobs = [payload("Moved::Failing", "")];
    storage.enqueue(&queue_name("new"), &jobs).await.unwrap();

    assert!(new.find("1").await.unwrap().unwrap().kill().await.unwrap());
    let dead = it.verk.admin().dead_set().find("1").await.unwrap().unwrap();
    assert!(dead.requeue().await.unwrap());
    assert_eq!(new.count().await.unwrap(), 1);

    let at = verk::time::Clock::now(&it.clock) + Duration::from_secs(60);
    let entry = new.find("1").await.unwrap().unwrap();
    assert!(entry.reschedule(at).await.unwrap());
    let due = storage.due(DueSet::Schedule, at, ALL).await.unwrap();
    let job = Job::decode(due.jobs[0].clone()).unwrap();
    assert_eq!(job.queue(), Some(&queue_name("new")));
}
