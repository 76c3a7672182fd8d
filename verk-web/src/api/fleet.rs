//! Figures, queues, processes and metrics.

use axum::{extract::Path, http::StatusCode, response::Response};
use serde::Serialize;
use verk_core::{
    doctor::Report,
    manage::{ExecutionRange, HistogramHistory, Overview, QueueOverview, RunningCursor},
};

use super::{
    json,
    values::{ProcessValue, QueueValue, RunningValue, seconds, time},
};
use crate::{context::Context, failure::Failure, live, routes::Route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/stats", stats),
        Route::get("/api/v1/history", history),
        Route::get("/api/v1/queues", queues),
        Route::get("/api/v1/queues/{queue}", queue),
        Route::get("/api/v1/queues/{queue}/load", load),
        Route::get("/api/v1/processes", processes),
        Route::get("/api/v1/processes/{identity}", process),
        Route::get("/api/v1/running", running),
        Route::get("/api/v1/metrics", metrics),
        Route::get("/api/v1/metrics/{class}", class_metrics),
        Route::get("/api/v1/doctor", doctor),
    ]
}

#[derive(Serialize)]
struct Stats {
    at: Option<String>,
    processed: u64,
    failed: u64,
    waiting: usize,
    scheduled: usize,
    retries: usize,
    dead: usize,
    queues: usize,
    processes: usize,
    running: usize,
    concurrency: usize,
    /// Runs that ended in a second; `null` until the server has watched for 10 seconds.
    rate: Option<f64>,
    /// The share of them that failed, from 0 to 1.
    failed_share: Option<f64>,
}

async fn stats(context: Context) -> Result<Response, Failure> {
    let snapshot = context.app.poller.snapshot().await?;
    let Overview {
        stats,
        queues,
        processes,
        ..
    } = &snapshot.overview;
    let (running, concurrency) = live::running(&snapshot.overview);
    json(&Stats {
        at: snapshot.at.map(time),
        processed: stats.processed,
        failed: stats.failed,
        waiting: stats.enqueued(),
        scheduled: stats.scheduled,
        retries: stats.retry,
        dead: stats.dead,
        queues: queues.len(),
        processes: processes.len(),
        running,
        concurrency,
        rate: snapshot.rates.all,
        failed_share: snapshot.rates.failed_share,
    })
}

#[derive(Serialize)]
struct DayValue {
    day: String,
    processed: u64,
    failed: u64,
}

/// `days`: how many, 30 unless set, at most 1 826 (5 years). The newest first.
async fn history(context: Context) -> Result<Response, Failure> {
    let days = context
        .query
        .get("days")
        .map_or(Ok(30), str::parse::<usize>);
    let days = days.map_err(|_| Failure::bad("`days` is a whole number."))?;
    let days = context.app.admin.stats_history(days.min(1_826)).await?;
    let days: Vec<DayValue> = days
        .iter()
        .map(|day| DayValue {
            day: day.day.to_string(),
            processed: day.processed,
            failed: day.failed,
        })
        .collect();
    json(&days)
}

async fn queues(context: Context) -> Result<Response, Failure> {
    let snapshot = context.app.poller.snapshot().await?;
    let queues: Vec<QueueValue<'_>> = snapshot
        .overview
        .queues
        .iter()
        .map(|queue| QueueValue::new(queue, snapshot.rates.of(&queue.queue)))
        .collect();
    json(&queues)
}

async fn queue(Path(name): Path<String>, context: Context) -> Result<Response, Failure> {
    let snapshot = context.app.poller.snapshot().await?;
    let queue = snapshot.queue(&name);
    let queue = queue.ok_or_else(|| Failure::not_found("No program knows this queue."))?;
    json(&QueueValue::new(queue, snapshot.rates.of(&queue.queue)))
}

/// What an autoscaler needs, and no more.
#[derive(Serialize)]
struct Load {
    /// Jobs that wait, run, or were fetched ahead: 0 for a queue that nobody knows.
    jobs: usize,
    waiting: usize,
    running: usize,
    /// In seconds.
    latency: f64,
    concurrency: usize,
    processes: usize,
    paused: bool,
}

async fn load(Path(name): Path<String>, context: Context) -> Result<Response, Failure> {
    let snapshot = context.app.poller.snapshot().await?;
    let queue = snapshot.queue(&name);
    let number = |of: fn(&QueueOverview) -> usize| queue.map_or(0, of);
    let (waiting, running) = (
        number(|queue| queue.enqueued),
        number(|queue| queue.running),
    );
    json(&Load {
        jobs: waiting + running + number(|queue| queue.prefetched),
        waiting,
        running,
        latency: queue.map_or(0.0, |queue| seconds(queue.latency)),
        concurrency: number(|queue| queue.concurrency),
        processes: number(|queue| queue.processes),
        paused: queue.is_some_and(|queue| queue.paused.is_some()),
    })
}

async fn processes(context: Context) -> Result<Response, Failure> {
    let snapshot = context.app.poller.snapshot().await?;
    let processes = snapshot.overview.processes.iter();
    json(&processes.map(ProcessValue::new).collect::<Vec<_>>())
}

async fn process(Path(identity): Path<String>, context: Context) -> Result<Response, Failure> {
    let found = context.app.admin.find_process(&identity).await?;
    let process =
        found.ok_or_else(|| Failure::not_found("This process does not report itself."))?;
    json(&ProcessValue::new(&process))
}

#[derive(Serialize)]
struct RunningPage {
    jobs: Vec<RunningValue>,
    /// The value of `at` for the next page.
    next: Option<String>,
}

async fn running(context: Context) -> Result<Response, Failure> {
    let app = &context.app;
    let cursor = context.cursor::<RunningCursor>()?;
    let page = app
        .admin
        .running(cursor, super::jobs::limit(&context)?)
        .await?;
    json(&RunningPage {
        jobs: page
            .jobs
            .iter()
            .map(|running| RunningValue::new(running, app))
            .collect(),
        next: page.next.map(|next| next.to_string()),
    })
}

#[derive(Serialize)]
struct ClassValue<'a> {
    class: &'a str,
    runs: u64,
    failed: u64,
    /// Of those that succeeded, in seconds.
    total: f64,
    mean: Option<f64>,
}

/// `minutes`: how many, 60 unless set, at most 480.
fn minutes(context: &Context) -> Result<ExecutionRange, Failure> {
    let minutes = context
        .query
        .get("minutes")
        .map_or(Ok(60), str::parse::<usize>);
    let minutes = minutes.map_err(|_| Failure::bad("`minutes` is a whole number."))?;
    Ok(ExecutionRange::minutes(minutes))
}

async fn metrics(context: Context) -> Result<Response, Failure> {
    let history = context.app.admin.executions(&minutes(&context)?).await?;
    let classes: Vec<ClassValue<'_>> = history
        .classes
        .iter()
        .map(|class| {
            let total = class.total();
            ClassValue {
                class: &class.class,
                runs: total.counts.processed(),
                failed: total.counts.failed,
                total: seconds(total.took),
                mean: total.mean().map(seconds),
            }
        })
        .collect();
    json(&classes)
}

#[derive(Serialize)]
struct StepValue {
    at: String,
    runs: u64,
    failed: u64,
    total: f64,
}

#[derive(Serialize)]
struct BucketValue {
    /// The upper bound in seconds; `null` for the last.
    under: Option<f64>,
    runs: u64,
}

#[derive(Serialize)]
struct ClassHistory<'a> {
    class: &'a str,
    minutes: Vec<StepValue>,
    histogram: Vec<BucketValue>,
}

async fn class_metrics(Path(class): Path<String>, context: Context) -> Result<Response, Failure> {
    let (admin, range) = (&context.app.admin, minutes(&context)?);
    let history = admin
        .executions(&range.clone().class(class.clone()))
        .await?;
    let histogram = admin.histogram(&class, &range).await?;
    let own = history.classes.iter().find(|own| own.class == class);
    let steps = own.map_or(&[][..], |own| &own.steps);
    let bounds = HistogramHistory::bounds();
    json(&ClassHistory {
        class: &class,
        minutes: history
            .times
            .iter()
            .zip(steps)
            .map(|(at, step)| StepValue {
                at: time(*at),
                runs: step.counts.processed(),
                failed: step.counts.failed,
                total: seconds(step.took),
            })
            .collect(),
        histogram: histogram
            .total()
            .iter()
            .enumerate()
            .map(|(at, runs)| BucketValue {
                under: bounds.get(at).copied().map(seconds),
                runs: *runs,
            })
            .collect(),
    })
}

#[derive(Serialize)]
struct CheckupValue<'a> {
    /// When the storage was checked: at most a minute ago, if the check then did not fail.
    at: String,
    #[serde(flatten)]
    report: &'a Report,
}

/// The findings that the pages show too: a check reads jobs of every place, so one a minute is made
/// for all visitors.
async fn doctor(context: Context) -> Result<Response, Failure> {
    let checkup = context.app.checkups.newest().await;
    let checkup = checkup.ok_or_else(|| {
        Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The first check of the storage has not ended. Ask again in a few seconds.",
        )
    })?;
    json(&CheckupValue {
        at: time(checkup.at),
        report: &checkup.report,
    })
}
