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
    at: text::When,
    entry: AuditEntry,
}

/// A page of the list.
pub(crate) struct Read {
    pub(crate) entries: Vec<AuditEntry>,
    /// Where the next page begins.
    pub(crate) next: Option<usize>,
}

/// Reads a page. Entries that are none are left out, so a page may have fewer than `limit`: the
/// page after it says whether there are more.
pub(crate) async fn read(context: &Context, offset: usize, limit: usize) -> Result<Read, Failure> {
    let admin = &context.app.admin;
    let entries = admin.audit(Slice { offset, limit }).await?;
    let offset = offset.saturating_add(limit);
    let after = admin.audit(Slice { offset, limit }).await?;
    Ok(Read {
        entries,
        next: (!after.is_empty()).then_some(offset),
    })
}

async fn show(context: Context) -> Result<Response, Failure> {
    let from = context.query.get("from").map_or(Ok(0), str::parse);
    let from = from.map_err(|_| Failure::bad("`from` is a whole number."))?;
    let Read { entries, next } = read(&context, from, PER_PAGE).await?;
    let snapshot = context.app.poller.snapshot().await?;
    let now = context.app.admin.now();
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
