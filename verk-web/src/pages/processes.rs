//! The processes that run queues: what each reports of itself, and the signals to it.

use std::time::SystemTime;

use askama::Template;
use axum::{extract::Path, response::Response};
use verk_core::manage::Process;

use super::{Page, actions::back, html};
use crate::{
    access::Role,
    actions::SIGNALS,
    context::Context,
    failure::Failure,
    routes::Route,
    text,
    url::{self, Name},
};

/// A process that reports every 10 seconds is late after this many seconds.
const LATE: u64 = 30;

/// The most characters that are shown of what a process says about itself, and the most queues.
pub(super) const SHORT: usize = 160;
pub(super) const MAX_QUEUES: usize = 50;

pub(super) fn routes() -> Vec<Route> {
    let mut routes = vec![
        Route::get("/processes", list),
        Route::get("/processes/{identity}", show),
    ];
    for (name, role, signal) in SIGNALS {
        let handler = move |Path(Name(identity)): Path<Name>, context: Context| async move {
            context.signal(&identity, name, signal).await?;
            let done = [("done", name.to_owned())];
            let path = path(&identity);
            let path = path.as_deref().unwrap_or("/processes");
            Ok::<_, Failure>(back(&context, path, &done))
        };
        let path = format!("/processes/{{identity}}/{name}");
        routes.push(Route::post(path, role, handler));
    }
    routes
}

/// The path of the page of a process; `None` if its identity is too long for an address.
pub(super) fn path(identity: &str) -> Option<String> {
    url::page("/processes/", identity)
}

#[derive(Template)]
#[template(path = "processes.html")]
struct ProcessesPage {
    page: Page,
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "process.html")]
struct ProcessPage {
    page: Page,
    row: Row,
    process: Process,
    may_operate: bool,
    may_admin: bool,
}

/// A process as a page shows it.
struct Row {
    path: Option<String>,
    identity: String,
    title: String,
    host: String,
    labels: String,
    version: String,
    queues: Vec<(String, String, String)>,
    /// How many queues it has beyond these.
    more: usize,
    busy: usize,
    concurrency: usize,
    state: (&'static str, char, &'static str),
    beat: text::When,
    started: Option<text::When>,
    memory: Option<String>,
    rtt: String,
}

impl Row {
    fn new(process: &Process, now: SystemTime) -> Self {
        let age = now.duration_since(process.beat).unwrap_or_default();
        let shown = |at| text::when(at, now);
        let host = text::short(&process.host, SHORT);
        let queues = process.queues.iter().map(|queue| {
            let name = queue.name.as_str();
            let permits = if queue.shared {
                "shared".to_owned()
            } else {
                text::count(queue.concurrency)
            };
            (name.to_owned(), url::part(name), permits)
        });
        Self {
            path: path(&process.identity),
            identity: text::short(&process.identity, SHORT),
            title: if process.tag.is_empty() {
                host.clone()
            } else {
                format!("{} on {host}", text::short(&process.tag, SHORT))
            },
            host,
            labels: text::short(&process.labels.join(", "), SHORT),
            version: text::short(process.version.as_deref().unwrap_or("Sidekiq"), SHORT),
            queues: queues.take(MAX_QUEUES).collect(),
            more: process.queues.len().saturating_sub(MAX_QUEUES),
            busy: process.busy,
            concurrency: process.concurrency,
            state: if age.as_secs() >= LATE {
                ("warn", '◆', "silent")
            } else if process.quiet {
                ("pause", '‖', "quiet")
            } else {
                ("run", '●', "running")
            },
            beat: shown(process.beat),
            started: process.started_at.map(shown),
            memory: process
                .rss_kib
                .map(|kib| text::bytes(kib.saturating_mul(1_024))),
            rtt: text::duration(process.rtt),
        }
    }
}

async fn list(context: Context) -> Result<Response, Failure> {
    let snapshot = context.app.poller.snapshot().await?;
    let now = context.app.admin.now();
    html(&ProcessesPage {
        page: Page::new(&context, &snapshot, "processes", "Processes"),
        rows: snapshot
            .overview
            .processes
            .iter()
            .map(|process| Row::new(process, now))
            .collect(),
    })
}

async fn show(Path(Name(identity)): Path<Name>, context: Context) -> Result<Response, Failure> {
    let process = context
        .app
        .admin
        .find_process(&identity)
        .await?
        .ok_or_else(gone)?;
    let snapshot = context.app.poller.snapshot().await?;
    let row = Row::new(&process, context.app.admin.now());
    html(&ProcessPage {
        page: Page::new(
            &context,
            &snapshot,
            "processes",
            text::short(&row.title, 200),
        ),
        row,
        process,
        may_operate: context.may(Role::Operate),
        may_admin: context.may(Role::Admin),
    })
}

fn gone() -> Failure {
    Failure::not_found("This process does not report any more: it ended, or was killed.")
}
