//! A job in a list: [`JobRow`].

use std::time::SystemTime;

use sha2::{Digest, Sha256};
use verk_core::manage::Entry;

use crate::{app::App, place::Place, text, url};

/// The most characters that a list shows of a text.
const SHORT: usize = 160;

/// A job as a list shows it.
pub(crate) struct JobRow {
    /// What a form sends, so that the action meets exactly this job.
    pub(crate) key: String,
    /// The address of its page; `None` for a payload that is no job.
    pub(crate) path: Option<String>,
    pub(crate) class: String,
    pub(crate) jid: String,
    pub(crate) queue: Option<(String, String)>,
    /// `None` if they are hidden.
    pub(crate) args: Option<String>,
    pub(crate) error: Option<String>,
    /// How often it failed.
    pub(crate) failures: u32,
    pub(crate) at: Option<text::When>,
    /// Why the payload is no job.
    pub(crate) malformed: Option<String>,
}

impl JobRow {
    pub(crate) fn new(entry: &Entry, app: &App, place: &Place, now: SystemTime) -> Self {
        let at = |at| text::when(at, now);
        let mut row = Self {
            key: form_key(entry),
            path: None,
            class: String::new(),
            jid: String::new(),
            queue: None,
            args: None,
            error: None,
            failures: 0,
            at: entry.at().map(at),
            malformed: None,
        };
        match entry.job() {
            Ok(job) => {
                row.path = page_key(entry).map(|key| place.job_path(&key));
                row.class = text::short(job.class(), SHORT);
                row.jid = text::short(job.jid().as_str(), SHORT);
                row.queue = job
                    .queue()
                    .map(|queue| (queue.to_string(), url::part(queue.as_str())));
                row.args = app
                    .settings
                    .payloads
                    .args(job)
                    .map(|args| text::short(&args, SHORT));
                let class = job.error_class();
                row.error = match (class, job.error_message()) {
                    (Some(class), Some(message)) => {
                        Some(text::short(&format!("{class}: {message}"), SHORT))
                    }
                    (Some(only), None) | (None, Some(only)) => Some(text::short(&only, SHORT)),
                    (None, None) => None,
                };
                row.failures = job.failures();
                if place.is_queue() {
                    row.at = job.enqueued_at().map(at);
                }
            }
            Err(error) => row.malformed = Some(error.to_string()),
        }
        row
    }
}

/// `score-jid`, or in a queue `index-jid`; `None` if the payload is no job, or its id is too long
/// for an address.
pub(crate) fn page_key(entry: &Entry) -> Option<String> {
    let job = entry.job().ok()?;
    if !url::fits(job.jid().as_str()) {
        return None;
    }
    match entry.index() {
        Some(index) => Some(format!("{index}-{}", job.jid())),
        None => entry.key().map(|key| key.to_string()),
    }
}

/// The SHA-256 of the payload, and the place of the job: `HASH:AT`. `AT` is the score; in a queue
/// it is `@` and the index from the oldest end.
pub(crate) fn form_key(entry: &Entry) -> String {
    let at = match (entry.index(), entry.score()) {
        (Some(index), _) => format!("@{index}"),
        (None, Some(score)) => score.to_string(),
        (None, None) => String::new(),
    };
    format!("{}:{at}", digest(entry.payload()))
}

/// The SHA-256 of a payload, in hexadecimal digits.
pub(crate) fn digest(payload: &[u8]) -> String {
    let hash: [u8; 32] = Sha256::digest(payload).into();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
