//! A job that a program enqueues.

use std::time::Duration;

use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode},
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
    /// Whether an earlier request with the same key has enqueued it.
    seen: bool,
}

/// The header with the key of a request that enqueues once.
const KEY: &str = "idempotency-key";

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 255;

fn key(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let mut keys = headers.get_all(KEY).into_iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return match headers.contains_key(KEY) {
            true => Err(Failure::bad("Give one Idempotency-Key.")),
            false => Ok(None),
        };
    };
    let key = key.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Failure::bad(format!(
            "The Idempotency-Key has 1 to {MAX_KEY_BYTES} visible ASCII characters."
        )));
    }
    Ok(Some(key))
}

async fn enqueue(context: Context, headers: HeaderMap, body: Bytes) -> Result<Response, Failure> {
    let key = key(&headers)?;
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
    let (jid, seen) = context.enqueue(&body.class, job, key).await?;
    let jid = jid.to_string();
    let status = if seen {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let enqueued = json(&Enqueued { jid, checked, seen })?;
    Ok((status, enqueued).into_response())
}

/// Nothing is stored, unless the error says that it may be.
impl From<EnqueueError> for Failure {
    fn from(error: EnqueueError) -> Self {
        if let EnqueueError::Duplicate { holder, .. } = &error {
            return Self::held(error.to_string(), Some(holder.clone()));
        }
        let status = match error {
            EnqueueError::Storage { .. } => StatusCode::SERVICE_UNAVAILABLE,
            EnqueueError::KeyReused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_REQUEST,
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
