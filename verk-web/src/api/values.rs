//! How the API writes what an operator reads. Times are RFC 3339 in UTC; durations are seconds.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::value::RawValue;
use verk_core::{
    Job,
    manage::{Entry, Pause, Process, QueueOverview, RunningJob},
};

use crate::{app::App, pages::jobs, text};

/// A time.
pub(super) fn time(at: SystemTime) -> String {
    text::rfc3339(at)
}

/// A duration in seconds.
pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[derive(Debug, Serialize)]
pub(super) struct QueueValue<'a> {
    pub(super) queue: &'a str,
    pub(super) waiting: usize,
    /// How long the oldest waiting job has waited, in seconds.
    pub(super) latency: f64,
    pub(super) processed: u64,
    pub(super) failed: u64,
    pub(super) running: usize,
    pub(super) prefetched: usize,
    pub(super) concurrency: usize,
    pub(super) processes: usize,
    /// Runs that ended in a second; `null` until the server has watched for 10 seconds.
    pub(super) rate: Option<f64>,
    pub(super) paused: Option<PauseValue<'a>>,
}

impl<'a> QueueValue<'a> {
    pub(super) fn new(queue: &'a QueueOverview, rate: Option<f64>) -> Self {
        Self {
            queue: queue.queue.as_str(),
            waiting: queue.enqueued,
            latency: seconds(queue.latency),
            processed: queue.processed,
            failed: queue.failed,
            running: queue.running,
            prefetched: queue.prefetched,
            concurrency: queue.concurrency,
            processes: queue.processes,
            rate,
            paused: queue.paused.as_ref().map(PauseValue::new),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct PauseValue<'a> {
    since: Option<String>,
    by: Option<&'a str>,
    reason: Option<&'a str>,
}

impl<'a> PauseValue<'a> {
    fn new(pause: &'a Pause) -> Self {
        Self {
            since: pause.since.map(time),
            by: pause.by.as_deref(),
            reason: pause.reason.as_deref(),
        }
    }
}

/// A job that waits.
#[derive(Debug, Serialize)]
pub(super) struct EntryValue {
    /// Its last part of the address: `score-jid`, or in a queue `index-jid`. `null` for a payload
    /// that is no job.
    key: Option<String>,
    /// What an action sends to meet exactly this job.
    form: String,
    /// When it is due, or died.
    at: Option<String>,
    #[serde(flatten)]
    job: Option<JobValue>,
    /// Why the payload is no job.
    malformed: Option<String>,
    /// The payload as it is stored, where it may be shown.
    payload: Option<String>,
}

impl EntryValue {
    pub(super) fn new(entry: &Entry, app: &App) -> Self {
        let job = entry.job();
        Self {
            key: jobs::page_key(entry),
            form: jobs::form_key(entry),
            at: entry.at().map(time),
            malformed: job.as_ref().err().map(ToString::to_string),
            job: job.ok().map(|job| JobValue::new(job, app)),
            payload: app
                .shows_payloads()
                .then(|| String::from_utf8_lossy(entry.payload()).into_owned()),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct JobValue {
    jid: String,
    class: String,
    queue: Option<String>,
    /// As they are stored, with every digit; `null` where they are hidden.
    args: Option<Box<RawValue>>,
    tags: Vec<String>,
    created_at: Option<String>,
    enqueued_at: Option<String>,
    failed_at: Option<String>,
    retried_at: Option<String>,
    failures: u32,
    error_class: Option<String>,
    error_message: Option<String>,
    backtrace: Vec<String>,
}

impl JobValue {
    pub(super) fn new(job: &Job, app: &App) -> Self {
        let args = app.args_of(job).map(|args| {
            // What a program redacts may be any text.
            RawValue::from_string(args.clone())
                .or_else(|_| serde_json::value::to_raw_value(&args))
                .unwrap_or_default()
        });
        Self {
            jid: job.jid().to_string(),
            class: job.class().to_owned(),
            queue: job.queue().map(ToString::to_string),
            args,
            tags: job.tags(),
            created_at: job.created_at().map(time),
            enqueued_at: job.enqueued_at().map(time),
            failed_at: job.failed_at().map(time),
            retried_at: job.retried_at().map(time),
            failures: job.failures(),
            error_class: job.error_class().map(Into::into),
            error_message: job.error_message().map(Into::into),
            backtrace: job.error_backtrace(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct ProcessValue<'a> {
    identity: &'a str,
    host: &'a str,
    pid: Option<u32>,
    tag: &'a str,
    labels: &'a [String],
    version: Option<&'a str>,
    queues: Vec<ProcessQueueValue<'a>>,
    concurrency: usize,
    busy: usize,
    quiet: bool,
    beat: String,
    started_at: Option<String>,
    /// In KiB.
    rss: Option<u64>,
    /// The round trip to the storage, in seconds.
    rtt: f64,
    node: Option<&'a str>,
    embedded: bool,
}

#[derive(Debug, Serialize)]
struct ProcessQueueValue<'a> {
    queue: &'a str,
    concurrency: usize,
    shared: bool,
}

impl<'a> ProcessValue<'a> {
    pub(super) fn new(process: &'a Process) -> Self {
        let queues = process.queues.iter().map(|queue| ProcessQueueValue {
            queue: queue.name.as_str(),
            concurrency: queue.concurrency,
            shared: queue.shared,
        });
        Self {
            identity: &process.identity,
            host: &process.host,
            pid: process.pid,
            tag: &process.tag,
            labels: &process.labels,
            version: process.version.as_deref(),
            queues: queues.collect(),
            concurrency: process.concurrency,
            busy: process.busy,
            quiet: process.quiet,
            beat: time(process.beat),
            started_at: process.started_at.map(time),
            rss: process.rss_kib,
            rtt: seconds(process.rtt),
            node: process.node.as_ref().map(verk_core::names::NodeId::as_str),
            embedded: process.embedded,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct RunningValue {
    process: String,
    queue: Option<String>,
    since: Option<String>,
    #[serde(flatten)]
    job: Option<JobValue>,
}

impl RunningValue {
    pub(super) fn new(running: &RunningJob, app: &App) -> Self {
        Self {
            process: running.process.clone(),
            queue: running.queue.as_ref().map(ToString::to_string),
            since: running.since.map(time),
            job: running.job.as_ref().ok().map(|job| JobValue::new(job, app)),
        }
    }
}
