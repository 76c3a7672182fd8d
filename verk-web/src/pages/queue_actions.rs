//! Pausing, resuming and clearing a queue.

use askama::Template;
use axum::{body::Bytes, extract::Path, response::Response};

use super::{Page, actions::back, html};
use crate::{
    access::Role,
    context::{Context, Params},
    failure::Failure,
    place::Place,
    routes::Route,
    text,
    url::Name,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/queues/{queue}/pause", Role::Operate, pause),
        Route::post("/queues/{queue}/resume", Role::Operate, resume),
        Route::post("/queues/{queue}/clear", Role::Admin, clear),
    ]
}

async fn pause(
    Path(Name(name)): Path<Name>,
    context: Context,
    body: Bytes,
) -> Result<Response, Failure> {
    let form = Params::parse(&body);
    context.pause(&name, form.get("reason")).await?;
    let done = [("done", "paused".to_owned())];
    Ok(back(&context, &Place::queue(&name)?.path(), &done))
}

async fn resume(Path(Name(name)): Path<Name>, context: Context) -> Result<Response, Failure> {
    context.resume(&name).await?;
    let done = [("done", "resumed".to_owned())];
    Ok(back(&context, &Place::queue(&name)?.path(), &done))
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
    Path(Name(name)): Path<Name>,
    context: Context,
    body: Bytes,
) -> Result<Response, Failure> {
    let place = Place::queue(&name)?;
    let form = Params::parse(&body);
    let typed = form.all("typed").next();
    if typed == Some(&name) {
        let removed = context.clear(&place).await?;
        let done = [("done", "cleared".to_owned()), ("n", removed.to_string())];
        return Ok(back(&context, &place.path(), &done));
    }
    let snapshot = context.app.poller.snapshot().await?;
    html(&Clear {
        page: Page::new(&context, &snapshot, "queues", format!("Clear {name}")),
        count: place.jobs(&context.app.admin)?.count().await?,
        mistyped: typed.is_some(),
        place,
        name,
    })
}
