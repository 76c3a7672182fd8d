//! How do failures reach an error tracker? A subscriber forwards each of them, with the class and
//! id of its job.
//!
//! ```text
//! cargo run --example error_tracking
//! ```

use std::error::Error;

use verk::{Event, EventKind, Job, QueueName, events::Events, job::Failure, prelude::*};
use verk_testing::MemoryStorage;

/// What the tracker gets. It gets no arguments, because these may be private.
#[derive(Debug, PartialEq)]
struct Report {
    class: String,
    jid: String,
    queue: String,
    attempt: u32,
    error_class: String,
    error_message: String,
    backtrace: Vec<String>,
}

impl Report {
    fn of(job: &Job, queue: &QueueName, failure: &Failure) -> Self {
        Self {
            class: job.class().to_owned(),
            jid: job.jid().to_string(),
            queue: queue.to_string(),
            attempt: job.failures(),
            error_class: failure.error_class.clone(),
            error_message: failure.error_message.clone(),
            backtrace: failure.error_backtrace.clone(),
        }
    }
}

/// Calls `report` for every failure, until the Verk ends. A slow `report` never slows a worker.
async fn track_errors(events: Events, mut report: impl FnMut(Report)) {
    let mut failures = events.only(|what| matches!(what, EventKind::JobFailed { .. }));
    while let Some(event) = failures.recv().await {
        match event {
            Ok(Event {
                what: EventKind::JobFailed { failure, .. },
                job: Some(job),
                queue: Some(queue),
                ..
            }) => report(Report::of(&job, &queue, &failure)),
            Ok(_) => {}
            Err(lagged) => eprintln!("the error tracker is too slow: {lagged}"),
        }
    }
}

/// Fails.
#[verk::worker(queue = "billing", max_retry_count = 0)]
async fn charge_card(order: u64) -> Result<(), std::io::Error> {
    Err(std::io::Error::other(format!("order {order}: declined")))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let verk = Verk::builder()
        .storage(MemoryStorage::default())
        .queue("billing", 5)
        .build()
        .await?;
    // Call Sentry, Bugsnag or Honeybadger here.
    let (reports, mut reported) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(track_errors(verk.events(), move |report| {
        println!("{report:#?}");
        let _ = reports.send(report);
    }));
    verk.start()?;
    let jid = ChargeCard::enqueue(7_u64).await?;

    let report = reported.recv().await.expect("one failure");
    assert_eq!(
        (report.class.as_str(), report.jid),
        ("ChargeCard", jid.to_string())
    );
    assert_eq!(report.error_message, "order 7: declined");
    verk.shutdown().await;
    Ok(())
}
