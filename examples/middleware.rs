//! How do I run code around every job? A tenant that is passed on with the job, a time limit, and a
//! report of every error.
//!
//! ```text
//! cargo run --example middleware
//! ```

use std::{error::Error, time::Duration};

use verk::{
    BoxError, Event, EventKind, Job,
    events::AfterFailure,
    middleware::{ClientMiddleware, ClientNext, Enqueued, Next, ServerMiddleware},
    outcome::PerformError,
    prelude::*,
};
use verk_testing::MemoryStorage;

tokio::task_local! {
    /// For whom this task works.
    static TENANT: String;
}

/// Context that is passed on: the client writes it into the job, and the server reads it before the
/// job runs.
struct Tenant;

impl ClientMiddleware for Tenant {
    async fn call(&self, job: &mut Job, next: ClientNext<'_>) -> Result<Enqueued, BoxError> {
        // Nobody's job is stopped: the enqueue says so.
        let Ok(tenant) = TENANT.try_with(String::clone) else {
            return next.stop(job);
        };
        job.set("tenant", &tenant)?;
        Ok(next.run(job).await?)
    }
}

impl ServerMiddleware for Tenant {
    async fn call(&self, ctx: &JobContext, next: Next) -> Result<Outcome, PerformError> {
        let tenant = ctx.job().get("tenant").unwrap_or("null");
        let tenant = serde_json::from_str(tenant).map_err(PerformError::new)?;
        TENANT.scope(tenant, next.run()).await
    }
}

/// A time limit for all workers, whether or not they have one of their own.
struct TimeLimit(Duration);

impl ServerMiddleware for TimeLimit {
    async fn call(&self, ctx: &JobContext, next: Next) -> Result<Outcome, PerformError> {
        tokio::select! {
            outcome = next.run() => outcome,
            () = ctx.sleep(self.0) => {
                let error = PerformError::new(format!("took longer than {:?}", self.0));
                Err(error.error_class("TimeLimit".to_owned()))
            }
        }
    }
}

/// What an error tracker gets.
struct ErrorReport;

impl ServerMiddleware for ErrorReport {
    async fn call(&self, ctx: &JobContext, next: Next) -> Result<Outcome, PerformError> {
        let outcome = next.run().await;
        if let Err(error) = &outcome {
            let failure = &error.failure;
            println!(
                "report: {} {} failed, attempt {}: {}: {}",
                ctx.job().class(),
                ctx.jid(),
                ctx.attempt(),
                failure.error_class,
                failure.error_message,
            );
        }
        outcome
    }
}

#[verk::worker(max_retry_count = 0)]
async fn bill(order: u64, ctx: JobContext) {
    println!("bill: order {order} of {}", TENANT.with(String::clone));
    if order == 2 {
        // Longer than it may.
        ctx.sleep(Duration::from_secs(3600)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let verk = Verk::builder()
        .storage(MemoryStorage::default())
        .queue("default", 1)
        .client_middleware(Tenant)
        // The first is the outermost: the report sees the outcome of the time limit.
        .server_middleware(ErrorReport)
        .server_middleware(TimeLimit(Duration::from_millis(100)))
        .server_middleware(Tenant)
        .build()
        .await?;
    let mut events = verk.events();
    verk.start()?;

    TENANT
        .scope("acme".to_owned(), async {
            Bill::enqueue(1).await?;
            Bill::enqueue(2).await
        })
        .await?;
    let stopped = Bill::enqueue(3).await.unwrap_err();
    println!("enqueue: {stopped}");

    while let Some(event) = events.recv().await {
        if let Event {
            what: EventKind::JobFailed { then, .. },
            ..
        } = event?
        {
            assert_eq!(then, AfterFailure::Dead);
            break;
        }
    }
    verk.shutdown().await;
    Ok(())
}
