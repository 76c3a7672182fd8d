//! The locks of unique jobs.

use axum::{body::Bytes, extract::Path, http::StatusCode, response::Response};
use serde::Serialize;
use verk_core::storage::Page as Slice;

use super::{
    actions::{Body, Changed},
    jobs::limit,
    json,
};
use crate::{
    access::Role,
    actions::Seen,
    context::Context,
    failure::Failure,
    pages::locks::{id, next},
    routes::Route,
    values::LockValue,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/locks", locks),
        Route::get("/api/v1/locks/{lock}", lock),
        Route::post("/api/v1/locks/{lock}/release", Role::Admin, release),
    ]
}

#[derive(Serialize)]
struct LocksValue<'a> {
    locks: Vec<LockValue<'a>>,
    /// About how many locks there are.
    total: usize,
    /// The value of `at` for the page after this.
    next: Option<String>,
}

async fn locks(context: Context) -> Result<Response, Failure> {
    let offset = context.query.get("at").map_or(Ok(0), str::parse::<usize>);
    let offset = offset.map_err(|_| Failure::bad("`at` is the `next` of another page."))?;
    let limit = limit(&context)?;
    let page = context.app.admin.locks(Slice { offset, limit }).await?;
    json(&LocksValue {
        locks: page.locks.iter().map(LockValue::new).collect(),
        total: page.len,
        next: next(&page, offset).map(|next| next.to_string()),
    })
}

async fn lock(Path(lock): Path<String>, context: Context) -> Result<Response, Failure> {
    let lock = context.app.admin.lock(id(&lock)?).await?;
    let lock = lock.ok_or_else(|| Failure::not_found("This lock is free: no job holds it."))?;
    json(&LockValue::new(&lock))
}

async fn release(
    Path(lock): Path<String>,
    context: Context,
    body: Bytes,
) -> Result<Response, Failure> {
    let Body { jid, revision, .. } = Body::read(&body)?;
    let released = context.release(id(&lock)?, &Seen { jid, revision }).await?;
    if !released {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            "This lock is free, or has changed: nothing was done.",
        ));
    }
    json(&Changed { changed: true })
}
