//! A job by its id: where it is, and why it does not run.

use std::time::SystemTime;

use askama::Template;
use axum::{
    extract::Path,
    response::{IntoResponse, Redirect, Response},
};
use verk_core::{
    manage::{Entry, Explanation, JobPlace, JobRef, RefPlace, Why},
    storage::JobSet,
};

use super::{Page, html, job, processes};
use crate::{
    context::Context,
    failure::Failure,
    place::Place,
    routes::Route,
    text::{self, Piece},
    url::{self, Name},
};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/jobs", search), Route::get("/jobs/{jid}", show)]
}

/// The form of the navigation.
async fn search(context: Context) -> Response {
    let jid = context.query.get("jid").unwrap_or_default();
    let to = match jid {
        "" => context.base.root,
        jid => format!("{}/jobs/{}", context.base, url::part(jid)),
    };
    Redirect::to(&to).into_response()
}

#[derive(Template)]
#[template(path = "find.html")]
struct FindPage {
    page: Page,
    jid: String,
    found: Option<Found>,
    /// How many jobs were read, of how many, and where to continue.
    searching: Option<(u64, u64, String)>,
}

struct Found {
    class: Option<String>,
    place: String,
    /// The page of its place.
    path: Option<String>,
    reasons: Vec<Vec<Piece>>,
}

/// The page of the place of a job.
fn path(place: &JobPlace) -> Option<String> {
    Some(match place {
        JobPlace::Queue(queue) => format!("/queues/{}", url::part(queue.as_str())),
        JobPlace::Set(JobSet::Schedule) => "/scheduled".to_owned(),
        JobPlace::Set(JobSet::Retry) => "/retries".to_owned(),
        JobPlace::Set(JobSet::Dead) => "/dead".to_owned(),
        JobPlace::Lock(lock) => format!("/locks/{lock}"),
        JobPlace::Node { .. } => "/nodes".to_owned(),
        JobPlace::Process { process, .. } => return processes::path(process),
        _ => return None,
    })
}

/// Why it is not running, the most decisive reason first.
pub(super) fn sentences(known: &Explanation, now: SystemTime) -> Vec<Vec<Piece>> {
    let reasons = known.reasons.iter();
    reasons
        .map(|reason| text::cut(&text::sentence(&reason.to_string()), 1_000))
        .map(|sentence| text::pieces(&sentence, now))
        .collect()
}

/// Reads where a search continues.
pub(crate) fn reference(context: &Context, jid: &str) -> Result<JobRef, Failure> {
    let job = JobRef::new(jid);
    Ok(match context.cursor::<RefPlace>()? {
        None => job,
        Some(at) => job.at(at),
    })
}

/// The job, if the address says in which set and when it was seen, and it is still there.
async fn seen(context: &Context, jid: &str) -> Result<Option<(Place, Entry)>, Failure> {
    let Some(RefPlace::Set { set, score }) = context.cursor::<RefPlace>()? else {
        return Ok(None);
    };
    let place = match set {
        JobSet::Schedule => Place::Scheduled,
        JobSet::Retry => Place::Retries,
        JobSet::Dead => Place::Dead,
    };
    let entry = job::find_entry(&context.app, &place, &format!("{score}-{jid}")).await?;
    // A payload that is no job has no page.
    Ok(entry
        .filter(|entry| entry.job().is_ok())
        .map(|entry| (place, entry)))
}

async fn show(Path(Name(jid)): Path<Name>, context: Context) -> Result<Response, Failure> {
    let reference = reference(&context, &jid)?;
    if let Some((place, entry)) = seen(&context, &jid).await? {
        return job::show(&context, place, Some(entry)).await;
    }
    let why = context.app.admin.why(&reference).await?;
    let snapshot = context.app.poller.snapshot().await?;
    let (mut found, mut searching) = (None, None);
    match why {
        Why::Known(known) => {
            found = Some(Found {
                place: text::cut(&known.place.to_string(), 1_000),
                path: path(&known.place),
                reasons: sentences(&known, context.app.admin.now()),
                class: known.class.map(|class| text::short(&class, 200)),
            });
        }
        Why::Searching {
            looked_at,
            of,
            next,
        } => {
            let at = next
                .place
                .map(|place| place.to_string())
                .unwrap_or_default();
            searching = Some((looked_at, of, context.query.with("at", Some(&at))));
        }
    }
    html(&FindPage {
        page: Page::new(
            &context,
            &snapshot,
            "",
            format!("Job {}", text::short(&jid, 100)),
        ),
        jid: url::part(&jid),
        found,
        searching,
    })
}
