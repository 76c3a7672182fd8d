//! What programs do: on one job, on all that match, on queues, processes and tasks.

use super::{jobs::set, json};
use crate::{
    access::Role,
    actions::SIGNALS,
    context::{Context, Params},
    failure::Failure,
    pages::{
        actions::{Verb, count},
        job::find_entry,
        jobs::{Filters, digest},
    },
    place::Place,
    routes::Route,
    tasks::{Busy, Task},
    url::Name,
    values::time,
};
use axum::{
    body::Bytes,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use verk_core::manage::{Entry, StoredLock};

pub(super) fn routes() -> Vec<Route> {
    let mut routes = vec![
        Route::post("/api/v1/queues/{queue}/pause", Role::Operate, pause),
        Route::post("/api/v1/queues/{queue}/resume", Role::Operate, resume),
        Route::post("/api/v1/queues/{queue}/clear", Role::Admin, clear),
        Route::get("/api/v1/tasks", tasks),
        Route::get("/api/v1/tasks/{id}", task),
        Route::post("/api/v1/tasks/{id}/stop", Role::Operate, stop_task),
    ];
    for (name, role, signal) in SIGNALS {
        let path = format!("/api/v1/processes/{{identity}}/{name}");
        let handler = move |Path(Name(identity)): Path<Name>, context: Context| async move {
            context.signal(&identity, name, signal).await?;
            json(&Changed { changed: true })
        };
        routes.push(Route::post(path, role, handler));
    }
    for verb in Verb::ALL {
        let (name, role) = (verb.name(), verb.role());
        let of_set = move |Path((place, key)): Path<(String, String)>, context: Context, body| async move {
            one(&context, &set(&place)?, &key, verb, &body).await
        };
        let of_queue = move |Path((Name(place), key)): Path<(Name, String)>,
                             context: Context,
                             body| async move {
            one(&context, &Place::queue(&place)?, &key, verb, &body).await
        };
        let all_of_set = move |Path(place): Path<String>, context: Context, body| async move {
            bulk(&context, set(&place)?, verb, &body).await
        };
        let all_of_queue = move |Path(Name(place)): Path<Name>, context: Context, body| async move {
            bulk(&context, Place::queue(&place)?, verb, &body).await
        };
        routes.extend([
            Route::post(
                format!("/api/v1/sets/{{set}}/jobs/{{key}}/{name}"),
                role,
                of_set,
            ),
            Route::post(
                format!("/api/v1/queues/{{queue}}/jobs/{{key}}/{name}"),
                role,
                of_queue,
            ),
            Route::post(
                format!("/api/v1/sets/{{set}}/bulk/{name}"),
                role,
                all_of_set,
            ),
            Route::post(
                format!("/api/v1/queues/{{queue}}/bulk/{name}"),
                role,
                all_of_queue,
            ),
        ]);
    }
    routes
}

/// The body of a request; an empty one is `{}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Body {
    /// Why a queue is paused.
    pub(super) reason: Option<String>,
    /// The SHA-256 of the payload that is meant, in hexadecimal digits: without it, the job at this
    /// address is.
    sha256: Option<String>,
    /// When a job is rescheduled to: RFC 3339.
    time: Option<String>,
    /// As `time`, in seconds from now.
    r#in: Option<u64>,
    /// The job that holds the lock to release: without it, any job that does.
    pub(super) jid: Option<String>,
    /// The revision of the lock to release: without it, any.
    pub(super) revision: Option<u64>,
    /// Whether to count only.
    dry_run: bool,
    class: Option<String>,
    queue: Option<String>,
    error: Option<String>,
    text: Option<String>,
    since: Option<String>,
    until: Option<String>,
    /// Whether all jobs are meant, without a filter.
    all: bool,
}

impl Body {
    pub(super) fn read(bytes: &Bytes) -> Result<Self, Failure> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        // The error says where and what, in the words of the request.
        serde_json::from_slice(bytes).map_err(|error| Failure::bad(format!("The body: {error}")))
    }

    /// The same as a form, which the pages send.
    fn params(&self) -> Params {
        let in_ = self.r#in.map(|seconds| seconds.to_string());
        let fields = [
            ("class", &self.class),
            ("queue", &self.queue),
            ("error", &self.error),
            ("text", &self.text),
            ("since", &self.since),
            ("until", &self.until),
            ("time", &self.time),
            ("in", &in_),
        ];
        let set = fields.into_iter();
        Params::of(set.filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))))
    }
}

#[derive(Serialize)]
pub(super) struct Changed {
    /// Whether anything changed.
    pub(super) changed: bool,
}

async fn pause(
    Path(Name(name)): Path<Name>,
    context: Context,
    body: Bytes,
) -> Result<Response, Failure> {
    let body = Body::read(&body)?;
    let changed = context.pause(&name, body.reason.as_deref()).await?;
    json(&Changed { changed })
}

async fn resume(Path(Name(name)): Path<Name>, context: Context) -> Result<Response, Failure> {
    let changed = context.resume(&name).await?;
    json(&Changed { changed })
}

#[derive(Serialize)]
struct Count {
    jobs: u64,
    /// Whether all jobs were read: otherwise there may be more.
    complete: bool,
}

async fn clear(Path(Name(name)): Path<Name>, context: Context) -> Result<Response, Failure> {
    json(&Count {
        jobs: context.clear(&Place::queue(&name)?).await?,
        complete: true,
    })
}

/// Changes one job, if it is still there.
async fn one(
    context: &Context,
    place: &Place,
    key: &str,
    verb: Verb,
    body: &Bytes,
) -> Result<Response, Failure> {
    let body = Body::read(body)?;
    let app = &context.app;
    let gone = || {
        Failure::new(
            StatusCode::CONFLICT,
            "This job is not there any more, or has changed: nothing was done.",
        )
    };
    let entry = find_entry(app, place, key).await?.ok_or_else(gone)?;
    let same = |wanted: &String| digest(entry.payload()).eq_ignore_ascii_case(wanted);
    if !body.sha256.as_ref().is_none_or(same) {
        return Err(gone());
    }
    let acted = context
        .act_on(place, &[&entry], verb, &body.params())
        .await?;
    if acted.conflicts > 0 {
        return Err(held(context, &entry).await?);
    }
    if acted.skipped > 0 {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            "This job cannot be changed so: it is in a queue already, or names none, or is dead.",
        ));
    }
    if acted.done == 0 {
        return Err(gone());
    }
    json(&Changed { changed: true })
}

/// Why a dead job cannot leave: who holds its lock, if that has not ended since.
async fn held(context: &Context, entry: &Entry) -> Result<Failure, Failure> {
    let lock = match entry.lock() {
        Some(lock) => context.app.admin.lock(lock).await?,
        None => None,
    };
    Ok(match lock {
        Some(StoredLock { jid, place, .. }) => {
            let detail = format!("Job {jid}, {place}, holds the unique lock: nothing was done.");
            Failure::held(detail, Some(jid))
        }
        None => Failure::held(
            "Another job held the unique lock: nothing was done. It is free now.",
            None,
        ),
    })
}

/// Changes all jobs that match, as a task; or counts them.
async fn bulk(
    context: &Context,
    place: Place,
    verb: Verb,
    body: &Bytes,
) -> Result<Response, Failure> {
    let body = Body::read(body)?;
    let app = &context.app;
    let params = body.params();
    let filters = Filters::read(&params, &place, app.settings.payloads.are_shown())?;
    if !filters.is_set() && !body.all {
        return Err(Failure::bad("Without a filter, say `\"all\": true`."));
    }
    if body.dry_run {
        let found = count(context, &place.jobs(&app.admin)?, &filters).await?;
        return json(&Count {
            jobs: found.count,
            complete: found.complete,
        });
    }
    match context.start(place, &filters, verb, &params).await? {
        Ok(task) => {
            let value = json(&TaskValue::new(&task))?;
            Ok((StatusCode::ACCEPTED, value).into_response())
        }
        Err(Busy(task)) => Err(Failure::new(
            StatusCode::CONFLICT,
            format!(
                "Task {} works on the same jobs: wait for it, or stop it.",
                task.id
            ),
        )),
    }
}

#[derive(Serialize)]
struct TaskValue {
    id: u64,
    action: String,
    place: String,
    filter: String,
    by: Option<String>,
    started: String,
    ended: Option<String>,
    /// `running`, `ended`, `stopped`, or `failed: ` and why.
    state: String,
    total: u64,
    examined: u64,
    changed: u64,
}

impl TaskValue {
    fn new(task: &Task) -> Self {
        let progress = task.progress();
        Self {
            id: task.id,
            action: task.order.verb.name().to_owned(),
            place: task.order.place.phrase(),
            filter: task.order.phrase.clone(),
            by: task.order.by.clone(),
            started: time(task.started),
            ended: task.ended().map(time),
            state: task.state().to_string(),
            total: task.order.total,
            examined: progress.looked_at,
            changed: progress.done as u64,
        }
    }
}

async fn tasks(context: Context) -> Result<Response, Failure> {
    let tasks = context.app.tasks.all();
    json(
        &tasks
            .iter()
            .map(|task| TaskValue::new(task))
            .collect::<Vec<_>>(),
    )
}

async fn task(Path(id): Path<String>, context: Context) -> Result<Response, Failure> {
    json(&TaskValue::new(&*context.task(&id)?))
}

async fn stop_task(Path(id): Path<String>, context: Context) -> Result<Response, Failure> {
    json(&TaskValue::new(&*context.stop_task(&id).await?))
}
