//! What the events say.

use std::time::Duration;

use bytes::Bytes;
use verk::{EventKind, State, prelude::*, storage::Due};

use crate::support::{Fixture, Gate, queue_name};

#[verk::worker(max_retry_count = 0)]
async fn eventful(ends_well: bool, State(gate): State<Gate>) -> Result<(), String> {
    gate.pass().await;
    ends_well.then_some(()).ok_or("it did not".into())
}

#[verk::worker]
async fn eventful_nap() -> Result<Outcome, String> {
    Ok(Outcome::Snooze(Duration::from_secs(60)))
}

#[tokio::test]
async fn the_end_of_a_run_is_told_with_its_queue_its_time_and_how_long_it_took() {
    for ends_well in [true, false] {
        let mut it = Fixture::with(|builder| builder.queue("default", 1).queue("other", 1)).await;
        let mut ended = it
            .verk
            .events()
            .only(move |what| match what {
                EventKind::JobFinished { .. } => ends_well,
                EventKind::JobFailed { .. } => !ends_well,
                _ => false,
            })
            .queue("other")
            .class("Eventful");
        // The payload names one queue, and is in another.
        let payload =
            format!(r#"{{"class":"Eventful","jid":"1","queue":"default","args":[{ends_well}]}}"#);
        let storage = it.verk.storage();
        storage
            .enqueue(&queue_name("other"), &[Bytes::from(payload)])
            .await
            .unwrap();
        it.verk.start().unwrap();
        let began = it
            .wait_for(|event| matches!(event.what, EventKind::JobStarted).then_some(event.at))
            .await;
        it.advance(Duration::from_secs(7));
        it.gate.open();
        let event = crate::support::wait_for(&mut ended, Some).await;
        assert_eq!(event.at, began + Duration::from_secs(7));
        assert_eq!(event.job.as_ref().unwrap().jid().as_str(), "1");
        let (EventKind::JobFinished {
            started_at, took, ..
        }
        | EventKind::JobFailed {
            started_at, took, ..
        }) = event.what
        else {
            panic!("{:?}", event.what);
        };
        assert_eq!((started_at, took), (began, Duration::from_secs(7)));
        it.verk.shutdown().await;
    }
}

#[tokio::test]
async fn a_job_that_equals_another_in_its_set_is_told_as_merged() {
    let mut it = Fixture::new().await;
    let job = Bytes::from(r#"{"class":"EventfulNap","jid":"1","queue":"default","args":[]}"#);
    let storage = it.verk.storage();
    let at = it.verk.client().clock().now() + Duration::from_secs(3600);
    storage
        .schedule(&[Due {
            at,
            job: job.clone(),
        }])
        .await
        .unwrap();
    storage
        .enqueue(&queue_name("default"), &[job])
        .await
        .unwrap();
    it.verk.start().unwrap();
    let merged = it
        .wait_for(|event| matches!(event.what, EventKind::JobMerged).then_some(event))
        .await;
    assert_eq!(merged.job.as_ref().unwrap().class(), "EventfulNap");
    assert_eq!(merged.queue.as_ref(), Some(&queue_name("default")));
    it.verk.shutdown().await;
}
