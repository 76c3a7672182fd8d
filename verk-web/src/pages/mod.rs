//! The pages: one file each, with its template of the same name, and what it reads.

pub(crate) mod actions;
pub(crate) mod audit;
#[cfg(feature = "cron")]
pub(crate) mod cron;
mod doctor;
pub(crate) mod find;
pub(crate) mod job;
pub(crate) mod jobs;
pub(crate) mod locks;
mod metrics;
mod nodes;
mod overview;
pub(crate) mod problem;
mod processes;
mod queue_actions;
mod queues;
mod redirects;
mod running;
mod server;
mod tasks;

use std::sync::Arc;

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};

use crate::{
    access::Visitor, assets, context::Context, failure::Failure, live::Snapshot, routes::Route,
    text, url::Base,
};

/// The routes of all pages.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = vec![
        Route::get("/", overview::show),
        Route::get("/queues", queues::show),
    ];
    for more in [
        jobs::routes(),
        find::routes(),
        job::routes(),
        actions::routes(),
        queue_actions::routes(),
        running::routes(),
        processes::routes(),
        nodes::routes(),
        metrics::routes(),
        doctor::routes(),
        server::routes(),
        locks::routes(),
        #[cfg(feature = "cron")]
        cron::routes(),
        tasks::routes(),
        audit::routes(),
        redirects::routes(),
    ] {
        routes.extend(more);
    }
    routes
}

/// What the frame around every page shows.
pub(crate) struct Page {
    pub(crate) base: Base,
    pub(crate) heading: String,
    /// The [`key`](NavItem::key) of the page that is shown.
    pub(crate) current: &'static str,
    pub(crate) title: Option<String>,
    pub(crate) siblings: Vec<SiblingLink>,
    pub(crate) nav: Vec<NavItem>,
    pub(crate) visitor: Visitor,
    /// What the last action did.
    pub(crate) notice: Option<String>,
    pub(crate) version: u64,
    pub(crate) snapshot: Arc<Snapshot>,
}

/// An entry of the navigation.
pub(crate) struct NavItem {
    pub(crate) key: &'static str,
    pub(crate) href: String,
    pub(crate) label: &'static str,
    /// Whether a line separates it from the entry before.
    pub(crate) gap: bool,
    pub(crate) count: Option<String>,
    /// Whether the count says that something failed.
    pub(crate) hot: bool,
}

/// Another storage.
pub(crate) struct SiblingLink {
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) current: bool,
}

/// The key, path and label of every entry of the navigation, in groups.
const NAV: [&[(&str, &str, &str)]; 2] = [
    &[
        ("overview", "/", "Overview"),
        ("queues", "/queues", "Queues"),
        ("running", "/running", "Running"),
        ("scheduled", "/scheduled", "Scheduled"),
        ("retries", "/retries", "Retries"),
        ("dead", "/dead", "Dead"),
        #[cfg(feature = "cron")]
        ("cron", "/cron", "Cron"),
        ("locks", "/locks", "Locks"),
    ],
    &[
        ("processes", "/processes", "Processes"),
        ("metrics", "/metrics", "Metrics"),
        ("doctor", "/doctor", "Doctor"),
        ("redis", "/redis", "Redis"),
        ("tasks", "/tasks", "Tasks"),
        ("audit", "/audit", "Audit"),
    ],
];

impl Page {
    /// The frame of the page `current` with the heading `heading`.
    pub(crate) fn new(
        context: &Context,
        snapshot: &Arc<Snapshot>,
        current: &'static str,
        heading: impl Into<String>,
    ) -> Self {
        let mut nav = Vec::new();
        for (group, entries) in NAV.into_iter().enumerate() {
            for (at, &(key, path, label)) in entries.iter().enumerate() {
                let count = snapshot.figures.get(&format!("nav:{key}"));
                nav.push(NavItem {
                    key,
                    href: match path {
                        "/" => context.base.root.clone(),
                        path => format!("{}{path}", context.base),
                    },
                    label,
                    gap: group > 0 && at == 0,
                    count: (!count.is_empty()).then(|| count.to_owned()),
                    hot: key == "retries" && snapshot.overview.stats.retry > 0,
                });
            }
        }
        let app = &context.app;
        let own = app.instance.as_ref().map_or("", |instance| &instance.path);
        let base = &context.base.path;
        let root = base.strip_suffix(own).unwrap_or(base);
        let siblings = app.siblings.iter().map(|sibling| SiblingLink {
            name: sibling.name.clone(),
            href: format!("{root}{}", sibling.path),
            current: Some(sibling) == app.instance.as_ref(),
        });
        Self {
            base: context.base.clone(),
            heading: text::visible(heading.into()),
            current,
            title: app.settings.title.clone(),
            siblings: siblings.collect(),
            nav,
            visitor: context.visitor.clone(),
            notice: actions::notice(&context.query),
            version: assets::VERSION,
            snapshot: Arc::clone(snapshot),
        }
    }
}

/// The page as an answer.
pub(crate) fn html(page: &impl Template) -> Result<Response, Failure> {
    match page.render() {
        Ok(html) => Ok(Html(html).into_response()),
        Err(error) => Err(Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("The page could not be written: {error}"),
        )),
    }
}
