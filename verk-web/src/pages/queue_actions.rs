//! Pausing, resuming and clearing a queue.

use askama::Template;
use axum::{body::Bytes, extract::Path, response::Response};
use verk_core::manage::{AuditEntry, PauseNote};

use super::{Page, actions::back, html};
use crate::{
    access::Role,
    context::{Context, Params},
    failure::Failure,
    place::Place,
    routes::Route,
    text,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/queues/{queue}/pause", Role::Operate, pause),
        Route::post("/queues/{queue}/resume", Role::Operate, resume),
        Route::post("/queues/{queue}/clear", Role::Admin, clear),
    ]
}

async fn pause(
    Path(name): Path<String>,
    context: Context,
    body: Bytes,
) -> Result<Response, Failure> {
    let place = Place::queue(&name)?;
    let form = Params::parse(&body);
    let mut note = PauseNote::new();
    if let Some(who) = &context.visitor.name {
        note = note.by(who);
    }
    if let Some(reason) = form.get("reason") {
        note = note.reason(text::short(reason, 200));
    }
    context.app.admin.pause_queue(&name, note).await?;
    context
        .audit(AuditEntry::new("pause").on(place.phrase()))
        .await;
    Ok(back(
        &context,
        &place.path(),
        &[("done", "paused".to_owned())],
    ))
}

async fn resume(Path(name): Path<String>, context: Context) -> Result<Response, Failure> {
    let place = Place::queue(&name)?;
    context.app.admin.resume_queue_everywhere(&name).await?;
    context
        .audit(AuditEntry::new("resume").on(place.phrase()))
        .await;
    Ok(back(
        &context,
        &place.path(),
        &[("done", "resumed".to_owned())],
    ))
}

#[derive(Template)]
#[template(path = "clear.html")]
struct Clear {
    page: Page,
    place: Place,
    name: String,
    count: usize,
    mistyped: bool,
}

/// Removes all jobs of a queue, once its name was typed.
async fn clear(
    Path(name): Path<String>,
    context: Context,
    body: Bytes,
) -> Result<Response, Failure> {
    let place = Place::queue(&name)?;
    let form = Params::parse(&body);
    let jobs = place.jobs(&context.app.admin)?;
    let typed = form.all("typed").next();
    if typed == Some(&name) {
        let removed = jobs.clear().await?;
        context
            .audit(
                AuditEntry::new("clear")
                    .on(place.phrase())
                    .count(removed as u64),
            )
            .await;
        let done = [("done", "cleared".to_owned()), ("n", removed.to_string())];
        return Ok(back(&context, &place.path(), &done));
    }
    let snapshot = context.app.poller.snapshot().await?;
    html(&Clear {
        page: Page::new(&context, &snapshot, "queues", format!("Clear {name}")),
        count: jobs.count().await?,
        mistyped: typed.is_some(),
        place,
        name,
    })
}
