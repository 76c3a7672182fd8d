//! The jobs that run, on all processes, as these last reported them.

use std::time::SystemTime;

use askama::Template;
use axum::response::Response;
use verk_core::manage::{RunningCursor, RunningJob};

use super::{Page, html, jobs::PER_PAGE, processes};
use crate::{app::App, context::Context, failure::Failure, routes::Route, text, url};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/running", show)]
}

#[derive(Template)]
#[template(path = "running.html")]
struct RunningPage {
    page: Page,
    rows: Vec<Row>,
    /// The process whose jobs these are, if not all.
    process: Option<String>,
    first: bool,
    next: Option<String>,
}

struct Row {
    class: String,
    jid: String,
    args: Option<String>,
    queue: Option<(String, String)>,
    process: String,
    process_path: Option<String>,
    /// When it began, and for how long it has run.
    since: Option<(text::When, String)>,
}

impl Row {
    fn new(running: &RunningJob, app: &App, now: SystemTime) -> Self {
        let job = running.job.as_ref().ok();
        let elapsed = |at| text::duration(now.duration_since(at).unwrap_or_default());
        Self {
            class: job.map_or_else(
                || "Not a job".to_owned(),
                |job| text::short(job.class(), 160),
            ),
            jid: job.map_or_else(String::new, |job| text::short(job.jid().as_str(), 160)),
            args: job
                .and_then(|job| app.settings.payloads.args(job))
                .map(|args| text::short(&args, 160)),
            queue: running
                .queue
                .as_ref()
                .map(|queue| (queue.to_string(), url::part(queue.as_str()))),
            process: text::short(&running.process, 160),
            process_path: processes::path(&running.process),
            since: running.since.map(|at| (text::when(at, now), elapsed(at))),
        }
    }
}

async fn show(context: Context) -> Result<Response, Failure> {
    let app = &context.app;
    let cursor = context.cursor::<RunningCursor>()?;
    let first = cursor.is_none();
    let process = context.query.get("process");
    let cursor = cursor.or_else(|| process.map(RunningCursor::of_process));
    let mut read = app.admin.running(cursor, PER_PAGE).await?;
    if let Some(process) = process {
        let before = read.jobs.len();
        read.jobs.retain(|running| running.process == process);
        // Those of the next process follow.
        if read.jobs.len() < before {
            read.next = None;
        }
    }
    let snapshot = app.poller.snapshot().await?;
    let now = app.admin.now();
    html(&RunningPage {
        page: Page::new(&context, &snapshot, "running", "Running"),
        rows: read
            .jobs
            .iter()
            .map(|running| Row::new(running, app, now))
            .collect(),
        process: process.map(|process| text::short(process, 160)),
        first,
        next: read
            .next
            .map(|next| context.query.with("at", Some(&next.to_string()))),
    })
}
