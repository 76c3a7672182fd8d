//! The server that has the jobs.

use std::time::SystemTime;

use askama::Template;
use axum::response::Response;
use verk_core::{
    manage::CellStatus,
    storage::{ServerFacts, ServerRole},
};

use super::{Page, html};
use crate::{context::Context, failure::Failure, routes::Route, text};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/redis", show)]
}

#[derive(Template)]
#[template(path = "server.html")]
struct ServerPage {
    page: Page,
    facts: Vec<(&'static str, String)>,
    /// The share of the memory limit that is used, in percent; `None` without a limit.
    memory: Option<u64>,
    /// The cells, if there are several.
    cells: Vec<CellRow>,
}

/// A cell in the table of all.
struct CellRow {
    cell: usize,
    address: String,
    /// By the headings of the table; or why the cell does not answer.
    facts: Result<[String; 6], String>,
}

impl CellRow {
    fn new(status: &CellStatus) -> Self {
        let shown = |facts: &ServerFacts| {
            let fact = |fact: Option<String>| fact.unwrap_or_default();
            [
                fact(program(facts)),
                fact(facts.role.map(role)),
                fact(facts.replicas.map(text::count)),
                fact(facts.clients.map(text::count)),
                fact(facts.operations_per_second.map(text::count)),
                fact(facts.memory_used.map(text::bytes)),
            ]
        };
        Self {
            cell: status.cell,
            address: status.address.clone(),
            facts: status
                .facts
                .as_ref()
                .map(shown)
                .map_err(ToString::to_string),
        }
    }
}

async fn show(context: Context) -> Result<Response, Failure> {
    let admin = &context.app.admin;
    let facts = admin.server().await?;
    let cells = match admin.cells().await.as_slice() {
        [_] => Vec::new(),
        cells => cells.iter().map(CellRow::new).collect(),
    };
    let snapshot = context.app.poller.snapshot().await?;
    let memory = facts.memory_used.zip(facts.memory_limit);
    html(&ServerPage {
        page: Page::new(&context, &snapshot, "redis", "Redis"),
        facts: shown(&facts, admin.now()),
        memory: memory.map(|(used, limit)| used.saturating_mul(100) / limit.max(1)),
        cells,
    })
}

/// Which program the server is.
fn program(facts: &ServerFacts) -> Option<String> {
    facts.kind.map(|kind| match &facts.version {
        Some(version) => format!("{kind} {version}"),
        None => kind.to_string(),
    })
}

fn role(role: ServerRole) -> String {
    match role {
        ServerRole::Primary => "primary".to_owned(),
        ServerRole::Replica => "replica: it takes no changes".to_owned(),
        other => format!("{other:?}"),
    }
}

/// What the server says, by name.
fn shown(facts: &ServerFacts, now: SystemTime) -> Vec<(&'static str, String)> {
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let all = [
        ("Server", program(facts)),
        ("Role", facts.role.map(role)),
        ("Replicas", facts.replicas.map(text::count)),
        ("Runs for", facts.uptime.map(text::duration)),
        ("Connections", facts.clients.map(text::count)),
        (
            "Commands",
            facts
                .operations_per_second
                .map(|rate| format!("{} a second", text::count(rate))),
        ),
        ("Memory", facts.memory_used.map(text::bytes)),
        ("Most memory", facts.memory_peak.map(text::bytes)),
        ("Memory limit", facts.memory_limit.map(text::bytes)),
        (
            "Drops keys",
            facts.eviction_policy.as_ref().map(|policy| {
                format!("when its memory is full: {policy}. Jobs may be lost; set noeviction")
            }),
        ),
        ("Append-only file", facts.append_only.map(yes)),
        (
            "Last snapshot",
            facts.last_snapshot.map(|at| text::relative(at, now)),
        ),
        (
            "Changes since",
            facts.changes_since_snapshot.map(text::count),
        ),
        (
            "Disk",
            facts
                .disk_fails
                .then(|| "the last try to write failed".to_owned()),
        ),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}
