//! The doctor: what is wrong with the storage, and what to do.

use askama::Template;
use axum::response::Response;
use verk_core::doctor::{Finding, Severity};

use super::{Page, html};
use crate::{context::Context, failure::Failure, routes::Route, text, url};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/doctor", show)]
}

/// A finding as a page shows it.
pub(super) struct Note {
    pub(super) severity: Severity,
    pub(super) text: String,
    /// Where something can be done: the path and its name.
    pub(super) link: Option<(String, &'static str)>,
}

impl Note {
    pub(super) fn new(finding: &Finding) -> Self {
        let link = match finding {
            Finding::PausedQueue { queue, .. } => Some((
                format!("/queues/{}", url::part(queue.as_str())),
                "Show the queue",
            )),
            Finding::DeadSetFull { .. } => Some(("/dead".to_owned(), "Show dead jobs")),
            Finding::UnknownClass { class, .. } => url::fits(class).then(|| {
                let path = format!("/retries?class={}", url::value(class));
                (path, "Show its retries")
            }),
            Finding::LockWithoutJob { lock, .. } => {
                Some((format!("/locks/{lock}"), "Show the lock"))
            }
            Finding::LocksBypassed { .. } => Some(("/processes".to_owned(), "Show the processes")),
            Finding::CronDamaged { .. }
            | Finding::CronLate { .. }
            | Finding::CronOrphaned { .. }
            | Finding::CronDisagrees { .. }
            | Finding::CronNobodyRuns { .. } => {
                cfg!(feature = "cron").then(|| ("/cron".to_owned(), "Show periodic jobs"))
            }
            Finding::DeadNode { .. } | Finding::ForeignList { .. } | Finding::OldNode { .. } => {
                Some(("/nodes".to_owned(), "Show the nodes"))
            }
            Finding::EvictingServer { .. } | Finding::DiskFails | Finding::NotAppendOnly => {
                Some(("/redis".to_owned(), "Show the server"))
            }
            _ => None,
        };
        let text = match finding {
            Finding::PausedQueue { queue, jobs } => format!(
                "Queue {queue} is paused on all nodes, and {} in it. Resume it if nobody needs the pause any more.",
                if *jobs == 1 {
                    "1 job waits".to_owned()
                } else {
                    format!("{} jobs wait", text::count(jobs))
                },
            ),
            other => text::sentence(&other.to_string()),
        };
        Self {
            severity: finding.severity(),
            text: text::cut(&text, 1_000),
            link,
        }
    }

    pub(super) fn shape(&self) -> char {
        match self.severity {
            Severity::Error => '▲',
            Severity::Warning => '◆',
            Severity::Notice => '●',
        }
    }

    pub(super) fn word(&self) -> &'static str {
        match self.severity {
            Severity::Error => "Error",
            Severity::Warning => "Warning",
            Severity::Notice => "Notice",
        }
    }
}

#[derive(Template)]
#[template(path = "doctor.html")]
struct DoctorPage {
    page: Page,
    /// `None` until the first check of the storage ends.
    checkup: Option<Checked>,
    findings: Vec<Note>,
}

/// What was examined.
struct Checked {
    at: text::When,
    jobs: usize,
    complete: bool,
}

async fn show(context: Context) -> Result<Response, Failure> {
    let app = &context.app;
    let checkup = app.checkups.newest().await;
    let snapshot = app.poller.snapshot().await?;
    let findings = checkup.as_ref().map(|checkup| {
        let findings = checkup.report.findings.iter();
        findings.map(Note::new).collect()
    });
    html(&DoctorPage {
        page: Page::new(&context, &snapshot, "doctor", "Doctor"),
        findings: findings.unwrap_or_default(),
        checkup: checkup.map(|checkup| Checked {
            at: text::when(checkup.at, app.admin.now()),
            jobs: checkup.report.jobs,
            complete: checkup.report.complete,
        }),
    })
}
