//! One job: what is known of it, what happened, and what can be done.

use std::time::SystemTime;

use askama::Template;
use axum::{extract::Path, response::Response};
use verk_core::{
    Job,
    job::{Backtrace, RetryLimit},
    manage::{Entry, EntryKey, JobRef, Place as At, Why},
};

use super::{Page, find, html, jobs, locks::LockRow};
use crate::{
    access::Role,
    app::App,
    context::Context,
    failure::Failure,
    json,
    place::Place,
    routes::Route,
    text,
    url::{self, Name},
};

/// How much of the arguments, and of the payload, a page shows.
const MAX_JSON: usize = 64 * 1_024;

/// How many characters a page shows of a name, and of a message; and how many frames.
const MAX_NAME: usize = 1_000;
const MAX_MESSAGE: usize = 16 * 1_024;
const MAX_FRAMES: usize = 100;

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    page: Page,
    place: Place,
    view: JobView,
    /// Why it is not running, the most decisive reason first.
    reasons: Vec<Vec<text::Piece>>,
    /// The unique lock that it names, and who holds it.
    lock: Option<Lock>,
    may_operate: bool,
    may_admin: bool,
}

/// The unique lock that a job names.
struct Lock {
    id: String,
    /// The job that holds it, if that is another one.
    holder: Option<LockRow>,
    /// Whether this job holds it.
    is_held: bool,
}

impl Lock {
    /// Reads the lock of a job.
    async fn read(app: &App, entry: &Entry, job: &Job) -> Result<Option<Self>, Failure> {
        let Some(id) = entry.lock() else {
            return Ok(None);
        };
        let stored = app.admin.lock(id).await?;
        let is_held = stored.as_ref().is_some_and(|lock| lock.jid == *job.jid());
        let other = stored.filter(|_| !is_held);
        Ok(Some(Self {
            id: id.to_string(),
            holder: other.map(|lock| LockRow::new(lock, app.admin.now())),
            is_held,
        }))
    }
}

/// What a page shows of a job.
pub(crate) struct JobView {
    /// What a form sends, so that an action meets exactly this job.
    pub(crate) form_key: String,
    pub(crate) jid: String,
    pub(crate) queue: Option<(String, String)>,
    /// Where it is, and when that began or ends.
    pub(crate) badge: (String, Option<text::When>),
    pub(crate) failed: bool,
    pub(crate) times: Vec<Moment>,
    pub(crate) error_class: Option<String>,
    pub(crate) error_message: Option<String>,
    pub(crate) backtrace: Vec<String>,
    /// Further facts, by name.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// `None` if they are hidden.
    pub(crate) args: Option<String>,
    pub(crate) payload: Option<String>,
}

/// A moment in the life of a job.
pub(crate) struct Moment {
    pub(crate) when: text::When,
    pub(crate) what: String,
    pub(crate) kind: &'static str,
}

impl JobView {
    pub(crate) fn new(entry: &Entry, job: &Job, app: &App, place: &Place, now: SystemTime) -> Self {
        let at = entry.at();
        let badge = match (place, at) {
            (Place::Queue(_), _) => "waiting".to_owned(),
            (Place::Scheduled, Some(_)) => "due".to_owned(),
            (Place::Retries, Some(_)) => "retries".to_owned(),
            (Place::Dead, Some(_)) => "died".to_owned(),
            (_, None) => place.heading(),
        };
        let badge_at = at.filter(|_| !place.is_queue());
        Self {
            form_key: jobs::form_key(entry),
            jid: text::cut(job.jid().as_str(), MAX_NAME),
            queue: job
                .queue()
                .map(|queue| (queue.to_string(), url::part(queue.as_str()))),
            badge: (badge, badge_at.map(|at| text::when(at, now))),
            failed: place.has_errors(),
            times: times(job, place, at, now),
            error_class: job.error_class().map(|class| text::cut(&class, MAX_NAME)),
            error_message: job
                .error_message()
                .map(|message| text::cut(&message, MAX_MESSAGE)),
            backtrace: backtrace(job),
            facts: facts(job),
            args: app
                .settings
                .payloads
                .args(job)
                .map(|args| json::pretty(&args, MAX_JSON)),
            payload: app
                .settings
                .payloads
                .are_shown()
                .then(|| json::pretty(&String::from_utf8_lossy(entry.payload()), MAX_JSON)),
        }
    }
}

fn backtrace(job: &Job) -> Vec<String> {
    let all = job.error_backtrace();
    let frames = all.iter().take(MAX_FRAMES);
    let mut shown: Vec<String> = frames.map(|frame| text::cut(frame, MAX_NAME)).collect();
    if all.len() > MAX_FRAMES {
        shown.push(format!("and {} more", text::count(all.len() - MAX_FRAMES)));
    }
    shown
}

fn times(job: &Job, place: &Place, at: Option<SystemTime>, now: SystemTime) -> Vec<Moment> {
    let failures = job.failures();
    let last = match failures {
        0 | 1 => None,
        more => job
            .retried_at()
            .map(|at| (at, format!("failed, time {more}"), "bad")),
    };
    let end = at.map(|at| match place {
        Place::Dead => (at, "moved to the dead set".to_owned(), "bad"),
        Place::Retries => (at, "next try".to_owned(), "next"),
        Place::Scheduled | Place::Queue(_) => (at, "due".to_owned(), "next"),
    });
    let mut times: Vec<(SystemTime, String, &'static str)> = [
        job.created_at().map(|at| (at, "created".to_owned(), "")),
        job.enqueued_at()
            .map(|at| (at, "entered its queue".to_owned(), "")),
        job.failed_at()
            .map(|at| (at, "failed first".to_owned(), "bad")),
        last,
        end,
        job.expires_at()
            .map(|at| (at, "expires".to_owned(), "next")),
    ]
    .into_iter()
    .flatten()
    .collect();
    times.sort_by_key(|(at, ..)| *at);
    let moment = |(at, what, kind)| Moment {
        when: text::when(at, now),
        what,
        kind,
    };
    times.into_iter().map(moment).collect()
}

fn facts(job: &Job) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let tags = job.tags();
    if !tags.is_empty() {
        facts.push(("Tags", text::cut(&tags.join(", "), MAX_NAME)));
    }
    facts.push((
        "Retries",
        match job.retry_limit() {
            RetryLimit::Never => "none; it is not kept when it fails".to_owned(),
            RetryLimit::Default => format!("{} used, as many as the node allows", job.failures()),
            RetryLimit::Times(limit) => {
                let failures = text::some(u64::from(job.failures()), "failure", "failures");
                let limit = text::some(u64::from(limit), "time", "times");
                format!("{failures}, retried at most {limit}")
            }
        },
    ));
    if let Some(retry_for) = job.retry_for() {
        facts.push(("Retried for", text::duration(retry_for)));
    }
    if let Some(queue) = job.retry_queue() {
        facts.push(("Retried in", queue.to_string()));
    }
    if job.backtrace() != Backtrace::Off {
        facts.push(("Backtrace", "asked for".to_owned()));
    }
    if job.is_encrypted() {
        facts.push(("Encrypted", "the last argument".to_owned()));
    }
    if let Some(trace) = job.get("traceparent") {
        facts.push(("Trace", text::short(trace.trim_matches('"'), 200)));
    }
    facts
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/scheduled/{key}", scheduled),
        Route::get("/retries/{key}", retry),
        Route::get("/dead/{key}", dead),
        Route::get("/queues/{queue}/jobs/{key}", waiting),
    ]
}

async fn scheduled(key: Path<String>, context: Context) -> Result<Response, Failure> {
    of_set(key, context, Place::Scheduled).await
}

async fn retry(key: Path<String>, context: Context) -> Result<Response, Failure> {
    of_set(key, context, Place::Retries).await
}

async fn dead(key: Path<String>, context: Context) -> Result<Response, Failure> {
    of_set(key, context, Place::Dead).await
}

async fn of_set(
    Path(key): Path<String>,
    context: Context,
    place: Place,
) -> Result<Response, Failure> {
    let entry = find_entry(&context.app, &place, &key).await?;
    show(&context, place, entry).await
}

async fn waiting(
    Path((Name(name), key)): Path<(Name, String)>,
    context: Context,
) -> Result<Response, Failure> {
    let place = Place::queue(&name)?;
    let entry = find_entry(&context.app, &place, &key).await?;
    show(&context, place, entry).await
}

/// Finds a job by the last part of its address: `score-jid`, or in a queue `index-jid`. A job of a
/// queue may have moved up since.
pub(crate) async fn find_entry(
    app: &App,
    place: &Place,
    key: &str,
) -> Result<Option<Entry>, Failure> {
    let jobs = place.jobs(&app.admin)?;
    if !place.is_queue() {
        return Ok(match key.parse::<EntryKey>() {
            Ok(key) => jobs.entry_at(&key).await?,
            Err(_) => None,
        });
    }
    let (index, jid) = key.split_once('-').unwrap_or_default();
    let Ok(index) = index.parse::<u64>() else {
        return Ok(None);
    };
    let around = jobs.around(At::Index(index)).await?;
    let is_it = |entry: &Entry| entry.job().is_ok_and(|job| job.jid().as_str() == jid);
    Ok(around.into_iter().find(is_it))
}

pub(super) async fn show(
    context: &Context,
    place: Place,
    entry: Option<Entry>,
) -> Result<Response, Failure> {
    let app = &context.app;
    let gone = || {
        Failure::not_found(format!(
            "This job is not {} any more: it ran, moved, or was deleted. Search for it by its id.",
            place.phrase()
        ))
    };
    let entry = entry.ok_or_else(gone)?;
    let job = entry.job().map_err(|_| gone())?;
    let snapshot = app.poller.snapshot().await?;
    let mut reasons = Vec::new();
    if let Some(reference) = JobRef::of(&entry)
        && let Why::Known(known) = app.admin.why(&reference).await?
    {
        reasons = find::sentences(&known, app.admin.now());
    }
    let lock = Lock::read(app, &entry, job).await?;
    let view = JobView::new(&entry, job, app, &place, app.admin.now());
    html(&JobPage {
        page: Page::new(
            context,
            &snapshot,
            place.nav_key(),
            text::short(job.class(), 200),
        ),
        view,
        reasons,
        lock,
        place,
        may_operate: context.may(Role::Operate),
        may_admin: context.may(Role::Admin),
    })
}
