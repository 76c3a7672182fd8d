//! Every page of the dashboard, and what each load costs the server.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{dashboard::Served, fill::Size};
use crate::{
    lab::Lab,
    report::{Measured, Outcome},
    server::Server,
};

/// How old the figures of the dashboard may be: a page that is loaded later reads them again.
const FIGURES_LAST: Duration = Duration::from_millis(1_050);

/// The doctor's check takes less.
const DOCTOR_LASTS: Duration = Duration::from_secs(60);

/// An address, and its name in the results.
pub(super) struct Page {
    name: &'static str,
    path: String,
}

/// What came of one kind of pages.
pub(super) struct Loads {
    pub(super) rows: Vec<(String, Outcome)>,
    /// How long each load took, in milliseconds, the shortest first.
    took: Vec<f64>,
}

impl Loads {
    /// Loads each page so often, at most once a second. The figures that all pages show are then
    /// old, so each load costs what the first one of a visit costs.
    pub(super) fn of(
        lab: &Lab,
        server: &Server,
        served: &Served,
        pages: &[Page],
        loads: usize,
    ) -> Result<Self> {
        let mut of = Self {
            rows: Vec::new(),
            took: Vec::new(),
        };
        for page in pages {
            let mut runs: Vec<Measured> = Vec::new();
            for _ in 0..loads {
                if !lab.settings.quick {
                    thread::sleep(FIGURES_LAST);
                }
                let before = server.spent()?;
                let loaded = served.load(&page.path)?;
                let after = server.spent()?;
                let took = loaded.took.as_secs_f64() * 1e3;
                of.took.push(took);
                runs.push(vec![
                    ("server_ms", after.commands_ms - before.commands_ms),
                    ("server_cpu_ms", after.cpu_ms - before.cpu_ms),
                    ("page_ms", took),
                ]);
            }
            let outcome = Outcome::of(&runs);
            let server_ms = outcome.figure("server_ms").unwrap_or_default();
            eprintln!("web {}: server_ms {server_ms:.4}", page.name);
            of.rows.push((page.name.to_owned(), outcome));
        }
        of.took.sort_by(f64::total_cmp);
        Ok(of)
    }

    /// So many percent of the loads took no longer.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let at = (self.took.len() * percent).div_ceil(100).max(1) - 1;
        self.took.get(at).copied().unwrap_or_default()
    }

    /// The page that costs the server the most, by the cheapest of its loads: other programs on the
    /// machine only make a load longer.
    pub(super) fn dearest(&self) -> Option<(&str, f64)> {
        let costs = self.rows.iter();
        let costs = costs.filter_map(|(name, row)| Some((&**name, row.figure("server_ms_min")?)));
        costs.max_by(|(_, one), (_, other)| one.total_cmp(other))
    }
}

/// What is seldom read, each by the first visits of a dashboard that was just started: the doctor's
/// check, and metrics that have ended. How often in an hour is the last figure.
pub(super) fn rare(lab: &Lab, server: &Server) -> Result<Vec<(String, Outcome)>> {
    let of_doctor = |served: &Served| {
        let until = Instant::now() + DOCTOR_LASTS;
        // It refuses until the check has ended.
        while served.load("/api/v1/doctor").is_err() {
            ensure!(Instant::now() < until, "the doctor's check does not end");
        }
        Ok(())
    };
    let of_metrics =
        |range| move |served: &Served| served.load(&format!("/metrics?range={range}")).map(drop);
    Ok(vec![
        (
            "the doctor's check".to_owned(),
            first(lab, server, 60.0, of_doctor)?,
        ),
        (
            "/metrics, 8 hours".to_owned(),
            first(lab, server, 1.0, of_metrics("8h"))?,
        ),
        (
            "/metrics, 3 days".to_owned(),
            first(lab, server, 1.0, of_metrics("72h"))?,
        ),
    ])
}

/// A first visit, after one that reads the figures of all pages.
fn first(
    lab: &Lab,
    server: &Server,
    per_hour: f64,
    visit: impl Fn(&Served) -> Result<()>,
) -> Result<Outcome> {
    let mut runs: Vec<Measured> = Vec::new();
    for _ in 0..lab.settings.runs() {
        let served = Served::start(&server.url())?;
        served.load("/api/v1/stats")?;
        let before = server.spent()?;
        visit(&served)?;
        let after = server.spent()?;
        let server_ms = after.commands_ms - before.commands_ms;
        runs.push(vec![
            ("server_ms", server_ms),
            ("per_hour", per_hour),
            ("percent_of_a_core", server_ms * per_hour / 36e3),
        ]);
    }
    Ok(Outcome::of(&runs))
}

/// All pages but the searches. Those that show the doctor's findings come first: within the minute
/// after the first visit, no other check begins.
pub(super) fn all(served: &Served, size: &Size) -> Result<Vec<Page>> {
    let page = |name, path: &str| Page {
        name,
        path: path.to_owned(),
    };
    let processes = served.load("/processes")?;
    let mut pages = vec![
        page("/", "/"),
        page("/, 5 years", "/?days=1825"),
        page("/doctor", "/doctor"),
        page("/api/v1/doctor", "/api/v1/doctor"),
        page("/queues", "/queues"),
        page("/queues/NAME", "/queues/queue-0"),
        page(
            "/queues/NAME, in the middle",
            &format!("/queues/queue-0?at=n{}", size.waiting / 4),
        ),
        page("/queues/NAME, newest first", "/queues/queue-0?order=newest"),
        page("/running", "/running"),
        page("/processes", "/processes"),
        page("/processes/ID", &processes.link("/processes/", |_| true)?),
        page("/nodes", "/nodes"),
        page("/metrics", "/metrics"),
        page("/metrics, 8 hours", "/metrics?range=8h"),
        page("/metrics, 1 day", "/metrics?range=24h"),
        page("/metrics, 3 days", "/metrics?range=72h"),
        page(
            "/metrics/CLASS, 8 hours",
            "/metrics/Shop%3A%3AClass0?range=8h",
        ),
        page(
            "/metrics/CLASS, 3 days",
            "/metrics/Shop%3A%3AClass0?range=72h",
        ),
        page("/redis", "/redis"),
        page("/tasks", "/tasks"),
        page("/audit", "/audit"),
        page("/api/v1/stats", "/api/v1/stats"),
        page("/api/v1/history", "/api/v1/history?days=1826"),
        page("/api/v1/queues", "/api/v1/queues"),
        page("/api/v1/queues/NAME", "/api/v1/queues/queue-0"),
        page("/api/v1/queues/NAME/load", "/api/v1/queues/queue-0/load"),
        page(
            "/api/v1/queues/NAME/jobs",
            "/api/v1/queues/queue-0/jobs?limit=100",
        ),
        page("/api/v1/sets/dead/jobs", "/api/v1/sets/dead/jobs?limit=100"),
        page("/api/v1/processes", "/api/v1/processes"),
        page("/api/v1/running", "/api/v1/running?limit=100"),
        page("/api/v1/metrics, 8 hours", "/api/v1/metrics?minutes=480"),
    ];
    let is_next = |link: &str| link.contains("?") && link.contains("at=");
    let queue = served.load("/queues/queue-0")?;
    pages.push(page(
        "/queues/NAME, 2nd page",
        &queue.link("/queues/queue-0", is_next)?,
    ));
    pages.push(page(
        "/queues/NAME/jobs/KEY",
        &queue.link("/queues/queue-0/jobs/", |_| true)?,
    ));
    for (set, jobs, names) in [
        (
            "/scheduled",
            size.scheduled,
            [
                "/scheduled",
                "/scheduled, 2nd page",
                "/scheduled, in the middle",
                "/scheduled/KEY",
            ],
        ),
        (
            "/retries",
            size.retries,
            [
                "/retries",
                "/retries, 2nd page",
                "/retries, in the middle",
                "/retries/KEY",
            ],
        ),
        (
            "/dead",
            size.dead,
            [
                "/dead",
                "/dead, 2nd page",
                "/dead, in the middle",
                "/dead/KEY",
            ],
        ),
    ] {
        let [first, second, middle, one] = names;
        let list = served.load(&format!("{set}?order=oldest"))?;
        let job = list.link(&format!("{set}/"), |_| true)?;
        let score = job.trim_start_matches(set).trim_matches('/');
        let score: f64 = score.split('-').next().unwrap_or_default().parse()?;
        let score = score + (jobs / 2) as f64;
        pages.extend([
            page(first, set),
            page(second, &list.link(set, is_next)?),
            page(middle, &format!("{set}?order=oldest&at=n{score}_0")),
            page(one, &job),
        ]);
    }
    Ok(pages)
}

/// Searches: each reads until 25 jobs match, but for at most 200 ms. Then the page offers to
/// continue. Of the classes, each hundredth job has the one, and no job the other.
pub(super) fn searches() -> Vec<Page> {
    let page = |name, path: &str| Page {
        name,
        path: path.to_owned(),
    };
    vec![
        page(
            "/queues/NAME, a class",
            "/queues/queue-0?class=Shop%3A%3AClass2",
        ),
        page(
            "/queues/NAME, a class that no job has",
            "/queues/queue-0?class=Nothing",
        ),
        page("/scheduled, a class", "/scheduled?class=Shop%3A%3AClass2"),
        page(
            "/scheduled, a class that no job has",
            "/scheduled?class=Nothing",
        ),
        page("/dead, a class", "/dead?class=Shop%3A%3AClass2"),
        page("/dead, a class that no job has", "/dead?class=Nothing"),
        page(
            "/jobs/JID of a running job",
            "/jobs/000000000000001000000001",
        ),
        page(
            "/jobs/JID that no job has",
            "/jobs/ffffffffffffffffffffffff",
        ),
    ]
}
