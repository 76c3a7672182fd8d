//! What a visitor does to jobs: to chosen ones, or to all that match a filter.
//!
//! 1. A form sends the chosen jobs as the page showed them ([`Chosen`]), or the filter of the page.
//! 2. Deleting, killing, and everything that reaches other pages asks once more, and says how many
//!    jobs that are.
//! 3. Chosen jobs are read again, and moved only if their bytes are the same. A filter becomes a
//!    [task](crate::tasks).

use std::{
    collections::HashSet,
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use askama::Template;
use axum::{
    body::Bytes,
    extract::Path,
    response::{IntoResponse, Redirect, Response},
};
use parking_lot::Mutex;
use verk_core::manage::{Action, Entry, Jobs, Place as At, Progress, Query, SEARCH_BUDGET};

use super::{
    Page, html,
    jobs::{self, Filters},
};
use crate::{
    access::Role,
    context::{Context, Params},
    failure::Failure,
    place::Place,
    routes::Route,
    tasks::Busy,
    text,
    url::Name,
};

/// The most jobs that one form changes: those of a page.
const MAX_CHOSEN: usize = 100;

/// How long a request waits for a task before it shows the progress.
const PATIENCE: Duration = Duration::from_millis(400);

/// How many jobs a confirmation shows.
const EXAMPLES: usize = 5;

/// What a button does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Requeue,
    Reschedule,
    Kill,
    Delete,
}

impl Verb {
    pub(crate) const ALL: [Self; 4] = [Self::Requeue, Self::Reschedule, Self::Kill, Self::Delete];

    /// As a part of a path.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Requeue => "requeue",
            Self::Reschedule => "reschedule",
            Self::Kill => "kill",
            Self::Delete => "delete",
        }
    }

    pub(crate) fn role(self) -> Role {
        match self {
            Self::Requeue | Self::Reschedule => Role::Operate,
            Self::Kill | Self::Delete => Role::Admin,
        }
    }

    /// `Delete 3 jobs`.
    fn title(self) -> &'static str {
        match self {
            Self::Requeue => "Run now",
            Self::Reschedule => "Reschedule",
            Self::Kill => "Kill",
            Self::Delete => "Delete",
        }
    }

    /// `3 jobs deleted`.
    fn done(self) -> &'static str {
        match self {
            Self::Requeue => "moved to their queues",
            Self::Reschedule => "rescheduled",
            Self::Kill => "moved to the dead set",
            Self::Delete => "deleted",
        }
    }

    /// What it means for a job.
    fn effect(self) -> &'static str {
        match self {
            Self::Requeue => "They go to the back of their queues, and run when their turn comes.",
            Self::Reschedule => {
                "They keep everything else. Dead jobs go to the retries, and jobs of a queue to the scheduled set."
            }
            Self::Kill => "They go to the dead set, where they can be looked at and run again.",
            Self::Delete => "They are gone for good. There is no undo.",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == name)
    }

    /// Whether chosen jobs need a page of confirmation.
    fn asks(self) -> bool {
        self != Self::Requeue
    }
}

/// The routes: each action on each place, with the role that it needs.
pub(super) fn routes() -> Vec<Route> {
    let mut routes = Vec::new();
    for verb in Verb::ALL {
        for (path, place) in [
            ("/scheduled/actions/", Place::Scheduled),
            ("/retries/actions/", Place::Retries),
            ("/dead/actions/", Place::Dead),
        ] {
            let path = format!("{path}{}", verb.name());
            routes.push(Route::post(path, verb.role(), move |context, body| {
                act(context, body, place.clone(), verb)
            }));
        }
        let path = format!("/queues/{{queue}}/actions/{}", verb.name());
        routes.push(Route::post(
            path,
            verb.role(),
            move |Path(Name(name)): Path<Name>, context, body| async move {
                act(context, body, Place::queue(&name)?, verb).await
            },
        ));
    }
    routes
}

/// A job as a page showed it.
#[derive(Clone, Debug, PartialEq)]
struct Chosen {
    /// The SHA-256 of its payload.
    digest: String,
    at: At,
}

impl FromStr for Chosen {
    type Err = Failure;

    /// Reads `HASH:AT`, as [`jobs::form_key`] writes it.
    fn from_str(text: &str) -> Result<Self, Failure> {
        let wrong = || Failure::bad("This form is not one of these pages.");
        let (digest, at) = text.split_once(':').ok_or_else(wrong)?;
        if digest.len() != 64 {
            return Err(wrong());
        }
        let index = at
            .strip_prefix('@')
            .map(|index| index.parse().map(At::Index).ok());
        let at = index.unwrap_or_else(|| {
            let score = at.parse().ok().filter(|score: &f64| !score.is_nan());
            score.map(At::Score)
        });
        Ok(Self {
            digest: digest.to_owned(),
            at: at.ok_or_else(wrong)?,
        })
    }
}

/// The jobs of the form that are still there, byte for byte, and how many are not.
async fn find(jobs: &Jobs, chosen: &[Chosen]) -> Result<(Vec<Entry>, usize), Failure> {
    let mut found: Vec<Entry> = Vec::new();
    let mut missing = 0;
    // What one read returned may have the next ones too.
    let mut read: Vec<Entry> = Vec::new();
    for job in chosen {
        let is_it = |entry: &Entry| {
            let same_score = match job.at {
                At::Score(score) => entry.score() == Some(score),
                At::Index(_) => true,
            };
            same_score && jobs::digest(entry.payload()) == job.digest
        };
        if !read.iter().any(is_it) {
            read = jobs.around(job.at).await?;
        }
        match read.iter().position(is_it) {
            Some(at) => found.push(read.swap_remove(at)),
            None => missing += 1,
        }
    }
    Ok((found, missing))
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct Confirm {
    page: Page,
    place: Place,
    verb: Verb,
    title: String,
    found: Found,
    choice: Choice,
}

/// Which jobs a visitor means.
enum Choice {
    /// These, by the keys of the form; so many others have changed.
    Jobs(Vec<String>, usize),
    /// All that match.
    All(Filters),
}

/// Asks before jobs are changed.
async fn ask(
    context: &Context,
    place: Place,
    verb: Verb,
    found: Found,
    choice: Choice,
) -> Result<Response, Failure> {
    let snapshot = context.app.poller.snapshot().await?;
    let at_least = if found.complete { "" } else { "at least " };
    let some = text::some(found.count, "job", "jobs");
    let title = format!("{} {at_least}{some}", verb.title());
    html(&Confirm {
        page: Page::new(context, &snapshot, place.nav_key(), title.clone()),
        place,
        verb,
        title,
        found,
        choice,
    })
}

async fn act(context: Context, body: Bytes, place: Place, verb: Verb) -> Result<Response, Failure> {
    let form = Params::parse(&body);
    let confirmed = form.get("confirm").is_some();
    let jobs = place.jobs(&context.app.admin)?;
    if form.get("scope") == Some("all") {
        let filters = Filters::read(&form, &place, context.app.settings.payloads.are_shown())?;
        if confirmed {
            return start(&context, &form, place, verb, &filters).await;
        }
        let found = count(&context, &jobs, &filters).await?;
        return ask(&context, place, verb, found, Choice::All(filters)).await;
    }
    let keys: Vec<&str> = form.all("job").take(MAX_CHOSEN).collect();
    let seen: HashSet<&str> = keys.iter().copied().collect();
    if keys.is_empty() {
        return Err(Failure::bad("No job was chosen. Go back, and choose some."));
    }
    let chosen = seen
        .into_iter()
        .map(str::parse)
        .collect::<Result<Vec<Chosen>, Failure>>()?;
    let (entries, missing) = find(&jobs, &chosen).await?;
    if verb.asks() && !confirmed {
        let found = Found {
            count: entries.len() as u64,
            looked_at: 0,
            complete: true,
            examples: entries.into_iter().take(EXAMPLES).collect(),
        };
        let keys = keys.into_iter().map(str::to_owned).collect();
        return ask(&context, place, verb, found, Choice::Jobs(keys, missing)).await;
    }
    let entries: Vec<&Entry> = entries.iter().collect();
    let acted = context.act_on(&place, &entries, verb, &form).await?;
    let gone = missing + acted.gone + acted.skipped;
    let mut query = vec![
        ("done", verb.name().to_owned()),
        ("n", acted.done.to_string()),
        ("gone", gone.to_string()),
    ];
    if acted.conflicts > 0 {
        query.push(("held", acted.conflicts.to_string()));
    }
    Ok(back(&context, &place.path(), &query))
}

/// `303 See Other`, so that a reload of the page changes nothing.
pub(crate) fn back(context: &Context, path: &str, query: &[(&str, String)]) -> Response {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (name, value) in query {
        text.append_pair(name, value);
    }
    Redirect::to(&format!("{}{path}?{}", context.base, text.finish())).into_response()
}

/// What the last action did, out of the query that [`back`] wrote. Only numbers come from there.
pub(crate) fn notice(query: &Params) -> Option<String> {
    let number = |name| {
        query
            .get(name)
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let what = query.get("done")?;
    if let Some(verb) = Verb::from_name(what) {
        let mut text = format!(
            "{} {}.",
            text::some(number("n"), "job", "jobs"),
            verb.done()
        );
        match number("gone") {
            0 => {}
            gone => {
                text += &format!(
                    " {} changed, moved or ended meanwhile, and stayed as it was. Search by the id to see where a job is.",
                    text::some(gone, "job", "jobs")
                );
            }
        }
        match number("held") {
            0 => {}
            held => {
                text += &format!(
                    " {} dead, because another job holds the unique lock. The page of a job says which one.",
                    text::some(held, "job stays", "jobs stay")
                );
            }
        }
        return Some(text);
    }
    let changed = number("n") > 0;
    let cron = match (what, changed) {
        ("ran", true) => Some("Its job is enqueued."),
        ("ran", false) => Some("It was run since the page was shown, and not again now."),
        ("entry-paused", _) => Some("It is paused: it does not run until it is resumed."),
        ("entry-resumed", _) => Some("It runs again."),
        ("removed", _) => Some("The entry is removed. Jobs that it has enqueued stay."),
        _ => None,
    };
    if let Some(text) = cron {
        return Some(text.to_owned());
    }
    if what == "released" {
        return Some(match number("n") {
            0 => "The lock changed meanwhile, and stays as it is.".to_owned(),
            _ => "The lock is free.".to_owned(),
        });
    }
    Some(match what {
        "paused" => "The queue is paused on all nodes.".to_owned(),
        "resumed" => "The queue runs again on all nodes.".to_owned(),
        "cleared" => format!("{} removed.", text::some(number("n"), "job", "jobs")),
        "quiet" => "The process was asked to fetch nothing more.".to_owned(),
        "stop" => "The process was asked to stop.".to_owned(),
        "dump" => "The process was asked to log what runs.".to_owned(),
        _ => return None,
    })
}

fn example(entry: &Entry) -> String {
    match entry.job() {
        Ok(job) => format!("{} {}", text::short(job.class(), 100), job.jid()),
        Err(_) => "a payload that is no job".to_owned(),
    }
}

/// The action of a form: a new time comes as seconds from now, or as a time.
pub(crate) fn action(verb: Verb, form: &Params, now: SystemTime) -> Result<Action, Failure> {
    Ok(match verb {
        Verb::Requeue => Action::Requeue,
        Verb::Kill => Action::Kill,
        Verb::Delete => Action::Delete,
        Verb::Reschedule => {
            let at = jobs::time(form.get("time").unwrap_or_default())?;
            let in_ = form.get("in").and_then(|text| text.parse::<u64>().ok());
            let later = in_.and_then(|seconds| now.checked_add(Duration::from_secs(seconds)));
            let at = at.or(later);
            Action::Reschedule(at.ok_or_else(|| Failure::bad("Say when: choose a time."))?)
        }
    })
}

/// A count of the jobs that match, as far as a request may look.
pub(crate) struct Found {
    pub(crate) count: u64,
    looked_at: u64,
    /// Whether all jobs were read.
    pub(crate) complete: bool,
    examples: Vec<Entry>,
}

impl Found {
    fn examples(&self) -> impl Iterator<Item = String> {
        self.examples.iter().map(example)
    }

    /// How many jobs there are beyond the examples.
    fn more(&self) -> u64 {
        self.count.saturating_sub(self.examples.len() as u64)
    }
}

pub(crate) async fn count(
    context: &Context,
    jobs: &Jobs,
    filters: &Filters,
) -> Result<Found, Failure> {
    let query = Query::new().limit(EXAMPLES).filter(filters.filter());
    let examples = jobs.search(&query, SEARCH_BUDGET).await?;
    if !filters.is_set() {
        return Ok(Found {
            count: examples.total,
            looked_at: examples.total,
            complete: true,
            examples: examples.entries,
        });
    }
    let newest = Arc::new(Mutex::new(Progress::default()));
    let progress = Arc::clone(&newest);
    let selection = jobs
        .select()
        .matching(filters.filter())
        .progress(move |now| *progress.lock() = now);
    let counted = context
        .app
        .admin
        .clock()
        .timeout(SEARCH_BUDGET, selection.count())
        .await;
    let so_far = *newest.lock();
    let (count, complete) = match counted {
        Some(count) => (count? as u64, true),
        None => (so_far.done as u64, false),
    };
    Ok(Found {
        count,
        looked_at: so_far.looked_at,
        complete,
        examples: examples.entries,
    })
}

async fn start(
    context: &Context,
    form: &Params,
    place: Place,
    verb: Verb,
    filters: &Filters,
) -> Result<Response, Failure> {
    let path = place.path();
    let task = match context.start(place, filters, verb, form).await? {
        Ok(task) => task,
        Err(Busy(task)) => return Ok(back(context, &format!("/tasks/{}", task.id), &[])),
    };
    if !task.ends_within(&context.app.admin, PATIENCE).await {
        return Ok(back(context, &format!("/tasks/{}", task.id), &[]));
    }
    let query = [
        ("done", verb.name().to_owned()),
        ("n", task.progress().done.to_string()),
    ];
    Ok(back(context, &path, &query))
}
