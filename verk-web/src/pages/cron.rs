//! Periodic jobs, one of them, and what can be done to it.

use std::time::SystemTime;

use askama::Template;
use axum::{body::Bytes, extract::Path, response::Response};
use verk_core::{
    cron::{CatchUp, CronEntry, CronPause, CronRun, Origin, Overlap, Schedule},
    manage::{JobPlace, JobRef, Why},
    storage::Page as Slice,
    time::unix_seconds,
};

use super::{Page, actions::back, html, jobs::PER_PAGE};
use crate::{
    access::Role,
    actions::cron::{declared, is_removable},
    context::{Context, Params},
    failure::Failure,
    json,
    routes::Route,
    text,
    url::{self, Name},
    values,
};

/// The most characters that are shown of a name, a class and a sentence.
const SHORT: usize = 160;
const MAX_TEXT: usize = 1_000;

/// How much of the arguments is shown.
const MAX_JSON: usize = 64 * 1_024;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/cron", list),
        Route::get("/cron/{name}", show),
        Route::post("/cron/{name}/run", Role::Operate, run),
        Route::post("/cron/{name}/pause", Role::Operate, pause),
        Route::post("/cron/{name}/resume", Role::Operate, resume),
        Route::post("/cron/{name}/remove", Role::Admin, remove),
    ]
}

/// Reads a page of the entries, and where the page after it begins.
pub(crate) async fn read(
    context: &Context,
    offset: usize,
    limit: usize,
) -> Result<(Vec<CronEntry>, Option<usize>), Failure> {
    let timetable = context.app.admin.cron();
    let entries = timetable.list(Slice { offset, limit }).await?;
    // A page may be short because its entries are long.
    let offset = offset.saturating_add(entries.len());
    let after = match entries.is_empty() {
        true => Vec::new(),
        false => timetable.list(Slice { offset, limit: 1 }).await?,
    };
    Ok((entries, (!after.is_empty()).then_some(offset)))
}

/// An entry as a page shows it.
struct Row {
    name: String,
    /// `None` if no address can have the name.
    path: Option<String>,
    damaged: Option<String>,
    words: String,
    expression: Option<String>,
    zone: Option<String>,
    class: String,
    queue: Option<(String, String)>,
    origin: &'static str,
    catch_up: String,
    overlap: &'static str,
    splay: Option<String>,
    state: (&'static str, char, String),
    next: Option<text::When>,
    pause: Option<PauseRow>,
    orphaned: Option<text::When>,
    runs: u64,
    missed: u64,
    skipped: u64,
    last: Vec<RunRow>,
}

struct PauseRow {
    since: Option<text::When>,
    by: Option<String>,
    reason: Option<String>,
}

struct RunRow {
    at: text::When,
    due: text::When,
    job: Option<(String, Option<String>)>,
    jobs: u64,
    missed: u64,
    skipped: bool,
    asked: bool,
}

impl RunRow {
    fn new(run: &CronRun, now: SystemTime) -> Self {
        Self {
            at: text::when(run.at, now),
            due: text::when(run.due, now),
            job: run.jid.as_ref().map(|jid| {
                let path = url::page("/jobs/", jid.as_str());
                (text::short(jid.as_str(), SHORT), path)
            }),
            jobs: run.jobs,
            missed: run.missed,
            skipped: run.skipped,
            asked: run.asked,
        }
    }

    /// What it did.
    fn result(&self) -> String {
        let jobs = match self.jobs {
            _ if self.skipped => "skipped: an earlier job waited or ran".to_owned(),
            0 => "nothing enqueued".to_owned(),
            jobs => format!("{} enqueued", text::some(jobs, "job", "jobs")),
        };
        match self.missed {
            0 => jobs,
            missed => format!("{jobs}, {} missed", text::some(missed, "run", "runs")),
        }
    }
}

impl Row {
    fn new(entry: &CronEntry, now: SystemTime) -> Self {
        let schedule = entry.schedule.as_ref();
        let owned = |text: &str| text::short(text, MAX_TEXT);
        let path = url::page("/cron/", &entry.name);
        Self {
            name: text::short(&entry.name, MAX_TEXT),
            path: path.filter(|_| !entry.name.is_empty()),
            damaged: entry.damaged.as_deref().map(owned),
            words: owned(&entry.words),
            expression: schedule.and_then(Schedule::expression).map(owned),
            zone: schedule.and_then(Schedule::zone).map(owned),
            class: text::short(&entry.class, SHORT),
            queue: entry
                .queue
                .as_ref()
                .map(|queue| (queue.to_string(), url::part(queue.as_str()))),
            origin: match entry.origin {
                Origin::Static => "a worker declares it",
                Origin::Dynamic => "a program stored it",
            },
            catch_up: match entry.catch_up {
                CatchUp::None => "are not made up for".to_owned(),
                CatchUp::Last => format!(
                    "the last one is made up for, if it is not older than {}",
                    text::duration(entry.within)
                ),
                CatchUp::All => format!(
                    "all are made up for that are not older than {}",
                    text::duration(entry.within)
                ),
            },
            overlap: match (entry.is_unique, entry.overlap) {
                (true, _) => "the lock of its unique class decides",
                (_, Overlap::Skip) => "are skipped while an earlier job waits or runs",
                (_, Overlap::QueueOne) => "wait for the earlier job, one at a time",
                (_, Overlap::Allow) => "all run",
            },
            splay: (!entry.splay.is_zero()).then(|| text::duration(entry.splay)),
            state: state(entry),
            next: entry.next.map(|at| text::when(at, now)),
            pause: entry.pause.as_ref().map(|pause| PauseRow::new(pause, now)),
            orphaned: entry.orphaned.map(|at| text::when(at, now)),
            runs: entry.runs,
            missed: entry.missed,
            skipped: entry.skipped,
            last: entry.last.iter().map(|run| RunRow::new(run, now)).collect(),
        }
    }
}

impl PauseRow {
    fn new(pause: &CronPause, now: SystemTime) -> Self {
        let owned = |text: &String| text::short(text, MAX_TEXT);
        Self {
            since: pause.since.map(|at| text::when(at, now)),
            by: pause.by.as_ref().map(owned),
            reason: pause.reason.as_ref().map(owned),
        }
    }
}

fn state(entry: &CronEntry) -> (&'static str, char, String) {
    if entry.damaged.is_some() {
        return ("bad", '▲', "cannot run".to_owned());
    }
    if let Some(pause) = &entry.pause {
        let text = match &pause.by {
            Some(by) => format!("paused by {}", text::short(by, 60)),
            None => "paused".to_owned(),
        };
        return ("pause", '‖', text);
    }
    if entry.orphaned.is_some() {
        return ("warn", '◆', "no node declares it".to_owned());
    }
    match entry.next {
        Some(_) => ("run", '●', "runs".to_owned()),
        None => ("idle", '○', "never runs again".to_owned()),
    }
}

#[derive(Template)]
#[template(path = "cron.html")]
struct CronPage {
    page: Page,
    rows: Vec<Row>,
    next: Option<usize>,
    first: bool,
}

async fn list(context: Context) -> Result<Response, Failure> {
    let from = context.query.get("from").map_or(Ok(0), str::parse);
    let from = from.map_err(|_| Failure::bad("`from` is a whole number."))?;
    let (entries, next) = read(&context, from, PER_PAGE).await?;
    let snapshot = context.app.poller.snapshot().await?;
    let now = context.app.admin.now();
    html(&CronPage {
        page: Page::new(&context, &snapshot, "cron", "Cron"),
        rows: entries.iter().map(|entry| Row::new(entry, now)).collect(),
        next,
        first: from == 0,
    })
}

#[derive(Template)]
#[template(path = "cron_entry.html")]
struct EntryPage {
    page: Page,
    row: Row,
    /// Each with the time in the zone of the entry.
    upcoming: Vec<(text::When, Option<String>)>,
    /// Whether that zone is not UTC.
    is_local: bool,
    /// Where the job of the newest run is.
    newest: Option<String>,
    args: Option<String>,
    /// When the page was made: what a form sends.
    seen: f64,
    removable: bool,
    may_operate: bool,
    may_admin: bool,
    /// Whether this asks before the entry is removed.
    asks: bool,
}

async fn show(Path(Name(name)): Path<Name>, context: Context) -> Result<Response, Failure> {
    let entry = context.entry(&name).await?;
    view(&context, &entry, false).await
}

/// Where the job of the newest run is, as far as one bounded search finds it.
async fn newest(context: &Context, entry: &CronEntry) -> Result<Option<String>, Failure> {
    let Some(jid) = entry.last.first().and_then(|run| run.jid.as_ref()) else {
        return Ok(None);
    };
    Ok(
        match context.app.admin.why(&JobRef::new(jid.as_str())).await? {
            Why::Known(known) if known.place == JobPlace::Nowhere => {
                Some("It has ended.".to_owned())
            }
            Why::Known(known) => Some(text::cut(&format!("It {}.", known.place), MAX_TEXT)),
            Why::Searching { .. } => None,
        },
    )
}

async fn view(context: &Context, entry: &CronEntry, asks: bool) -> Result<Response, Failure> {
    let newest = newest(context, entry).await?;
    let snapshot = context.app.poller.snapshot().await?;
    let now = context.app.admin.now();
    let row = Row::new(entry, now);
    let zone = entry.schedule.as_ref().and_then(Schedule::zone);
    let upcoming = |at: &SystemTime| {
        let local = zone.and_then(|zone| text::local(*at, zone));
        (text::when(*at, now), local)
    };
    let args = values::cron::args(entry, &context.app.settings.payloads);
    let heading = match asks {
        true => format!("Remove {}", row.name),
        false => row.name.clone(),
    };
    html(&EntryPage {
        page: Page::new(context, &snapshot, "cron", heading),
        upcoming: entry.upcoming.iter().map(upcoming).collect(),
        is_local: zone.is_some_and(|zone| zone != "UTC"),
        newest,
        args: args.map(|args| json::pretty(&args, MAX_JSON)),
        seen: unix_seconds(now),
        removable: is_removable(entry),
        may_operate: context.may(Role::Operate),
        may_admin: context.may(Role::Admin),
        row,
        asks,
    })
}

fn done(context: &Context, name: &str, what: &str, changed: bool) -> Response {
    let path = url::page("/cron/", name).unwrap_or_else(|| "/cron".to_owned());
    let query = [
        ("done", what.to_owned()),
        ("n", u64::from(changed).to_string()),
    ];
    back(context, &path, &query)
}

/// Runs an entry once for all clicks on one page.
async fn run(
    Path(Name(name)): Path<Name>,
    context: Context,
    body: Bytes,
) -> Result<Response, Failure> {
    let form = Params::parse(&body);
    let seen = form.get("seen").and_then(|text| text.parse::<f64>().ok());
    let entry = context.entry(&name).await?;
    let since = |run: &CronRun| seen.is_some_and(|seen| unix_seconds(run.at) > seen);
    let was_asked = entry.last.iter().any(|run| run.asked && since(run));
    if !was_asked {
        context.run_entry(&name).await?;
    }
    Ok(done(&context, &name, "ran", !was_asked))
}

async fn pause(
    Path(Name(name)): Path<Name>,
    context: Context,
    body: Bytes,
) -> Result<Response, Failure> {
    let form = Params::parse(&body);
    let changed = context.pause_entry(&name, form.get("reason")).await?;
    Ok(done(&context, &name, "entry-paused", changed))
}

async fn resume(Path(Name(name)): Path<Name>, context: Context) -> Result<Response, Failure> {
    let changed = context.resume_entry(&name).await?;
    Ok(done(&context, &name, "entry-resumed", changed))
}

/// Removes an entry, once that was confirmed.
async fn remove(
    Path(Name(name)): Path<Name>,
    context: Context,
    body: Bytes,
) -> Result<Response, Failure> {
    if Params::parse(&body).get("confirm").is_none() {
        let entry = context.entry(&name).await?;
        if !is_removable(&entry) {
            return Err(declared());
        }
        return view(&context, &entry, true).await;
    }
    let removed = context.remove_entry(&name).await?;
    let query = [
        ("done", "removed".to_owned()),
        ("n", u64::from(removed).to_string()),
    ];
    Ok(back(&context, "/cron", &query))
}
