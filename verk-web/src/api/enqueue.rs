//! A job that a program enqueues.

use std::time::Duration;

use axum::{
    body::Bytes,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use verk_core::{
    EnqueueExt as _,
    error::{Applied, EnqueueError},
};

use super::json;
use crate::{access::Role, context::Context, failure::Failure, pages::jobs::time, routes::Route};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::post("/api/v1/jobs", Role::Admin, enqueue)]
}

/// The body of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    class: String,
    /// A list. They are stored as they are written here, unless the worker of this program reads
    /// them.
    args: Box<RawValue>,
    /// Without it, that of the worker, or `default`.
    queue: Option<String>,
    /// When it runs: RFC 3339. Without it, now.
    time: Option<String>,
    /// As `time`, in seconds from now.
    r#in: Option<u64>,
}

#[derive(Serialize)]
struct Enqueued {
    jid: String,
    /// Whether a worker of this program read the arguments.
    checked: bool,
}

async fn enqueue(context: Context, body: Bytes) -> Result<Response, Failure> {
    let body: Body = serde_json::from_slice(&body)
        .map_err(|error| Failure::bad(format!("The body: {error}")))?;
    let admin = &context.app.admin;
    let checked = admin.worker(&body.class).is_some();
    let job = admin.job(&body.class, body.args.get());
    if body.time.is_some() && body.r#in.is_some() {
        return Err(Failure::bad("Give either `time` or `in`."));
    }
    let mut job = job.map_err(|error| Failure::bad(format!("The arguments: {error}.")))?;
    if let Some(queue) = &body.queue {
        job = job.queue(queue);
    }
    if let Some(at) = time(body.time.as_deref().unwrap_or_default())? {
        job = job.schedule_at(at);
    } else if let Some(seconds) = body.r#in {
        job = job.schedule_in(Duration::from_secs(seconds));
    }
    let jid = context.enqueue(&body.class, job).await?;
    let jid = jid.to_string();
    let created = json(&Enqueued { jid, checked })?;
    Ok((StatusCode::CREATED, created).into_response())
}

/// Nothing is stored, unless the error says that it may be.
impl From<EnqueueError> for Failure {
    fn from(error: EnqueueError) -> Self {
        if let EnqueueError::Duplicate { holder, .. } = &error {
            return Self::held(error.to_string(), Some(holder.clone()));
        }
        let is_of_storage = matches!(error, EnqueueError::Storage { .. });
        let status = if is_of_storage {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::BAD_REQUEST
        };
        Self {
            applied: Some(if error.may_be_stored() {
                Applied::Unknown
            } else {
                Applied::NotApplied
            }),
            ..Self::new(status, error.to_string())
        }
    }
}
