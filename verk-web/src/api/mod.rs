//! The JSON API: what the pages show, for programs.
//!
//! Its addresses are below `/api/v1`, and `openapi.json` describes them. An error is a problem of
//! RFC 9457.

mod actions;
#[cfg(feature = "cron")]
mod cron;
mod enqueue;
mod fleet;
mod jobs;
mod locks;
mod openapi;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{failure::Failure, routes::Route};

/// The routes of the API.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = fleet::routes();
    routes.extend(jobs::routes());
    routes.extend(actions::routes());
    routes.extend(locks::routes());
    #[cfg(feature = "cron")]
    routes.extend(cron::routes());
    routes.extend(enqueue::routes());
    routes.extend(openapi::routes());
    routes
}

/// A value as an answer.
fn json(value: &impl Serialize) -> Result<Response, Failure> {
    Ok(Json(value).into_response())
}
