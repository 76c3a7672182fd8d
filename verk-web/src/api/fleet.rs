//! Figures, queues, processes and metrics.

use axum::{extract::Path, http::StatusCode, response::Response};
use serde::Serialize;
use verk_core::{
    doctor::Report,
    manage::{ExecutionRange, QueueOverview, RunningCursor},
};

use super::json;
use crate::{
    context::Context,
    failure::Failure,
    live,
    pages::audit,
    routes::Route,
    url::Name,
    values::{
        AuditValue, ClassHistoryValue, ClassValue, DayValue, NodeValue, ProcessValue, QueueValue,
        RunningValue, ServerValue, StatsValue, seconds, time,
    },
};

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
        Route::get("/api/v1/nodes", nodes),
        Route::get("/api/v1/server", server),
        Route::get("/api/v1/audit", actions),
        Route::get("/api/v1/events", live::events),
    ]
}

async fn stats(context: Context) -> Result<Response, Failure> {
    let snapshot = context.app.poller.snapshot().await?;
    let rates = &snapshot.rates;
    json(&StatsValue::new(
        snapshot.at,
        &snapshot.overview,
        rates.all,
        rates.failed_share,
    ))
}

/// `days`: how many, 30 unless set, at most 1 826 (5 years). The newest first.
async fn history(context: Context) -> Result<Response, Failure> {
    let days = context
        .query
        .get("days")
        .map_or(Ok(30), str::parse::<usize>);
    let days = days.map_err(|_| Failure::bad("`days` is a whole number."))?;
    let days = context.app.admin.stats_history(days.min(1_826)).await?;
    json(&days.iter().map(DayValue::new).collect::<Vec<_>>())
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

async fn queue(Path(Name(name)): Path<Name>, context: Context) -> Result<Response, Failure> {
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

async fn load(Path(Name(name)): Path<Name>, context: Context) -> Result<Response, Failure> {
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

async fn process(Path(Name(identity)): Path<Name>, context: Context) -> Result<Response, Failure> {
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
            .map(|running| RunningValue::new(running, &app.settings.payloads))
            .collect(),
        next: page.next.map(|next| next.to_string()),
    })
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
    let history = context.app.executions(&minutes(&context)?).await?;
    json(
        &history
            .classes
            .iter()
            .map(ClassValue::new)
            .collect::<Vec<_>>(),
    )
}

async fn class_metrics(
    Path(Name(class)): Path<Name>,
    context: Context,
) -> Result<Response, Failure> {
    let (admin, range) = (&context.app.admin, minutes(&context)?);
    let history = admin
        .executions(&range.clone().class(class.clone()))
        .await?;
    let histogram = admin.histogram(&class, &range).await?;
    json(&ClassHistoryValue::new(&class, &history, &histogram))
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

async fn nodes(context: Context) -> Result<Response, Failure> {
    let nodes = context.app.admin.nodes().await?;
    json(&nodes.iter().map(NodeValue::new).collect::<Vec<_>>())
}

async fn server(context: Context) -> Result<Response, Failure> {
    json(&ServerValue::new(&context.app.admin.server().await?))
}

#[derive(Serialize)]
struct AuditPage<'a> {
    actions: Vec<AuditValue<'a>>,
    /// The value of `at` for the page after this.
    next: Option<String>,
}

async fn actions(context: Context) -> Result<Response, Failure> {
    let at = context.query.get("at").map_or(Ok(0), str::parse::<usize>);
    let at = at.map_err(|_| Failure::bad("`at` is the `next` of another page."))?;
    let page = audit::read(&context, at, super::jobs::limit(&context)?).await?;
    json(&AuditPage {
        actions: page.entries.iter().map(AuditValue::new).collect(),
        next: page.next.map(|next| next.to_string()),
    })
}
