//! How often and how long the jobs of each class ran.

use std::time::Duration;

use askama::Template;
use axum::{extract::Path, response::Response};
use verk_core::{
    manage::{ExecutionHistory, ExecutionRange, HistogramHistory},
    storage::ExecutionCounts,
};

use super::{Page, html};
use crate::{
    context::Context,
    failure::Failure,
    routes::Route,
    svg::{self, Bar, HEIGHT, WIDTH, to_f64},
    text,
    url::{self, Name},
};

/// The name of a range, in how many steps it is read, and how it is shown.
const RANGES: [(&str, usize, bool, &str); 4] = [
    ("1h", 60, false, "1 hour"),
    ("8h", 480, false, "8 hours"),
    ("24h", 144, true, "1 day"),
    ("72h", 432, true, "3 days"),
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/metrics", list),
        Route::get("/metrics/{class}", show),
    ]
}

/// The range that a visitor chose.
struct Range {
    name: &'static str,
    label: &'static str,
    read: ExecutionRange,
}

impl Range {
    fn read(context: &Context) -> Self {
        let asked = context.query.get("range");
        let known = RANGES.into_iter().find(|(name, ..)| Some(*name) == asked);
        let (name, steps, by_ten, label) = known.unwrap_or(RANGES[0]);
        let read = if by_ten {
            ExecutionRange::ten_minutes(steps)
        } else {
            ExecutionRange::minutes(steps)
        };
        Self { name, label, read }
    }
}

#[derive(Template)]
#[template(path = "metrics.html")]
struct MetricsPage {
    page: Page,
    range: Range,
    rows: Vec<Row>,
    /// How many classes there are beyond `rows`.
    more: usize,
    cut: bool,
}

struct Row {
    class: String,
    path: Option<String>,
    runs: u64,
    failed: u64,
    total: String,
    mean: String,
    line: String,
}

/// The most classes that the page shows.
const MAX_ROWS: usize = 100;

async fn list(context: Context) -> Result<Response, Failure> {
    let range = Range::read(&context);
    let history = context.app.executions(&range.read).await?;
    let snapshot = context.app.poller.snapshot().await?;
    let rows = history.classes.iter().take(MAX_ROWS).map(|class| {
        let total = class.total();
        Row {
            class: text::short(&class.class, 160),
            path: url::page("/metrics/", &class.class),
            runs: total.counts.processed(),
            failed: total.counts.failed,
            total: text::duration(total.took),
            mean: total.mean().map_or_else(|| "–".to_owned(), text::duration),
            line: svg::points(runs(&class.steps), 96.0, 22.0),
        }
    });
    html(&MetricsPage {
        rows: rows.collect(),
        more: history.classes.len().saturating_sub(MAX_ROWS),
        cut: history.cut,
        range,
        page: Page::new(&context, &snapshot, "metrics", "Metrics"),
    })
}

/// The runs of each step.
fn runs(steps: &[ExecutionCounts]) -> Vec<f64> {
    steps
        .iter()
        .map(|step| to_f64(step.counts.processed()))
        .collect()
}

#[derive(Template)]
#[template(path = "class.html")]
struct ClassPage {
    page: Page,
    /// The name as a part of a path, and as a value of a query.
    path: String,
    value: String,
    range: Range,
    runs: u64,
    failed: u64,
    mean: String,
    total: String,
    done: String,
    fail: String,
    top: u64,
    first: Option<text::When>,
    steps: Vec<Step>,
    buckets: Vec<Bucket>,
    dots: Vec<Dot>,
    slowest: String,
}

struct Step {
    at: text::When,
    runs: u64,
    failed: u64,
    mean: String,
}

/// How many runs took how long.
struct Bucket {
    label: String,
    runs: u64,
    bar: Bar,
}

/// Runs of one minute that took about the same time.
struct Dot {
    x: f64,
    y: f64,
    /// The diameter in pixels.
    size: f64,
}

async fn show(Path(Name(class)): Path<Name>, context: Context) -> Result<Response, Failure> {
    let range = Range::read(&context);
    let admin = &context.app.admin;
    let history = admin
        .executions(&range.read.clone().class(class.clone()))
        .await?;
    let histogram = admin.histogram(&class, &range.read).await?;
    let snapshot = context.app.poller.snapshot().await?;
    let own = own(&history, &class);
    let mut total = ExecutionCounts::default();
    for step in &own {
        total.add(*step);
    }
    let done = runs(&own);
    let failed: Vec<f64> = own.iter().map(|step| to_f64(step.counts.failed)).collect();
    let top = own
        .iter()
        .map(|step| step.counts.processed())
        .max()
        .unwrap_or(0);
    let path = |values: &[f64]| svg::area(values, to_f64(top), WIDTH, HEIGHT);
    let now = admin.now();
    let steps = history.times.iter().zip(&own).rev();
    let steps = steps
        .filter(|(_, step)| step.counts.processed() > 0)
        .map(|(at, step)| Step {
            at: text::when(*at, now),
            runs: step.counts.processed(),
            failed: step.counts.failed,
            mean: step.mean().map_or_else(|| "–".to_owned(), text::duration),
        });
    let bounds = HistogramHistory::bounds();
    let slowest = bounds.last().copied().unwrap_or_default();
    html(&ClassPage {
        page: Page::new(&context, &snapshot, "metrics", text::short(&class, 200)),
        path: url::part(&class),
        value: url::value(&class),
        range,
        runs: total.counts.processed(),
        failed: total.counts.failed,
        mean: total.mean().map_or_else(|| "–".to_owned(), text::duration),
        total: text::duration(total.took),
        done: path(&done),
        fail: path(&failed),
        top,
        first: history.times.first().map(|at| text::when(*at, now)),
        steps: steps.collect(),
        buckets: buckets(&histogram, &bounds),
        dots: dots(&histogram),
        slowest: text::duration(slowest),
    })
}

/// The steps of the class; none if it did not run.
fn own(history: &ExecutionHistory, class: &str) -> Vec<ExecutionCounts> {
    let mut classes = history.classes.iter();
    match classes.find(|other| other.class == class) {
        Some(own) => own.steps.clone(),
        None => Vec::new(),
    }
}

fn buckets(histogram: &HistogramHistory, bounds: &[Duration]) -> Vec<Bucket> {
    let total = histogram.total();
    let values: Vec<f64> = total.iter().map(|runs| to_f64(*runs)).collect();
    let top = values.iter().copied().fold(0.0, f64::max);
    let bars = svg::bars(&values, top, WIDTH, HEIGHT);
    let bucket = |(at, (runs, bar)): (usize, (&u64, Bar))| Bucket {
        label: match (bounds.get(at), bounds.last()) {
            (Some(bound), _) => format!("under {}", text::duration(*bound)),
            (None, Some(last)) => format!("{} and more", text::duration(*last)),
            (None, None) => String::new(),
        },
        runs: *runs,
        bar,
    };
    total.iter().zip(bars).enumerate().map(bucket).collect()
}

fn dots(histogram: &HistogramHistory) -> Vec<Dot> {
    let minutes = histogram.minutes.len();
    let mut dots = Vec::new();
    for (at, (_, buckets)) in histogram.minutes.iter().enumerate() {
        for (bucket, runs) in buckets.iter().enumerate().filter(|(_, runs)| **runs > 0) {
            dots.push(Dot {
                x: svg::share(to_f64(at) + 0.5, to_f64(minutes), WIDTH),
                y: HEIGHT - svg::share(to_f64(bucket) + 0.5, to_f64(buckets.len()), HEIGHT),
                size: to_f64(*runs).log10().max(0.0).mul_add(4.0, 4.0),
            });
        }
    }
    dots
}
