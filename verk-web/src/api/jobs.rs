//! Jobs that wait: lists and single ones.

use axum::{extract::Path, response::Response};
use serde::Serialize;
use verk_core::storage::{MAX_BATCH_JOBS, Order};

use super::json;
use crate::{
    context::Context,
    failure::Failure,
    pages::{
        find::reference,
        job::find_entry,
        jobs::{Filters, PER_PAGE, read},
    },
    place::Place,
    routes::Route,
    url::Name,
    values::{EntryValue, WhyValue},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/jobs/{jid}", why),
        Route::get("/api/v1/sets/{set}/jobs", of_set),
        Route::get("/api/v1/sets/{set}/jobs/{key}", one_of_set),
        Route::get("/api/v1/queues/{queue}/jobs", of_queue),
        Route::get("/api/v1/queues/{queue}/jobs/{key}", one_of_queue),
    ]
}

/// The set of a path: `scheduled`, `retries` or `dead`.
pub(super) fn set(name: &str) -> Result<Place, Failure> {
    match name {
        "scheduled" => Ok(Place::Scheduled),
        "retries" => Ok(Place::Retries),
        "dead" => Ok(Place::Dead),
        _ => Err(Failure::not_found(
            "A set is `scheduled`, `retries` or `dead`.",
        )),
    }
}

/// `limit`: how many jobs a page has, 25 unless set, at most 100.
pub(super) fn limit(context: &Context) -> Result<usize, Failure> {
    let limit = context
        .query
        .get("limit")
        .map_or(Ok(PER_PAGE), str::parse::<usize>);
    let limit = limit.map_err(|_| Failure::bad("`limit` is a whole number."))?;
    Ok(limit.clamp(1, MAX_BATCH_JOBS))
}

#[derive(Serialize)]
struct List {
    jobs: Vec<EntryValue>,
    /// How many jobs the place has.
    total: u64,
    /// How many were read for this answer.
    examined: u64,
    /// The value of `at` for the page after this.
    next: Option<String>,
    previous: Option<String>,
}

async fn of_set(Path(name): Path<String>, context: Context) -> Result<Response, Failure> {
    list(&context, &set(&name)?).await
}

async fn of_queue(Path(Name(name)): Path<Name>, context: Context) -> Result<Response, Failure> {
    list(&context, &Place::queue(&name)?).await
}

/// `class`, `queue`, `error`, `text`, `since` and `until` filter; `order` is `oldest` or `newest`.
async fn list(context: &Context, place: &Place) -> Result<Response, Failure> {
    let app = &context.app;
    let filters = Filters::read(&context.query, place, app.settings.payloads.are_shown())?;
    let order = match context.query.get("order") {
        Some("newest") => Order::NewestFirst,
        Some("oldest") | None => Order::OldestFirst,
        Some(_) => return Err(Failure::bad("`order` is `oldest` or `newest`.")),
    };
    let listed = read(context, place, &filters, order, limit(context)?).await?;
    json(&List {
        jobs: listed
            .entries
            .iter()
            .map(|entry| EntryValue::new(entry, &app.settings.payloads))
            .collect(),
        total: listed.total,
        examined: listed.looked_at,
        next: listed.next.map(|next| next.to_string()),
        previous: listed.previous.map(|previous| previous.to_string()),
    })
}

async fn why(Path(Name(jid)): Path<Name>, context: Context) -> Result<Response, Failure> {
    let why = context.app.admin.why(&reference(&context, &jid)?).await?;
    json(&WhyValue::new(&why))
}

async fn one_of_set(
    Path((name, key)): Path<(String, String)>,
    context: Context,
) -> Result<Response, Failure> {
    one(&context, &set(&name)?, &key).await
}

async fn one_of_queue(
    Path((Name(name), key)): Path<(Name, String)>,
    context: Context,
) -> Result<Response, Failure> {
    one(&context, &Place::queue(&name)?, &key).await
}

async fn one(context: &Context, place: &Place, key: &str) -> Result<Response, Failure> {
    let found = find_entry(&context.app, place, key).await?;
    let entry = found.ok_or_else(|| {
        Failure::not_found("This job is not there any more: it ran, moved, or was deleted.")
    })?;
    json(&EntryValue::new(&entry, &context.app.settings.payloads))
}
