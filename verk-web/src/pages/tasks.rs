//! Actions on many jobs: how far they are, and how to stop them.

use std::sync::Arc;

use askama::Template;
use axum::{extract::Path, response::Response};

use super::{Page, actions::back, html};
use crate::{access::Role, context::Context, failure::Failure, routes::Route, tasks::Task, text};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/tasks", list),
        Route::get("/tasks/{id}", show),
        Route::post("/tasks/{id}/stop", Role::Operate, stop),
    ]
}

#[derive(Template)]
#[template(path = "tasks.html")]
struct TasksPage {
    page: Page,
    tasks: Vec<Row>,
}

#[derive(Template)]
#[template(path = "task.html")]
struct TaskPage {
    page: Page,
    task: Row,
    may_stop: bool,
}

/// A task as a page shows it.
struct Row {
    id: u64,
    what: String,
    by: Option<String>,
    started: text::When,
    running: bool,
    state: String,
    looked_at: u64,
    done: u64,
    total: u64,
    speed: String,
    left: Option<String>,
}

impl Row {
    fn new(task: &Arc<Task>, context: &Context) -> Self {
        let now = context.app.admin.now();
        let progress = task.progress();
        let speed = task.speed(now);
        let unread = task.order.total.saturating_sub(progress.looked_at);
        let took = now.duration_since(task.started).unwrap_or_default();
        let left = (task.is_running() && progress.looked_at > 0).then(|| {
            #[expect(clippy::cast_precision_loss, reason = "two units are shown")]
            let share = unread as f64 / progress.looked_at as f64;
            text::duration(took.mul_f64(share.min(1e6)))
        });
        let of = if task.order.phrase.is_empty() {
            "all jobs".to_owned()
        } else {
            format!("jobs with {}", task.order.phrase)
        };
        Self {
            id: task.id,
            what: format!(
                "{}: {of} {}",
                task.order.verb.name(),
                task.order.place.phrase()
            ),
            by: task.order.by.clone(),
            started: text::when(task.started, now),
            running: task.is_running(),
            state: task.state().to_string(),
            looked_at: progress.looked_at,
            done: progress.done as u64,
            total: task.order.total.max(progress.looked_at),
            speed: text::number(speed),
            left,
        }
    }
}

async fn list(context: Context) -> Result<Response, Failure> {
    let snapshot = context.app.poller.snapshot().await?;
    let tasks = context.app.tasks.all();
    html(&TasksPage {
        page: Page::new(&context, &snapshot, "tasks", "Tasks"),
        tasks: tasks.iter().map(|task| Row::new(task, &context)).collect(),
    })
}

async fn show(Path(id): Path<String>, context: Context) -> Result<Response, Failure> {
    let task = context.task(&id)?;
    let snapshot = context.app.poller.snapshot().await?;
    html(&TaskPage {
        page: Page::new(&context, &snapshot, "tasks", format!("Task {}", task.id)),
        task: Row::new(&task, &context),
        may_stop: context.may(Role::Operate),
    })
}

async fn stop(Path(id): Path<String>, context: Context) -> Result<Response, Failure> {
    let task = context.stop_task(&id).await?;
    Ok(back(&context, &format!("/tasks/{}", task.id), &[]))
}
