//! The nodes of verk, alive or silent, and the jobs that each holds.

use std::time::SystemTime;

use askama::Template;
use axum::response::Response;
use verk_core::manage::NodeStatus;

use super::{
    Page, html,
    processes::{self, MAX_QUEUES, SHORT},
};
use crate::{context::Context, failure::Failure, routes::Route, text, url};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/nodes", show)]
}

#[derive(Template)]
#[template(path = "nodes.html")]
struct NodesPage {
    page: Page,
    rows: Vec<Row>,
}

struct Row {
    id: String,
    alive: bool,
    /// Name, path, jobs that it holds, and how many of them it fetched ahead.
    queues: Vec<(String, String, usize, usize)>,
    version: String,
    process: Option<(String, Option<String>)>,
    /// How many queues it has beyond these.
    more: usize,
    registered: Option<text::When>,
    classes: Option<usize>,
}

impl Row {
    fn new(node: &NodeStatus, now: SystemTime) -> Self {
        let queues = node.queues.iter().map(|queue| {
            let name = queue.name.as_str();
            (
                name.to_owned(),
                url::part(name),
                queue.held,
                queue.prefetched,
            )
        });
        let info = node.info.as_ref();
        let at = info.and_then(|info| info.registered_at);
        Self {
            id: node.id.to_string(),
            alive: node.alive,
            queues: queues.take(MAX_QUEUES).collect(),
            more: node.queues.len().saturating_sub(MAX_QUEUES),
            version: info.map_or_else(
                || "Elixir's Verk".to_owned(),
                |info| text::short(&info.version, SHORT),
            ),
            process: info.map(|info| {
                let path = processes::path(&info.process);
                (text::short(&info.process, SHORT), path)
            }),
            registered: at.map(|at| text::when(at, now)),
            classes: info.map(|info| info.class_count),
        }
    }
}

async fn show(context: Context) -> Result<Response, Failure> {
    let nodes = context.app.admin.nodes().await?;
    let snapshot = context.app.poller.snapshot().await?;
    let now = context.app.admin.now();
    html(&NodesPage {
        page: Page::new(&context, &snapshot, "processes", "Nodes"),
        rows: nodes.iter().map(|node| Row::new(node, now)).collect(),
    })
}
