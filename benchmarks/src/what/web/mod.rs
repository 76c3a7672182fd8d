//! What the dashboard costs the server, where a large fleet works: each page, the live figures of
//! 50 browsers, and what is left for the workers.

mod dashboard;
mod fill;
mod pages;

use std::{
    cell::Cell,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use self::{
    dashboard::{Browsers, Served},
    fill::{RUNNING, Size},
    pages::Loads,
};
use super::{drain, targets::at_most};
use crate::{
    child::Load,
    lab::Lab,
    report::{Measured, Outcome, Report, Target},
    server::Server,
    systems::Contender,
};

/// How many browsers show live figures.
const BROWSERS: usize = 50;

/// How often each page is loaded.
const LOADS: usize = 10;

/// How often each search is made.
const SEARCHES: usize = 5;

/// How many milliseconds of the server each page may take, with the figures that all pages show.
const MOST_OF_PAGE: f64 = 5.0;

/// The same for a search: for so long it reads, and then offers to continue.
const MOST_OF_SEARCH: f64 = 200.0;

/// How many percent of a core of the server all browsers together may take.
const MOST_OF_LIVE: f64 = 1.0;

/// The same for what is seldom read: the doctor's check once a minute, metrics once an hour.
const MOST_OF_RARE: f64 = 0.2;

/// Beside a worker, a page is loaded so often: as if each of 50 people opened one in 10 seconds.
const PAGE_EVERY: Duration = Duration::from_millis(200);

/// The live figures come within a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// The figures are those of all pages. The parts are the pages, the searches, what is seldom read,
/// the live figures, and `drain` beside an open dashboard.
pub(crate) fn run(lab: &Lab) -> Result<Report> {
    let size = Size::of(&lab.settings);
    let server = Server::start();
    eprintln!("web: fills the server");
    size.fill(&server)?;
    let loads = if lab.settings.quick { 1 } else { LOADS };

    let rare = pages::rare(lab, &server)?;
    let served = Served::start(&server.url())?;
    // What is seldom read is not part of a page.
    for page in ["/metrics?range=8h", "/metrics?range=72h", "/doctor"] {
        served.load(page)?;
    }
    let of_pages = Loads::of(lab, &server, &served, &pages::all(&served, &size)?, loads)?;
    let searches = pages::searches();
    let of_searches = Loads::of(lab, &server, &served, &searches, loads.min(SEARCHES))?;
    let live = live(lab, &server, &served)?;
    drop((served, server));

    let targets = targets(&of_pages, &of_searches, &rare, &live)?;
    let summary = vec![
        ("page_ms_p50", of_pages.percentile(50)),
        ("page_ms_p95", of_pages.percentile(95)),
        ("search_ms_p50", of_searches.percentile(50)),
    ];
    let own = |outcome| vec![("verk".to_owned(), outcome)];
    let part =
        |main, settings: &[(&str, Value)], outcomes| Report::new("web", main, settings, outcomes);
    let mut report = part(
        "page_ms_p95",
        &settings(&size),
        own(Outcome::of(&[summary])),
    )
    .with(
        "pages",
        part("", &[("loads", json!(loads))], Vec::new()).rows(of_pages.rows),
    )
    .with(
        "searches",
        part("", &[("loads", json!(loads.min(SEARCHES)))], Vec::new()).rows(of_searches.rows),
    )
    .with(
        "rare",
        part("", &[("runs", json!(lab.settings.runs()))], Vec::new()).rows(rare),
    )
    .with(
        "live",
        part(
            "",
            &[
                ("browsers", json!(BROWSERS)),
                ("seconds", json!(lab.settings.watch().as_secs())),
            ],
            own(Outcome::of(&[live])),
        ),
    )
    .with("drain", beside(lab, size)?);
    report.targets = targets;
    Ok(report)
}

fn settings(size: &Size) -> [(&'static str, Value); 8] {
    [
        ("waiting", json!(size.waiting)),
        ("scheduled", json!(size.scheduled)),
        ("retries", json!(size.retries)),
        ("dead", json!(size.dead)),
        ("queues", json!(size.queues)),
        ("processes", json!(size.processes)),
        ("running", json!(size.processes * RUNNING)),
        ("classes", json!(size.classes)),
    ]
}

fn targets(
    pages: &Loads,
    searches: &Loads,
    rare: &[(String, Outcome)],
    live: &Measured,
) -> Result<Vec<Target>> {
    let dearest = |what: &str, most, loads: &Loads| {
        let (name, server_ms) = loads.dearest().context("nothing was loaded")?;
        anyhow::Ok(at_most(
            &format!("the dearest {what} ({name}), ms of the server"),
            most,
            Some(server_ms),
        ))
    };
    let rare = rare.iter();
    let rare = rare.filter_map(|(_, row)| row.figure("percent_of_a_core"));
    let of_live = live.iter().find(|(name, _)| *name == "redis_cpu_percent");
    Ok(vec![
        dearest("page", MOST_OF_PAGE, pages)?,
        dearest("search", MOST_OF_SEARCH, searches)?,
        at_most(
            "what is seldom read, percent of a core of the server",
            MOST_OF_RARE,
            Some(rare.sum()),
        ),
        at_most(
            "50 open browsers, percent of a core of the server",
            MOST_OF_LIVE,
            of_live.map(|(_, percent)| *percent),
        ),
    ])
}

/// The server with open browsers, and before that without.
fn live(lab: &Lab, server: &Server, served: &Served) -> Result<Measured> {
    let seconds = lab.settings.watch().as_secs_f64();
    let idle = percent_of_a_core(lab, server)?;
    let mut browsers = opened(served)?;
    let (events, before) = (browsers.events(), server.spent()?);
    let busy = percent_of_a_core(lab, server)?;
    let after = server.spent()?;
    browsers.ensure_open()?;
    let events = browsers.events() - events;
    ensure!(events > 0, "the live figures stopped");
    Ok(vec![
        ("redis_cpu_percent", busy),
        ("idle_redis_cpu_percent", idle),
        (
            "commands_percent",
            (after.commands_ms - before.commands_ms) / 10.0 / seconds,
        ),
        ("figures_per_s", events as f64 / seconds),
    ])
}

fn percent_of_a_core(lab: &Lab, server: &Server) -> Result<f64> {
    let watch = lab.settings.watch();
    let before = server.spent()?;
    thread::sleep(watch);
    let spent_ms = server.spent()?.cpu_ms - before.cpu_ms;
    Ok(spent_ms / 10.0 / watch.as_secs_f64())
}

/// Browsers that all show figures.
fn opened(served: &Served) -> Result<Browsers> {
    let mut browsers = served.open_browsers(BROWSERS);
    let until = Instant::now() + PATIENCE;
    while browsers.events() < BROWSERS as u64 {
        browsers.ensure_open()?;
        ensure!(Instant::now() < until, "no live figures come");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(browsers)
}

/// `drain` with open browsers, where pages are loaded too, and without, in turn on one server. The
/// dead set has as many jobs as verk keeps: more would be removed meanwhile.
fn beside(lab: &Lab, size: Size) -> Result<Report> {
    let size = Size {
        dead: size.dead.min(10_000),
        ..size
    };
    let server = Server::start();
    eprintln!("web, drain: fills the server");
    size.fill(&server)?;
    let load = Load::of(lab.settings.jobs(500_000));
    let is_first = Cell::new(false);
    let outcomes = lab.measure("web, drain", &[Contender::verk()], |contender| {
        let alone = || drain::measure(contender, &load, &server, &server.url());
        let with = || with_dashboard(&server, alone);
        // Neither has the better place.
        is_first.set(!is_first.get());
        let (alone, with) = if is_first.get() {
            let alone = alone()?;
            (alone, with()?)
        } else {
            let with = with()?;
            (alone()?, with)
        };
        let figure = |of: &Measured, name| {
            let found = of.iter().find(|(other, _)| *other == name);
            found.map_or(0.0, |(_, value)| *value)
        };
        let rates = [&alone, &with].map(|of| figure(of, "jobs_per_s"));
        Ok(vec![
            ("ratio", rates[1] / rates[0]),
            ("jobs_per_s_alone", rates[0]),
            ("jobs_per_s_beside", rates[1]),
            ("redis_us_per_job_alone", figure(&alone, "redis_us_per_job")),
            ("redis_us_per_job_beside", figure(&with, "redis_us_per_job")),
        ])
    });
    let mut settings: Vec<(&str, Value)> = settings(&size).to_vec();
    settings.extend([
        ("jobs", json!(load.jobs)),
        ("browsers", json!(BROWSERS)),
        ("runs", json!(lab.settings.runs())),
    ]);
    Ok(Report::new("web", "ratio", &settings, outcomes))
}

/// Measures while browsers are open and pages are loaded.
fn with_dashboard(server: &Server, measure: impl FnOnce() -> Result<Measured>) -> Result<Measured> {
    let served = Served::start(&server.url())?;
    let mut browsers = opened(&served)?;
    let is_over = AtomicBool::new(false);
    let measured = thread::scope(|scope| {
        let visitor = scope.spawn(|| visit(&served, &is_over));
        let measured = measure();
        is_over.store(true, Ordering::Relaxed);
        let visited = visitor.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
        visited.and(measured)
    })?;
    browsers.ensure_open()?;
    Ok(measured)
}

/// Loads one page after the other.
fn visit(served: &Served, is_over: &AtomicBool) -> Result<()> {
    let pages = [
        "/",
        "/queues",
        "/queues/queue-0",
        "/running",
        "/processes",
        "/retries",
        "/dead",
        "/scheduled",
    ];
    for page in pages.into_iter().cycle() {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        served.load(page)?;
        thread::sleep(PAGE_EVERY);
    }
    Ok(())
}
