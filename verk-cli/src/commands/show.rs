//! All that is known of a job.

use serde::Serialize;
use verk_core::{
    Job, WorkerEntry,
    manage::{Entry, Found, JobInProgress},
};
use verk_web::{
    Payloads,
    text::{duration, pretty_json},
    values::{EntryValue, JobValue},
};

use super::Session;
use crate::{
    args::{OneArgs, PlaceArg},
    failure::{Exit, Failure},
    locate::locate,
    output::{Cell, Table, Tone},
    text::{self, clean, clean_lines},
};

/// The most bytes of arguments or of a payload that are shown: 64 KiB.
const MAX_JSON: usize = 65_536;

/// A job, for programs.
#[derive(Serialize)]
struct Shown<T> {
    place: String,
    #[serde(flatten)]
    job: Option<T>,
}

impl Session<'_> {
    pub(crate) async fn show(&mut self, args: &OneArgs) -> Result<Exit, Failure> {
        match locate(self.admin, &args.jid, args.place.as_ref()).await? {
            Found::Waiting(entry) => self.show_entry(&entry)?,
            Found::InProgress(held) => self.show_held(&held)?,
            _ => {}
        }
        Ok(Exit::DONE)
    }

    fn show_entry(&mut self, entry: &Entry) -> Result<(), Failure> {
        if self.output.is_json() {
            return self.output.json(&Shown {
                place: PlaceArg::of(entry.source()).phrase(),
                job: Some(EntryValue::new(entry, &Payloads::Shown)),
            });
        }
        let place = PlaceArg::of(entry.source());
        let mut fields = Table::of_fields();
        fields.field("Place", Cell::new(place.phrase()));
        if let Some(at) = entry.at() {
            let name = match place {
                PlaceArg::Dead => "Died",
                PlaceArg::Retries => "Next try",
                PlaceArg::Scheduled | PlaceArg::Queue(_) => "Due",
            };
            let now = self.now();
            fields.field(name, Cell::new(self.output.time_and_age(at, now)));
        }
        if let Some(index) = entry.index() {
            fields.field("Before it", Cell::new(text::jobs(index)));
        }
        match entry.job() {
            Ok(job) => self.show_job(fields, job),
            Err(error) => {
                fields.field("No job", Cell::new(error.to_string()).tone(Tone::Bad));
                self.output.table(fields)?;
                self.show_payload(entry.payload())
            }
        }
    }

    fn show_held(&mut self, held: &JobInProgress) -> Result<(), Failure> {
        if self.output.is_json() {
            let job = held.job.as_ref().ok();
            let job = job.map(|job| JobValue::new(job, &Payloads::Shown));
            return self.output.json(&Shown {
                place: format!("on node {}", held.node),
                job,
            });
        }
        let mut fields = Table::of_fields();
        let alive = if held.alive { "" } else { ", which is silent" };
        fields.field("Place", Cell::new(format!("on node {}{alive}", held.node)));
        match &held.job {
            Ok(job) => self.show_job(fields, job),
            Err(error) => {
                fields.field("No job", Cell::new(error.to_string()).tone(Tone::Bad));
                self.output.table(fields)?;
                self.show_payload(&held.payload)
            }
        }
    }

    fn show_payload(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let payload = String::from_utf8_lossy(payload);
        let payload: String = payload.chars().take(MAX_JSON).collect();
        self.output
            .line(&format!("\nPayload\n{}", clean_lines(&payload)))
    }

    fn show_job(&mut self, mut fields: Table, job: &Job) -> Result<(), Failure> {
        let now = self.now();
        fields.field("Class", Cell::new(job.class()));
        fields.field("Jid", Cell::new(job.jid().as_str()));
        fields.field(
            "Queue",
            Cell::or_none(job.queue().map(|queue| queue.as_str())),
        );
        let tags = job.tags();
        if !tags.is_empty() {
            fields.field("Tags", Cell::new(tags.join(", ")));
        }
        for (name, time) in [
            ("Created", job.created_at()),
            ("Enqueued", job.enqueued_at()),
            ("First failed", job.failed_at()),
            ("Last failed", job.retried_at()),
        ] {
            if let Some(time) = time {
                fields.field(name, Cell::new(self.output.time_and_age(time, now)));
            }
        }
        if job.failures() > 0 {
            fields.field("Failed", Cell::new(format!("{} times", job.failures())));
        }
        if let Some(class) = job.error_class() {
            fields.field("Error", Cell::new(class).tone(Tone::Bad));
        }
        if let Some(worker) = self.admin.worker(job.class()) {
            show_worker(&mut fields, &worker, job);
        } else if !self.admin.workers().is_empty() {
            let none = "no worker of this program has the class";
            fields.field("Worker", Cell::new(none).tone(Tone::Warning));
        }
        self.output.table(fields)?;
        if let Some(message) = job.error_message() {
            self.output.line(&format!("\n{}", clean_lines(&message)))?;
        }
        let backtrace = job.error_backtrace();
        if !backtrace.is_empty() {
            self.output.line("\nBacktrace")?;
            for line in &backtrace {
                self.output.line(&format!("  {}", clean(line)))?;
            }
        }
        let args = pretty_json(job.args(), MAX_JSON);
        self.output
            .line(&format!("\nArguments\n{}", clean_lines(&args)))
    }
}

/// What this program would do with the job.
fn show_worker(fields: &mut Table, worker: &WorkerEntry, job: &Job) {
    let options = worker.options();
    let retries = options.max_retry_count.map_or_else(
        || "the retries of the settings".to_owned(),
        |retries| format!("{retries} retries"),
    );
    let timeout = options.timeout.map_or_else(
        || "no timeout".to_owned(),
        |timeout| format!("a timeout of {}", duration(timeout)),
    );
    let (place, queue) = (worker.location(), options.queue);
    let settings = format!("{place}: queue {queue}, {retries}, {timeout}");
    fields.field("Worker", Cell::new(settings));
    if let Err(error) = worker.job(job.args()) {
        let cannot = format!("it cannot read the arguments: {error}");
        fields.field("", Cell::new(cannot).tone(Tone::Bad));
    }
}
