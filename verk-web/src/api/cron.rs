//! Periodic jobs.

use axum::{body::Bytes, extract::Path, response::Response};
use serde::Serialize;

use super::{
    actions::{Body, Changed},
    jobs::limit,
    json,
};
use crate::{
    access::Role, context::Context, failure::Failure, pages::cron::read, routes::Route, url::Name,
    values::CronValue,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/cron", entries),
        Route::get("/api/v1/cron/{name}", entry),
        Route::post("/api/v1/cron/{name}/run", Role::Operate, run),
        Route::post("/api/v1/cron/{name}/pause", Role::Operate, pause),
        Route::post("/api/v1/cron/{name}/resume", Role::Operate, resume),
        Route::post("/api/v1/cron/{name}/remove", Role::Admin, remove),
    ]
}

#[derive(Serialize)]
struct EntriesValue<'a> {
    entries: Vec<CronValue<'a>>,
    /// The value of `at` for the page after this.
    next: Option<String>,
}

async fn entries(context: Context) -> Result<Response, Failure> {
    let at = context.query.get("at").map_or(Ok(0), str::parse::<usize>);
    let at = at.map_err(|_| Failure::bad("`at` is the `next` of another page."))?;
    let (entries, next) = read(&context, at, limit(&context)?).await?;
    let payloads = &context.app.settings.payloads;
    let entries = entries.iter();
    json(&EntriesValue {
        entries: entries
            .map(|entry| CronValue::new(entry, payloads))
            .collect(),
        next: next.map(|next| next.to_string()),
    })
}

async fn entry(Path(Name(name)): Path<Name>, context: Context) -> Result<Response, Failure> {
    let entry = context.entry(&name).await?;
    json(&CronValue::new(&entry, &context.app.settings.payloads))
}

#[derive(Serialize)]
struct Ran {
    jid: String,
}

async fn run(Path(Name(name)): Path<Name>, context: Context) -> Result<Response, Failure> {
    let jid = context.run_entry(&name).await?.to_string();
    json(&Ran { jid })
}

async fn pause(
    Path(Name(name)): Path<Name>,
    context: Context,
    body: Bytes,
) -> Result<Response, Failure> {
    let body = Body::read(&body)?;
    let changed = context.pause_entry(&name, body.reason.as_deref()).await?;
    json(&Changed { changed })
}

async fn resume(Path(Name(name)): Path<Name>, context: Context) -> Result<Response, Failure> {
    let changed = context.resume_entry(&name).await?;
    json(&Changed { changed })
}

async fn remove(Path(Name(name)): Path<Name>, context: Context) -> Result<Response, Failure> {
    let changed = context.remove_entry(&name).await?;
    json(&Changed { changed })
}
