//! One job or one process, with all that is known of it.

use std::{cell::Cell, time::SystemTime};

use ratatui::layout::Rect;
use verk_core::{
    Job,
    manage::{Entry, Process, RunningJob, Why},
};
use verk_web::text::{bytes, duration, pretty_json, relative};

use super::{
    Canvas,
    chrome::wrap,
    look::{BOLD, PLAIN},
};
use crate::{
    args::PlaceArg,
    output::Tone,
    text::{clean, clean_lines, count},
    times,
    top::{
        act::name,
        state::{Detail, Opened, State},
    },
};

/// The most bytes of arguments or of a payload that are shown.
const MAX_JSON: usize = 65_536;

/// The width of the names of fields.
const NAMES: usize = 13;

/// A line, which is clean.
struct Line {
    /// The name of a field, or a heading if there is no text.
    name: &'static str,
    text: String,
    tone: Tone,
}

/// Lines with names and texts.
#[derive(Default)]
pub(super) struct Page(Vec<Line>);

impl Page {
    pub(super) fn field(&mut self, name: &'static str, text: impl AsRef<str>) {
        self.line(name, text, Tone::Plain);
    }

    fn line(&mut self, name: &'static str, text: impl AsRef<str>, tone: Tone) {
        let text = clean(text.as_ref());
        self.0.push(Line { name, text, tone });
    }

    /// Lines below a heading.
    fn block(&mut self, name: &'static str, text: &str) {
        self.field("", "");
        self.field(name, "");
        for line in clean_lines(text).lines() {
            self.field("", line);
        }
    }
}

impl Canvas<'_> {
    pub(super) fn detail(&mut self, state: &State, detail: &Detail, area: Rect) {
        let (title, page) = match &detail.of {
            Opened::Entry(entry) => (name(entry), self.entry(entry, detail.why.as_ref())),
            Opened::Running(running) => {
                let job = running.job.as_ref();
                let title = job.map_or_else(
                    |_| "not a job".to_owned(),
                    |job| format!("{} {}", job.class(), job.jid()),
                );
                (title, self.running_job(running))
            }
            Opened::Process(identity) => {
                let page = match state.process(identity) {
                    Some(process) => self.process(process),
                    None => {
                        let mut page = Page::default();
                        page.line("", "it does not report itself any more", Tone::Warning);
                        page
                    }
                };
                (identity.clone(), page)
            }
        };
        self.page(&title, &page, &detail.scroll, area);
    }

    /// Draws the lines of a page that fit, below its title.
    pub(super) fn page(&mut self, title: &str, page: &Page, scroll: &Cell<usize>, area: Rect) {
        let width = usize::from(area.width.saturating_sub(2));
        let mut rows: Vec<(&'static str, String, Tone)> = Vec::new();
        for Line { name, text, tone } in &page.0 {
            let indent = if name.is_empty() || text.is_empty() {
                0
            } else {
                NAMES
            };
            let mut parts = wrap(text, width.saturating_sub(indent)).into_iter();
            rows.push((name, parts.next().unwrap_or_default(), *tone));
            let indent = " ".repeat(indent);
            rows.extend(parts.map(|part| ("", format!("{indent}{part}"), *tone)));
        }
        let height = usize::from(area.height.saturating_sub(1));
        let above = scroll.get().min(rows.len().saturating_sub(height));
        scroll.set(above);
        let place = match rows.len() {
            all if all > height => format!(
                "  lines {} to {} of {}",
                count(above + 1),
                count((above + height).min(all)),
                count(all)
            ),
            _ => String::new(),
        };
        let head = area.width.saturating_sub(2);
        let place_width = u16::try_from(place.len()).unwrap_or(0).min(head);
        let room = head - place_width;
        self.text(1, area.y, room, &clean(title), BOLD);
        self.text(1 + room, area.y, place_width, &place, PLAIN);
        let shown = rows.iter().skip(above);
        for ((name, text, tone), y) in shown.zip(area.y + 1..area.bottom()) {
            self.text(1, y, head, name, BOLD);
            let indent = if name.is_empty() { 0 } else { NAMES };
            let indent = u16::try_from(indent).unwrap_or(0);
            let style = self.look.tone(*tone);
            self.text(1 + indent, y, head - indent, text, style);
        }
    }

    fn entry(&self, entry: &Entry, why: Option<&Why>) -> Page {
        let mut page = Page::default();
        let place = PlaceArg::of(entry.source());
        page.field("Place", place.phrase());
        if let Some(at) = entry.at() {
            let name = match place {
                PlaceArg::Dead => "Died",
                PlaceArg::Retries => "Next try",
                PlaceArg::Scheduled | PlaceArg::Queue(_) => "Due",
            };
            page.field(name, self.time(at));
        }
        match why {
            None if entry.job().is_err() => {}
            None => page.field("Why", "reading ..."),
            Some(Why::Searching { looked_at, of, .. }) => page.field(
                "Why",
                format!(
                    "it has moved on; examined {} of {} jobs",
                    count(*looked_at),
                    count(*of)
                ),
            ),
            Some(Why::Known(known)) => {
                page.field("Now", known.place.to_string());
                let names = ["Why"].into_iter().chain(std::iter::repeat(""));
                for (name, reason) in names.zip(&known.reasons) {
                    let indent = if name.is_empty() { NAMES } else { 0 };
                    page.field(name, format!("{}{reason}", " ".repeat(indent)));
                }
            }
        }
        match entry.job() {
            Ok(job) => self.job(&mut page, job),
            Err(error) => {
                page.line("No job", error.to_string(), Tone::Bad);
                let payload = entry.payload().iter().copied().take(MAX_JSON);
                let payload: Vec<u8> = payload.collect();
                page.block("Payload", &String::from_utf8_lossy(&payload));
            }
        }
        page
    }

    fn running_job(&self, running: &RunningJob) -> Page {
        let mut page = Page::default();
        page.field("Runs on", &running.process);
        if let Some(since) = running.since {
            page.field("Since", self.time(since));
        }
        if let Some(queue) = &running.queue {
            page.field("From queue", queue.as_str());
        }
        match &running.job {
            Ok(job) => self.job(&mut page, job),
            Err(error) => page.line("No job", error.to_string(), Tone::Bad),
        }
        page
    }

    fn job(&self, page: &mut Page, job: &Job) {
        if let Some(queue) = job.queue() {
            page.field("Queue", queue.as_str());
        }
        let tags = job.tags();
        if !tags.is_empty() {
            page.field("Tags", tags.join(", "));
        }
        for (name, time) in [
            ("Created", job.created_at()),
            ("Enqueued", job.enqueued_at()),
            ("First failed", job.failed_at()),
            ("Last failed", job.retried_at()),
        ] {
            if let Some(time) = time {
                page.field(name, self.time(time));
            }
        }
        if job.failures() > 0 {
            let times = if job.failures() == 1 { "time" } else { "times" };
            page.field("Failed", format!("{} {times}", count(job.failures())));
        }
        if let Some(class) = job.error_class() {
            page.line("Error", class, Tone::Bad);
        }
        if let Some(message) = job.error_message() {
            page.block("Message", &message);
        }
        let backtrace = job.error_backtrace();
        if !backtrace.is_empty() {
            page.block("Backtrace", &backtrace.join("\n"));
        }
        page.block("Arguments", &pretty_json(job.args(), MAX_JSON));
    }

    fn process(&self, process: &Process) -> Page {
        let mut page = Page::default();
        page.field("Host", &process.host);
        if let Some(pid) = process.pid {
            page.field("Process id", pid.to_string());
        }
        if !process.tag.is_empty() {
            page.field("Tag", &process.tag);
        }
        if !process.labels.is_empty() {
            page.field("Labels", process.labels.join(", "));
        }
        if let Some(version) = &process.version {
            page.field("Version", version);
        }
        if let Some(node) = &process.node {
            page.field("Node", node.as_str());
        }
        let state = match (process.quiet, process.embedded) {
            (true, _) => "quiet: it starts no more jobs",
            (false, true) => "runs, embedded in another program: it takes no signals",
            (false, false) => "runs",
        };
        page.field("State", state);
        let (busy, permits) = (count(process.busy), count(process.concurrency));
        page.field("Busy", format!("{busy} of {permits}"));
        if let Some(kib) = process.rss_kib {
            let memory = bytes(kib.saturating_mul(1_024));
            page.field("Memory", memory.replace('\u{202f}', ","));
        }
        page.field("Reported", self.time(process.beat));
        if let Some(started) = process.started_at {
            page.field("Started", self.time(started));
        }
        page.field("Round trip", duration(process.rtt));
        page.field("", "");
        page.field("Queues", "");
        for queue in &process.queues {
            let shared = if queue.shared {
                ", shared with others"
            } else {
                ""
            };
            let permits = count(queue.concurrency);
            page.field("", format!("{}: {permits} at once{shared}", queue.name));
        }
        page
    }

    /// A time in the zone of this machine, and how long ago or in how long that is.
    fn time(&self, at: SystemTime) -> String {
        let age = relative(at, self.moment.now).replace('\u{202f}', ",");
        format!("{} ({age})", times::local(at, &self.look.zone))
    }
}
