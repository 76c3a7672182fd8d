//! All queues.

use std::{fmt, time::Duration};

use askama::Template;
use axum::response::Response;
use verk_core::{QueueName, manage::QueueOverview};

use super::{Page, html};
use crate::{context::Context, failure::Failure, live::Snapshot, svg, text, url};

/// From here on a wait is shown as long.
const LATE: Duration = Duration::from_secs(60);

#[derive(Template)]
#[template(path = "queues.html")]
struct Queues {
    page: Page,
    rows: Vec<Row>,
    all: usize,
    filter: String,
    sort: Sort,
}

/// A queue as a table shows it.
pub(super) struct Row {
    pub(super) name: QueueName,
    /// The name as a part of a path.
    pub(super) path: String,
    pub(super) state: State,
    pub(super) waiting: usize,
    pub(super) latency: Duration,
    pub(super) late: bool,
    /// The latency as a bar, up to 72 wide, by its order of magnitude: an hour fills it.
    pub(super) share: f64,
    pub(super) processed: u64,
    pub(super) failed: u64,
}

/// What happens to the jobs of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Paused for all nodes, by somebody if that is known.
    Paused(Option<String>),
    /// Jobs wait, and no process runs the queue.
    NoProcess,
    /// Processes run it.
    Running,
    /// No process runs it, and no job waits.
    Idle,
}

impl State {
    pub(crate) fn of(queue: &QueueOverview) -> Self {
        match &queue.paused {
            Some(pause) => Self::Paused(pause.by.clone()),
            None if queue.processes > 0 || queue.nodes > 0 => Self::Running,
            None if queue.enqueued > 0 => Self::NoProcess,
            None => Self::Idle,
        }
    }

    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Paused(_) => "pause",
            Self::NoProcess => "bad",
            Self::Running => "run",
            Self::Idle => "idle",
        }
    }

    pub(crate) fn shape(&self) -> char {
        match self {
            Self::Paused(_) => '‖',
            Self::NoProcess => '▲',
            Self::Running => '●',
            Self::Idle => '○',
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Paused(Some(by)) => format!("paused by {}", text::short(by, 60)),
            Self::Paused(None) => "paused".to_owned(),
            Self::NoProcess => "nobody runs it".to_owned(),
            Self::Running => "running".to_owned(),
            Self::Idle => "idle".to_owned(),
        }
    }
}

/// The order of the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Name,
    Waiting,
    Latency,
}

impl Sort {
    fn read(text: Option<&str>) -> Self {
        match text {
            Some("waiting") => Self::Waiting,
            Some("latency") => Self::Latency,
            _ => Self::Name,
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "name",
            Self::Waiting => "waiting",
            Self::Latency => "latency",
        })
    }
}

impl Row {
    /// Every queue, by name.
    pub(super) fn all(snapshot: &Snapshot) -> Vec<Self> {
        let queues = snapshot.overview.queues.iter();
        queues
            .map(|queue| {
                let waited = queue.latency.as_secs_f64();
                Self {
                    path: url::part(queue.queue.as_str()),
                    state: State::of(queue),
                    waiting: queue.enqueued,
                    latency: queue.latency,
                    late: queue.latency >= LATE,
                    share: svg::share((1.0 + waited).log10(), 3_601_f64.log10(), 72.0).max(2.0),
                    processed: queue.processed,
                    failed: queue.failed,
                    name: queue.queue.clone(),
                }
            })
            .collect()
    }
}

pub(super) async fn show(context: Context) -> Result<Response, Failure> {
    let snapshot = context.app.poller.snapshot().await?;
    let filter = context.query.get("name").unwrap_or_default().to_owned();
    let sort = Sort::read(context.query.get("sort"));
    let mut rows = Row::all(&snapshot);
    let all = rows.len();
    rows.retain(|row| row.name.as_str().contains(&filter));
    match sort {
        Sort::Name => {}
        Sort::Waiting => rows.sort_by_key(|row| std::cmp::Reverse(row.waiting)),
        Sort::Latency => rows.sort_by_key(|row| std::cmp::Reverse(row.latency)),
    }
    html(&Queues {
        page: Page::new(&context, &snapshot, "queues", "Queues"),
        rows,
        all,
        filter,
        sort,
    })
}
