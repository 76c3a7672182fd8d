//! What failures leave in a job.

use std::{
    borrow::Cow,
    fmt,
    io::{Read as _, Write as _},
    time::SystemTime,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use serde::de::{DeserializeSeed, SeqAccess, Visitor};

use super::{
    Dialect, Job,
    value::{array, count, quoted, string, strings},
};
use crate::names::QueueName;

/// The record of one failed attempt. See [`Job::record_failure`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The kind of error, such as a type name.
    pub error_class: String,
    /// The message of the error. Text beyond 10 000 characters is cut off when it is recorded.
    pub error_message: String,
    /// The backtrace, a frame each; empty when there is none.
    pub error_backtrace: Vec<String>,
}

impl Job {
    /// Returns how often the job has failed so far.
    ///
    /// ```
    /// use verk_core::Job;
    ///
    /// let payload = r#"{"class":"A","jid":"1","args":[],"failed_at":1700000000.5,"retry_count":0}"#;
    /// assert_eq!(Job::decode(payload.into())?.failures(), 1);
    ///
    /// // Elixir's Verk counts from 1.
    /// let payload = r#"{"class":"A","jid":"1","args":"[]","failed_at":1700000000,"retry_count":1}"#;
    /// assert_eq!(Job::decode(payload.into())?.failures(), 1);
    /// # Ok::<(), verk_core::job::MalformedJob>(())
    /// ```
    #[must_use]
    pub fn failures(&self) -> u32 {
        if self.present("failed_at").is_none() {
            return 0;
        }
        let retry_count = self.get("retry_count").and_then(count).unwrap_or(0);
        match self.dialect {
            Dialect::Sidekiq => retry_count.saturating_add(1),
            Dialect::Verk => retry_count,
        }
    }

    /// Returns the number in the key `retry_count`; `None` before the first failure, or if it is no
    /// whole number.
    ///
    /// Sidekiq and Elixir's Verk count differently: after the first failure it is 0 with Sidekiq
    /// and 1 with Verk, whose new jobs have 0. [`failures`](Self::failures) is the same for both.
    /// Sidekiq Web's "retry now" subtracts one, so it may be -1.
    ///
    /// ```
    /// use verk_core::Job;
    ///
    /// let payload = r#"{"class":"A","jid":"1","args":[],"failed_at":1700000000.5,"retry_count":2}"#;
    /// let job = Job::decode(payload.into())?;
    /// assert_eq!((job.retry_count(), job.failures()), (Some(2), 3));
    ///
    /// let job = Job::decode(r#"{"class":"A","jid":"1","args":[]}"#.into())?;
    /// assert_eq!((job.retry_count(), job.failures()), (None, 0));
    /// # Ok::<(), verk_core::job::MalformedJob>(())
    /// ```
    #[must_use]
    pub fn retry_count(&self) -> Option<i64> {
        self.get("retry_count")?.parse().ok()
    }

    /// Returns the kind of the last error. Elixir's Verk writes none.
    #[must_use]
    pub fn error_class(&self) -> Option<Cow<'_, str>> {
        self.string("error_class")
    }

    /// The message of the last error.
    #[must_use]
    pub fn error_message(&self) -> Option<Cow<'_, str>> {
        self.string("error_message")
    }

    /// Returns the backtrace of the last error, a frame each; empty when there is none.
    ///
    /// If a backtrace inflates to more than 1 MiB, the rest is left out.
    #[must_use]
    pub fn error_backtrace(&self) -> Vec<String> {
        match self.get("error_backtrace") {
            Some(raw) if raw.starts_with('[') => strings(raw),
            Some(raw) => string(raw).map_or_else(Vec::new, |text| {
                inflated(&text).unwrap_or_else(|| plain(&text))
            }),
            None => Vec::new(),
        }
    }

    /// Records a failure, so that the payload is ready for the retry or the dead set.
    ///
    /// Counts as the job's own dialect does: see [`failures`](Self::failures). As with Sidekiq, the
    /// job goes to its `retry_queue` if it has one, else back to `fetched_from`, even if it named
    /// another queue before.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use verk_core::{job::Failure, Job};
    ///
    /// let mut job = Job::decode(r#"{"class":"A","jid":"1","args":[],"queue":"low"}"#.into())?;
    /// let failure = Failure {
    ///     error_class: "io::Error".to_owned(),
    ///     error_message: "connection refused".to_owned(),
    ///     error_backtrace: vec![],
    /// };
    /// let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    /// job.record_failure(&failure, now, &"low".parse()?);
    /// assert_eq!(job.failures(), 1);
    /// assert_eq!(job.failed_at(), Some(now));
    /// assert_eq!(job.get("failed_at"), Some("1700000000.0"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record_failure(&mut self, failure: &Failure, now: SystemTime, fetched_from: &QueueName) {
        let failures = self.failures().saturating_add(1);
        let retry_count = match self.dialect {
            Dialect::Sidekiq => failures - 1,
            Dialect::Verk => failures,
        };
        let first = self.present("failed_at").is_none();
        self.patch("retry_count", retry_count.to_string());
        self.patch_time(if first { "failed_at" } else { "retried_at" }, now);

        self.patch(
            "error_message",
            quoted(first_chars(&failure.error_message, MAX_MESSAGE_CHARS)),
        );
        // Elixir's Verk has no such key. One that Sidekiq wrote must not name the error before.
        if self.dialect == Dialect::Sidekiq || self.get("error_class").is_some() {
            self.patch("error_class", quoted(&failure.error_class));
        }
        if failure.error_backtrace.is_empty() {
            // What is there belongs to another error.
            self.remove("error_backtrace");
        } else {
            let backtrace = match self.dialect {
                Dialect::Sidekiq => deflated(&failure.error_backtrace),
                Dialect::Verk => failure
                    .error_backtrace
                    .iter()
                    .flat_map(|frame| [frame, "\n"])
                    .collect(),
            };
            self.patch("error_backtrace", quoted(&backtrace));
        }

        let queue = self.retry_queue();
        self.set_queue(queue.unwrap_or_else(|| fetched_from.clone()));
    }

    /// Subtracts a retry that an operator asked for from the count, as Sidekiq does, down to -1. A
    /// job of Elixir's Verk keeps its count, as in Verk.
    pub(crate) fn uncount_retry(&mut self) {
        if let (Dialect::Sidekiq, Some(count)) = (self.dialect, self.retry_count()) {
            self.patch("retry_count", count.saturating_sub(1).to_string());
        }
    }
}

/// The first characters of a text, at most so many.
pub(crate) fn first_chars(text: &str, max: usize) -> &str {
    match text.char_indices().nth(max) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Verk's form: a frame on each line.
fn plain(text: &str) -> Vec<String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Sidekiq's form: base64 of a deflated JSON array of strings.
fn deflated(frames: &[String]) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing to a Vec does not fail.
    let _ = encoder.write_all(array(frames).as_bytes());
    STANDARD.encode(encoder.finish().unwrap_or_default())
}

/// Reads Sidekiq's form; `None` if the text has another form.
fn inflated(text: &str) -> Option<Vec<String>> {
    // Sidekiq 6 broke the base64 into lines.
    let base64: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let deflated = STANDARD.decode(base64).ok()?;
    let mut json = Vec::new();
    let inflated = ZlibDecoder::new(&deflated[..])
        .take(MAX_BACKTRACE_BYTES)
        .read_to_end(&mut json);
    if inflated.is_err() && json.is_empty() {
        return None;
    }
    // The array may be cut off: the part before the cut is valid.
    let mut frames = Vec::new();
    let json = String::from_utf8_lossy(&json);
    let mut deserializer = serde_json::Deserializer::from_str(&json);
    let _ = Frames(&mut frames).deserialize(&mut deserializer);
    Some(frames)
}

/// Collects the strings of an array, up to the first error.
struct Frames<'a>(&'a mut Vec<String>);

impl<'de> DeserializeSeed<'de> for Frames<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Frames<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(frame) = seq.next_element()? {
            self.0.push(frame);
        }
        Ok(())
    }
}

/// As Sidekiq has it.
pub(crate) const MAX_MESSAGE_CHARS: usize = 10_000;

/// The most that a deflated backtrace may inflate to.
const MAX_BACKTRACE_BYTES: u64 = 1024 * 1024;
