//! Jobs that wait, and jobs that run.

use serde::Serialize;
use serde_json::value::RawValue;
use verk_core::{
    Job,
    manage::{Entry, RunningJob},
};

use super::time;
use crate::{pages::jobs, payloads::Payloads};

/// A job that waits.
#[derive(Debug, Serialize)]
pub struct EntryValue {
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
    /// The unique lock that it names; another job may hold it.
    lock: Option<String>,
    /// The payload as it is stored, where it may be shown.
    payload: Option<String>,
}

impl EntryValue {
    /// The job, with its payload where it may be shown.
    #[must_use]
    pub fn new(entry: &Entry, payloads: &Payloads) -> Self {
        let job = entry.job();
        Self {
            key: jobs::page_key(entry),
            form: jobs::form_key(entry),
            at: entry.at().map(time),
            malformed: job.as_ref().err().map(ToString::to_string),
            job: job.ok().map(|job| JobValue::new(job, payloads)),
            lock: entry.lock().map(|lock| lock.to_string()),
            payload: payloads
                .are_shown()
                .then(|| String::from_utf8_lossy(entry.payload()).into_owned()),
        }
    }
}

/// A job.
#[derive(Debug, Serialize)]
pub struct JobValue {
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
    /// The job, with its arguments where they may be shown.
    #[must_use]
    pub fn new(job: &Job, payloads: &Payloads) -> Self {
        let args = payloads.args(job).map(|args| {
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

/// A job that runs.
#[derive(Debug, Serialize)]
pub struct RunningValue {
    process: String,
    since: Option<String>,
    /// Its `queue` is the one that the job was fetched from, if the process says so.
    #[serde(flatten)]
    job: Option<JobValue>,
}

impl RunningValue {
    /// The job, with its arguments where they may be shown.
    #[must_use]
    pub fn new(running: &RunningJob, payloads: &Payloads) -> Self {
        let mut job = running
            .job
            .as_ref()
            .ok()
            .map(|job| JobValue::new(job, payloads));
        if let (Some(job), Some(queue)) = (&mut job, &running.queue) {
            job.queue = Some(queue.to_string());
        }
        Self {
            process: running.process.clone(),
            since: running.since.map(time),
            job,
        }
    }
}
