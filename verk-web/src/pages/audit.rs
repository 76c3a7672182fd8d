//! What operators did, the newest first.

use askama::Template;
use axum::response::Response;
use verk_core::{manage::AuditEntry, storage::Page as Slice};

use super::{Page, html, jobs::PER_PAGE};
use crate::{context::Context, failure::Failure, routes::Route, text};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/audit", show)]
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    page: Page,
    entries: Vec<Row>,
    next: Option<usize>,
}

struct Row {
    at: (String, String),
    entry: AuditEntry,
}

async fn show(context: Context) -> Result<Response, Failure> {
    let admin = &context.app.admin;
    let offset = context
        .query
        .get("from")
        .and_then(|from| from.parse().ok())
        .unwrap_or(0);
    let slice = Slice {
        offset,
        limit: PER_PAGE,
    };
    let entries = admin.audit(slice).await?;
    let snapshot = context.app.poller.snapshot().await?;
    let now = admin.now();
    let next = (entries.len() == PER_PAGE).then(|| offset.saturating_add(PER_PAGE));
    let row = |entry: AuditEntry| Row {
        at: text::when(entry.at, now),
        entry,
    };
    html(&AuditPage {
        page: Page::new(&context, &snapshot, "audit", "Audit"),
        entries: entries.into_iter().map(row).collect(),
        next,
    })
}
