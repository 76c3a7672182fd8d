//! The overview: what runs, what needs attention, what was done.

use askama::Template;
use axum::response::Response;

use super::{Page, doctor::Note, html, queues::Row};
use crate::{
    context::Context,
    failure::Failure,
    svg::{self, Bar, HEIGHT, WIDTH, to_f64},
    text,
};

/// How many queues the overview shows: those whose oldest job waits the longest.
const QUEUES: usize = 10;

/// The spans of the history, in days.
const SPANS: [(usize, &str); 5] = [
    (7, "1 week"),
    (30, "30 days"),
    (90, "90 days"),
    (365, "1 year"),
    (1_825, "5 years"),
];

/// How many bars the history has at most.
const BARS: usize = 92;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    page: Page,
    queues: usize,
    /// `None` until the first check of the storage ends.
    findings: Option<Vec<Note>>,
    checked: Option<String>,
    history: History,
    rows: Vec<Row>,
}

/// What was done, by the day or by several days.
struct History {
    spans: Vec<Span>,
    top: u64,
    done: Vec<Bar>,
    failed: Vec<Bar>,
    periods: Vec<Period>,
    label: &'static str,
}

struct Span {
    days: usize,
    label: &'static str,
    current: bool,
}

struct Period {
    from: String,
    processed: u64,
    failed: u64,
}

pub(super) async fn show(context: Context) -> Result<Response, Failure> {
    let app = &context.app;
    let snapshot = app.poller.snapshot().await?;
    let span = span(context.query.get("days"));
    let history = history(&context, span).await?;
    let checkup = app.checkups.newest().await;
    let mut rows = Row::all(&snapshot);
    rows.sort_by(|a, b| {
        b.latency
            .cmp(&a.latency)
            .then_with(|| b.waiting.cmp(&a.waiting))
    });
    rows.truncate(QUEUES);
    let overview = Overview {
        queues: snapshot.overview.queues.len(),
        findings: checkup
            .as_ref()
            .map(|checkup| checkup.report.findings.iter().map(Note::new).collect()),
        checked: checkup.map(|checkup| text::relative(checkup.at, app.admin.now())),
        history,
        rows,
        page: Page::new(&context, &snapshot, "overview", "Overview"),
    };
    html(&overview)
}

fn span(asked: Option<&str>) -> (usize, &'static str) {
    let asked = asked.and_then(|days| days.parse::<usize>().ok());
    let known = SPANS.into_iter().find(|(days, _)| Some(*days) == asked);
    known.unwrap_or(SPANS[1])
}

async fn history(
    context: &Context,
    (days, label): (usize, &'static str),
) -> Result<History, Failure> {
    let mut by_day = context.app.admin.stats_history(days).await?;
    by_day.reverse();
    let each = days.div_ceil(BARS);
    // The newest period is whole; the oldest may have fewer days.
    let periods: Vec<Period> = by_day
        .rchunks(each)
        .rev()
        .map(|days| Period {
            from: days
                .first()
                .map_or_else(String::new, |day| day.day.to_string()),
            processed: days.iter().map(|day| day.processed).sum(),
            failed: days.iter().map(|day| day.failed).sum(),
        })
        .collect();
    let top = periods
        .iter()
        .map(|period| period.processed)
        .max()
        .unwrap_or(0);
    let bars = |count: fn(&Period) -> u64| {
        let values: Vec<f64> = periods.iter().map(|period| to_f64(count(period))).collect();
        svg::bars(&values, to_f64(top), WIDTH, HEIGHT)
    };
    Ok(History {
        spans: SPANS
            .into_iter()
            .map(|(span, label)| Span {
                days: span,
                label,
                current: span == days,
            })
            .collect(),
        top,
        done: bars(|period| period.processed),
        failed: bars(|period| period.failed),
        periods,
        label,
    })
}
