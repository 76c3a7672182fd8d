//! The overview: what runs, what needs attention, what was done.

use std::time::SystemTime;

use askama::Template;
use axum::response::Response;
use verk_core::{
    manage::{ExecutionHistory, ExecutionRange, Query},
    storage::{Counts, Order},
};

use super::{Page, doctor::Note, html, jobs::JobRow, queues::Row};
use crate::{
    context::Context,
    failure::Failure,
    place::Place,
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

/// How many minutes the chart of the last hour has.
const MINUTES: usize = 60;

/// How many failed jobs of each set the overview shows.
const FAILED: usize = 5;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    page: Page,
    queues: usize,
    /// `None` until the first check of the storage ends.
    findings: Option<Vec<Note>>,
    checked: Option<text::When>,
    /// `None` if no program wrote metrics in that time.
    hour: Option<Hour>,
    history: History,
    rows: Vec<Row>,
    dead: Failed,
    retries: Failed,
}

/// The runs of all classes in the last hour, by the minute.
struct Hour {
    runs: u64,
    failed: u64,
    top: u64,
    done: Vec<Bar>,
    fail: Vec<Bar>,
    /// The latest first.
    minutes: Vec<Minute>,
}

struct Minute {
    at: text::When,
    runs: u64,
    failed: u64,
}

/// Some failed jobs of a set.
struct Failed {
    place: Place,
    rows: Vec<JobRow>,
    /// How many jobs the set has.
    total: u64,
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
    let hour = app.executions(&ExecutionRange::minutes(MINUTES)).await?;
    let now = app.admin.now();
    let dead = Failed::read(&context, Place::Dead, Order::NewestFirst, now).await?;
    let retries = Failed::read(&context, Place::Retries, Order::OldestFirst, now).await?;
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
        checked: checkup.map(|checkup| text::when(checkup.at, now)),
        hour: Hour::of(&hour, now),
        history,
        rows,
        dead,
        retries,
        page: Page::new(&context, &snapshot, "overview", "Overview"),
    };
    html(&overview)
}

impl Hour {
    fn of(history: &ExecutionHistory, now: SystemTime) -> Option<Self> {
        let mut steps = vec![Counts::default(); history.times.len()];
        for class in &history.classes {
            for (step, more) in steps.iter_mut().zip(&class.steps) {
                step.add(more.counts);
            }
        }
        let mut total = Counts::default();
        steps.iter().for_each(|step| total.add(*step));
        let top = steps.iter().map(|step| step.processed()).max();
        let top = top.filter(|top| *top > 0)?;
        let bars = |count: fn(&Counts) -> u64| {
            let values: Vec<f64> = steps.iter().map(|step| to_f64(count(step))).collect();
            svg::bars(&values, to_f64(top), WIDTH, HEIGHT)
        };
        let minutes = history.times.iter().zip(&steps).rev();
        Some(Self {
            runs: total.processed(),
            failed: total.failed,
            top,
            done: bars(|step| step.processed()),
            fail: bars(|step| step.failed),
            minutes: minutes
                .filter(|(_, step)| step.processed() > 0)
                .map(|(at, step)| Minute {
                    at: text::when(*at, now),
                    runs: step.processed(),
                    failed: step.failed,
                })
                .collect(),
        })
    }
}

impl Failed {
    async fn read(
        context: &Context,
        place: Place,
        order: Order,
        now: SystemTime,
    ) -> Result<Self, Failure> {
        let query = Query::new().order(order).limit(FAILED);
        let listed = place.jobs(&context.app.admin)?.list(&query).await?;
        let rows = listed.entries.iter();
        let rows = rows.map(|entry| JobRow::new(entry, &context.app, &place, now));
        Ok(Self {
            rows: rows.collect(),
            total: listed.total,
            place,
        })
    }

    fn has_more(&self) -> bool {
        (self.rows.len() as u64) < self.total
    }
}

fn span(asked: Option<&str>) -> (usize, &'static str) {
    let asked = asked.and_then(|days| days.parse::<usize>().ok());
    let known = SPANS.into_iter().find(|(days, _)| Some(*days) == asked);
    known.unwrap_or(SPANS[1])
}

/// Any program may write a count.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
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
            processed: sum(days.iter().map(|day| day.processed)),
            failed: sum(days.iter().map(|day| day.failed)),
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
