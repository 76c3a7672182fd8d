//! Jobs as they are stored: one, many, large, and those that cannot be.

use std::collections::BTreeMap;

use verk::{Job, prelude::*};

use crate::{
    lifecycle::{Hopeless, Note, Parent},
    support::{Fixture, Logged, queue_name},
};

#[tokio::test]
async fn a_job_enqueues_with_the_client_of_its_own_verk() {
    let mut it = Fixture::new().await;
    it.verk.enqueue(Parent::new()).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_finished(2).await;
    assert_eq!(it.log.entries(), ["from the parent"]);
    it.verk.shutdown().await;
}

#[tokio::test]
async fn call_site_beats_macro() {
    let it = Fixture::new().await;
    let job = Hopeless::new()
        .queue("low")
        .max_retry_count(9)
        .tags(["a", "b"]);
    it.verk.enqueue(job).await.unwrap();
    let queued = it.queued("low").await;
    let job = Job::decode(queued[0].clone()).unwrap();
    assert_eq!(job.queue(), Some(&queue_name("low")));
    assert_eq!(job.retry_limit(), verk::job::RetryLimit::Times(9));
    assert_eq!(job.tags(), ["a", "b"]);
}

#[tokio::test]
async fn a_bulk_is_stored_in_order() {
    let it = Fixture::new().await;
    let jobs = (0..2_500).map(|n| Note::new(n.to_string()));
    let jids = it.verk.client().enqueue_all(jobs).await.unwrap();
    let queued = it.queued("default").await;
    let queued: Vec<_> = queued
        .into_iter()
        .map(|job| Job::decode(job).unwrap().jid().clone())
        .collect();
    assert_eq!(queued, jids);
    assert_eq!(jids.len(), 2_500);
}

/// JSON has no such keys.
#[verk::worker]
async fn priced(prices: BTreeMap<(u8, u8), u32>) {
    drop(prices);
}

#[tokio::test]
async fn arguments_without_a_json_form_are_an_error_and_store_nothing() {
    let it = Fixture::new().await;
    let prices = BTreeMap::from([((1, 2), 3)]);
    let error = it.verk.enqueue(Priced::new(prices)).await.unwrap_err();
    assert!(
        matches!(
            error,
            verk::EnqueueError::Args {
                class: "Priced",
                ..
            }
        ),
        "{error}"
    );
    assert!(!error.may_be_stored());
    it.assert_no_jobs().await;
}

#[tokio::test]
async fn a_large_payload_is_stored_and_warned_of() {
    let it = Fixture::new().await;
    let (logged, _guard) = Logged::capture();
    it.verk
        .enqueue(Note::new("x".repeat(90 * 1024)))
        .await
        .unwrap();
    assert_eq!(logged.lines_with(&["large payload"]), 0);
    it.verk
        .enqueue(Note::new("x".repeat(101 * 1024)))
        .await
        .unwrap();
    assert_eq!(
        logged.lines_with(&["WARN", "large payload", "class=\"Note\""]),
        1
    );
    assert_eq!(it.queued("default").await.len(), 2);
}

#[tokio::test]
async fn what_cannot_be_stored_is_an_error_and_stores_nothing() {
    let it = Fixture::with(|builder| builder.max_payload_bytes(500)).await;
    let too_large = it
        .verk
        .enqueue(Note::new("x".repeat(500)))
        .await
        .unwrap_err();
    assert!(
        matches!(too_large, verk::EnqueueError::TooLarge { limit: 500, .. }),
        "{too_large}"
    );
    assert!(!too_large.may_be_stored());
    let invalid = it.verk.enqueue(Note::new("x").queue("")).await.unwrap_err();
    assert_eq!(
        invalid.to_string(),
        r#"queue name "" is not valid: it must have 1 to 256 bytes and no control characters"#
    );

    it.storage.faults().set_full(true);
    let full = it.verk.enqueue(Note::new("x")).await.unwrap_err();
    assert!(!full.may_be_stored() && full.jid().is_some(), "{full}");
    it.storage.faults().set_full(false);

    let jobs = (0..150).map(|n| {
        if n < 120 {
            Note::new("x")
        } else {
            Note::new("x".repeat(500))
        }
    });
    let stopped = it.verk.client().enqueue_all(jobs).await.unwrap_err();
    assert_eq!(stopped.stored.len(), 120);
    assert_eq!(it.queued("default").await.len(), 120);
}
