//! The jobs of a queue or a set: page by page, or those that match a filter.

mod filter;
mod row;

use std::time::SystemTime;

use askama::Template;
use axum::{extract::Path, response::Response};
use verk_core::{
    QueueName,
    manage::{Cursor, Group, Listed, Query, SEARCH_BUDGET},
    storage::Order,
};

pub(crate) use self::{
    filter::{Filters, time},
    row::{JobRow, digest, form_key, page_key},
};
use super::{Page, html, queues::State};
use crate::{
    access::Role, context::Context, failure::Failure, groups::Counted, live::Snapshot,
    place::Place, routes::Route, text, url::Name,
};

/// How many jobs a page shows.
pub(crate) const PER_PAGE: usize = 25;

#[derive(Template)]
#[template(path = "jobs.html")]
struct JobsPage {
    page: Page,
    place: Place,
    rows: Vec<JobRow>,
    filters: Filters,
    /// How many jobs the place has.
    total: u64,
    /// How many were read to find these.
    looked_at: u64,
    previous: Option<String>,
    next: Option<String>,
    first: bool,
    first_query: String,
    newest_first: bool,
    may_operate: bool,
    may_admin: bool,
    shows_payloads: bool,
    queue: Option<QueueHead>,
    groups: Vec<GroupRow>,
    /// How many jobs the groups cover, if not all.
    covered: Option<usize>,
}

/// The most groups that a page shows.
const MAX_GROUPS: usize = 8;

/// Failed jobs of one class with one error.
struct GroupRow {
    class: String,
    error: String,
    count: usize,
    newest: text::When,
    /// The query that shows them.
    query: String,
}

impl GroupRow {
    fn new(group: &Group, now: SystemTime) -> Self {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(class) = &group.class {
            query.append_pair("class", class);
        }
        if let Some(error) = &group.error_class {
            query.append_pair("error", error);
        }
        Self {
            class: group
                .class
                .clone()
                .unwrap_or_else(|| "Not a job".to_owned()),
            error: group
                .error_class
                .clone()
                .unwrap_or_else(|| "no error".to_owned()),
            count: group.count,
            newest: text::when(group.newest, now),
            query: query.finish(),
        }
    }
}

/// What the page of a queue says before its jobs.
struct QueueHead {
    name: QueueName,
    state: State,
    paused: bool,
    /// Since when, by whom and why.
    since: Option<text::When>,
    pause: String,
    processed: u64,
    failed: u64,
    prefetched: usize,
    to_restore: usize,
    processes: usize,
}

impl QueueHead {
    fn new(name: &QueueName, snapshot: &Snapshot, now: SystemTime) -> Self {
        let known = snapshot.queue(name.as_str());
        let pause = known.and_then(|queue| queue.paused.as_ref());
        let mut said = String::new();
        if let Some(pause) = pause {
            if let Some(by) = &pause.by {
                said += &format!(" by {}", text::short(by, 100));
            }
            if let Some(reason) = &pause.reason {
                said += &format!(": {}", text::short(reason, 200));
            }
        }
        Self {
            name: name.clone(),
            state: known.map_or(State::Idle, State::of),
            paused: pause.is_some(),
            since: pause
                .and_then(|pause| pause.since)
                .map(|since| text::when(since, now)),
            pause: said,
            processed: known.map_or(0, |queue| queue.processed),
            failed: known.map_or(0, |queue| queue.failed),
            prefetched: known.map_or(0, |queue| queue.prefetched),
            to_restore: known.map_or(0, |queue| queue.to_restore),
            processes: known.map_or(0, |queue| queue.processes),
        }
    }
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/scheduled", scheduled),
        Route::get("/retries", retries),
        Route::get("/dead", dead),
        Route::get("/queues/{queue}", queue),
    ]
}

async fn scheduled(context: Context) -> Result<Response, Failure> {
    show(context, Place::Scheduled).await
}

async fn retries(context: Context) -> Result<Response, Failure> {
    show(context, Place::Retries).await
}

async fn dead(context: Context) -> Result<Response, Failure> {
    show(context, Place::Dead).await
}

async fn queue(Path(Name(name)): Path<Name>, context: Context) -> Result<Response, Failure> {
    show(context, Place::queue(&name)?).await
}

/// The order that the address asks for. Of the dead set, the newest is the more interesting.
fn order(context: &Context, place: &Place) -> Order {
    match context.query.get("order") {
        Some("newest") => Order::NewestFirst,
        Some("oldest") => Order::OldestFirst,
        _ if *place == Place::Dead => Order::NewestFirst,
        _ => Order::OldestFirst,
    }
}

/// Reads the page of a list that the address asks for.
pub(crate) async fn read(
    context: &Context,
    place: &Place,
    filters: &Filters,
    order: Order,
    limit: usize,
) -> Result<Listed, Failure> {
    let query = Query::new()
        .order(order)
        .limit(limit)
        .at(context.cursor::<Cursor>()?)
        .filter(filters.filter());
    let jobs = place.jobs(&context.app.admin)?;
    Ok(if filters.is_set() {
        jobs.search(&query, SEARCH_BUDGET).await?
    } else {
        jobs.list(&query).await?
    })
}

async fn show(context: Context, place: Place) -> Result<Response, Failure> {
    let app = &context.app;
    let snapshot = app.poller.snapshot().await?;
    let filters = Filters::read(&context.query, &place, app.settings.payloads.are_shown())?;
    let order = order(&context, &place);
    let listed = read(&context, &place, &filters, order, PER_PAGE).await?;
    let first = context.query.get("at").is_none();
    let now = app.admin.now();
    let counted = match place.failed_set() {
        Some(set) if first && !filters.is_set() => app.groups.count(&app.admin, set).await?,
        _ => Counted::default(),
    };
    let rows = listed.entries.iter();
    let rows = rows
        .map(|entry| JobRow::new(entry, app, &place, now))
        .collect();
    let link = |cursor: Option<Cursor>| {
        cursor.map(|cursor| context.query.with("at", Some(&cursor.to_string())))
    };
    let heading = place.heading();
    html(&JobsPage {
        rows,
        total: listed.total,
        looked_at: listed.looked_at,
        previous: link(listed.previous),
        next: link(listed.next),
        first,
        first_query: context.query.with("at", None),
        newest_first: order == Order::NewestFirst,
        may_operate: context.may(Role::Operate),
        may_admin: context.may(Role::Admin),
        shows_payloads: app.settings.payloads.are_shown(),
        groups: counted
            .groups
            .iter()
            .take(MAX_GROUPS)
            .map(|group| GroupRow::new(group, now))
            .collect(),
        covered: (counted.covered < counted.total).then_some(counted.covered),
        queue: match &place {
            Place::Queue(name) => Some(QueueHead::new(name, &snapshot, now)),
            Place::Scheduled | Place::Retries | Place::Dead => None,
        },
        filters,
        page: Page::new(&context, &snapshot, place.nav_key(), heading),
        place,
    })
}
