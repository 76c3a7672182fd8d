//! The locks of unique jobs, one of them, and its release.

use std::time::SystemTime;

use askama::Template;
use axum::{body::Bytes, extract::Path, response::Response};
use verk_core::{
    job::HolderPlace,
    manage::{LockId, LockPage, RefPlace, StoredLock},
    storage::{JobSet, Page as Slice},
    time::unix_seconds,
};

use super::{Page, actions::back, html, jobs::PER_PAGE};
use crate::{
    access::Role,
    actions::Seen,
    context::{Context, Params},
    failure::Failure,
    routes::Route,
    text, url,
};

/// The most characters that are shown of an id and a class.
const SHORT: usize = 160;

/// How many digits of the id of a lock tell it from others, for people.
const DIGITS: usize = 8;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/locks", list),
        Route::get("/locks/{lock}", show),
        Route::post("/locks/{lock}/release", Role::Admin, release),
    ]
}

/// The id of an address.
pub(crate) fn id(text: &str) -> Result<LockId, Failure> {
    text.parse()
        .map_err(|_| Failure::not_found("The id of a lock has 32 lower-case hex digits."))
}

/// Where the page after this begins.
pub(crate) fn next(page: &LockPage, offset: usize) -> Option<usize> {
    let end = offset.saturating_add(page.looked_at);
    (page.looked_at > 0 && end < page.len).then_some(end)
}

/// A lock as a page shows it.
pub(super) struct LockRow {
    pub(super) id: String,
    /// Its first digits.
    pub(super) short: String,
    pub(super) jid: String,
    /// Where the job is found; `None` if its id is too long for an address.
    pub(super) job: Option<String>,
    pub(super) class: String,
    pub(super) place: &'static str,
    /// The queue of the place, and its path.
    queue: Option<(String, String)>,
    pub(super) at: Option<text::When>,
    since: text::When,
    until: Option<text::When>,
    conflicts: u64,
    next: Option<(String, Option<String>)>,
    /// What a form sends.
    whole_jid: String,
    revision: u64,
}

impl LockRow {
    pub(super) fn new(lock: StoredLock, now: SystemTime) -> Self {
        let id = lock.id.to_string();
        let job = url::page("/jobs/", lock.jid.as_str());
        let set = |set, at: SystemTime| {
            let score = unix_seconds(at);
            let seen = RefPlace::Set { set, score };
            format!("?at={}", url::value(&seen.to_string()))
        };
        let (place, at, seen) = match &lock.place {
            HolderPlace::Waiting { .. } => ("in its queue, or running", None, String::new()),
            HolderPlace::Scheduled(at) => ("scheduled", Some(*at), set(JobSet::Schedule, *at)),
            HolderPlace::Retrying(at) => ("waits for a retry", Some(*at), set(JobSet::Retry, *at)),
            HolderPlace::Dead(at) => ("dead", Some(*at), set(JobSet::Dead, *at)),
        };
        let queue = match &lock.place {
            HolderPlace::Waiting { queue } => Some((queue.to_string(), url::part(queue.as_str()))),
            _ => None,
        };
        Self {
            short: id.chars().take(DIGITS).collect(),
            id,
            jid: text::short(lock.jid.as_str(), SHORT),
            job: job.map(|job| format!("{job}{seen}")),
            class: text::short(&lock.class, SHORT),
            place,
            queue,
            at: at.map(|at| text::when(at, now)),
            since: text::when(lock.since, now),
            until: lock.until.map(|at| text::when(at, now)),
            conflicts: lock.conflicts,
            next: lock.next.map(|(jid, _)| {
                let path = url::page("/jobs/", jid.as_str());
                (text::short(jid.as_str(), SHORT), path)
            }),
            whole_jid: lock.jid.to_string(),
            revision: lock.revision,
        }
    }
}

#[derive(Template)]
#[template(path = "locks.html")]
struct LocksPage {
    page: Page,
    rows: Vec<LockRow>,
    total: usize,
    next: Option<usize>,
    first: bool,
}

async fn list(context: Context) -> Result<Response, Failure> {
    let offset = context.query.get("from").map_or(Ok(0), str::parse);
    let offset = offset.map_err(|_| Failure::bad("`from` is a whole number."))?;
    let admin = &context.app.admin;
    let slice = Slice {
        offset,
        limit: PER_PAGE,
    };
    let locks = admin.locks(slice).await?;
    let snapshot = context.app.poller.snapshot().await?;
    let now = admin.now();
    html(&LocksPage {
        page: Page::new(&context, &snapshot, "locks", "Locks"),
        total: locks.len,
        next: next(&locks, offset),
        first: offset == 0,
        rows: locks
            .locks
            .into_iter()
            .map(|lock| LockRow::new(lock, now))
            .collect(),
    })
}

#[derive(Template)]
#[template(path = "lock.html")]
struct LockView {
    page: Page,
    id: LockId,
    /// `None` if it is free.
    row: Option<LockRow>,
    may_admin: bool,
    /// Whether this asks before the release.
    asks: bool,
}

async fn show(Path(lock): Path<String>, context: Context) -> Result<Response, Failure> {
    let id = id(&lock)?;
    let lock = context.app.admin.lock(id).await?;
    view(&context, id, lock, false).await
}

async fn view(
    context: &Context,
    id: LockId,
    lock: Option<StoredLock>,
    asks: bool,
) -> Result<Response, Failure> {
    let snapshot = context.app.poller.snapshot().await?;
    let now = context.app.admin.now();
    let short: String = id.to_string().chars().take(DIGITS).collect();
    let heading = match asks {
        true => format!("Release lock {short}"),
        false => format!("Lock {short}"),
    };
    html(&LockView {
        page: Page::new(context, &snapshot, "locks", heading),
        id,
        row: lock.map(|lock| LockRow::new(lock, now)),
        may_admin: context.may(Role::Admin),
        asks,
    })
}

/// Releases a lock that is still as the page showed it, once that was confirmed.
async fn release(
    Path(lock): Path<String>,
    context: Context,
    body: Bytes,
) -> Result<Response, Failure> {
    let id = id(&lock)?;
    let form = Params::parse(&body);
    let revision = form.get("revision").and_then(|text| text.parse().ok());
    let (Some(jid), Some(revision)) = (form.all("jid").next(), revision) else {
        return Err(Failure::bad("This form is not one of these pages."));
    };
    let seen = Seen {
        jid: Some(jid.to_owned()),
        revision: Some(revision),
    };
    let mut released = false;
    if form.get("confirm").is_some() {
        released = context.release(id, &seen).await?;
    } else {
        let lock = context.app.admin.lock(id).await?;
        if let Some(lock) = lock.filter(|lock| seen.is(lock)) {
            return view(&context, id, Some(lock), true).await;
        }
    }
    let done = [
        ("done", "released".to_owned()),
        ("n", u64::from(released).to_string()),
    ];
    Ok(back(&context, &format!("/locks/{id}"), &done))
}
