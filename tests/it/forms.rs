//! Jobs in the forms that Sidekiq and Rails send, run from end to end.

use std::time::Duration;

use bytes::Bytes;
use verk::{
    Event, EventKind, Job, State, config::Dialect, events::AfterFailure, job::Failure, prelude::*,
    storage::JobSet,
};

use crate::support::{Fixture, Log, queue_name};

/// Rails: `WelcomeJob.perform_later("ada", user)`.
#[verk::worker(class = "WelcomeJob", max_retry_count = 0)]
async fn welcome_job(name: String, user: GlobalId, State(log): State<Log>, ctx: JobContext) {
    let tags = ctx.job().get("tags").unwrap_or_default();
    log.push(format!("{name} {} {tags}", user.gid));
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct GlobalId {
    #[serde(rename = "_aj_globalid")]
    gid: String,
}

#[verk::worker]
async fn perishable(State(log): State<Log>) {
    log.push("ran");
}

#[verk::worker]
async fn broken() -> Result<(), String> {
    Err("broken".to_owned())
}

async fn push(it: &Fixture, payload: String) {
    let queue = queue_name("default");
    let payloads = [Bytes::from(payload)];
    it.verk.storage().enqueue(&queue, &payloads).await.unwrap();
}

/// The next failure, and what follows from it.
async fn failed(it: &mut Fixture) -> (Failure, AfterFailure) {
    it.wait_for(|event| match event {
        Event {
            what: EventKind::JobFailed { failure, then, .. },
            ..
        } => Some((failure, then)),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_job_of_active_job_is_run_by_the_worker_of_its_own_class() {
    let mut it = Fixture::new().await;
    let envelope = |arguments: &str| {
        format!(
            r#"{{"retry":true,"wrapped":"WelcomeJob","queue":"default","tags":["mail"],"class":"ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper","jid":"1","args":[{{"job_class":"WelcomeJob","job_id":"f3c1","arguments":{arguments},"executions":0}}]}}"#
        )
    };
    it.verk.start().unwrap();
    push(
        &it,
        envelope(r#"["ada",{"_aj_globalid":"gid://shop/User/1"}]"#),
    )
    .await;
    it.wait_for_finished(1).await;
    assert_eq!(it.log.entries(), [r#"ada gid://shop/User/1 ["mail"]"#]);

    // A job that does not fit fails by the name of its worker, and stays the envelope that it is.
    push(&it, envelope("[]")).await;
    let (failure, then) = failed(&mut it).await;
    assert!(
        failure
            .error_message
            .starts_with("WelcomeJob: argument 1 (`name`) is missing")
    );
    assert_eq!(then, AfterFailure::Dead);
    it.verk.shutdown().await;
    let dead = it.set(JobSet::Dead).await;
    let sent = Job::decode(envelope("[]").into()).unwrap();
    for key in ["class", "args", "wrapped", "tags", "jid"] {
        assert_eq!(dead[0].get(key), sent.get(key));
    }
}

#[tokio::test]
async fn an_expired_job_is_discarded_and_a_fresh_one_runs() {
    let mut it = Fixture::new().await;
    for expires_in in [60, 600] {
        let job = Perishable::new().set("expires_in", &expires_in);
        it.verk.enqueue(job).await.unwrap();
    }
    it.advance(Duration::from_secs(61));
    it.verk.start().unwrap();
    let reason = it.wait_for(|event| match event {
        Event {
            what: EventKind::JobDiscarded { reason, .. },
            job: Some(job),
            ..
        } => Some((job.expires_at().is_some(), reason)),
        _ => None,
    });
    assert_eq!(reason.await, (true, "expired before it was run".to_owned()));
    it.wait_for_finished(1).await;
    assert_eq!(it.log.entries(), ["ran"]);
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn encrypted_arguments_are_a_failure_that_says_so() {
    let mut it = Fixture::new().await;
    push(&it, r#"{"class":"Perishable","jid":"1","queue":"default","args":["BAhTOg=="],"encrypt":true,"retry":0}"#.to_owned()).await;
    it.verk.start().unwrap();
    let (failure, then) = failed(&mut it).await;
    assert_eq!(failure.error_class, "EncryptedArgs");
    assert!(failure.error_message.contains("run it in Ruby"));
    assert_eq!(then, AfterFailure::Dead);
    it.verk.shutdown().await;
    assert!(it.log.entries().is_empty());
}

#[tokio::test]
async fn a_retry_goes_to_the_retry_queue_for_as_long_as_retry_for_says() {
    let mut it = Fixture::with(|builder| builder.queue("default", 1).queue("slow", 1)).await;
    let job = Broken::new()
        .max_retry_count(0)
        .retry_for(Duration::from_secs(3600))
        .retry_queue("slow");
    it.verk.enqueue(job).await.unwrap();
    it.verk.start().unwrap();
    for queue in ["default", "slow"] {
        let (from, then) = it
            .wait_for(|event| match event {
                Event {
                    what: EventKind::JobFailed { then, .. },
                    queue: Some(queue),
                    ..
                } => Some((queue, then)),
                _ => None,
            })
            .await;
        assert_eq!(from.as_str(), queue);
        if queue == "default" {
            assert!(matches!(then, AfterFailure::Retry { .. }), "{then:?}");
            it.advance(Duration::from_secs(3601));
        } else {
            assert_eq!(then, AfterFailure::Dead);
        }
    }
    it.verk.shutdown().await;
    assert_eq!(it.set(JobSet::Dead).await.len(), 1);
}

#[tokio::test]
async fn jobs_of_verks_dialect_are_made_and_run() {
    let mut it = Fixture::with(|builder| builder.queue("default", 1).dialect(Dialect::Verk)).await;
    it.verk.enqueue(Broken::new()).await.unwrap();
    it.verk.start().unwrap();
    let (_, then) = failed(&mut it).await;
    assert!(matches!(then, AfterFailure::Retry { .. }), "{then:?}");
    it.verk.shutdown().await;
    let job = it.set(JobSet::Retry).await.remove(0);
    let values = [
        "args",
        "retry",
        "retry_count",
        "max_retry_count",
        "error_class",
    ]
    .map(|key| job.get(key));
    assert_eq!(values, [Some(r#""[]""#), None, Some("1"), Some("25"), None]);
}
