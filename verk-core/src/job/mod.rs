//! The wire record: the only code that reads and writes the JSON of a job, in every dialect.
//!
//! A [`Job`] keeps the bytes that it was read from. A change is a patch over them: unchanged parts
//! are written back byte for byte, unknown keys and the digits of numbers included.

mod active_job;
pub(crate) mod args;
mod compat;
mod decode;
mod dialect;
mod encode;
mod failure;
mod holder;
mod options;
mod patches;
#[cfg(feature = "otel")]
mod trace_context;
mod value;

pub use self::args::{ArgsError, ArgsReader, ArgsWriter};

use std::{borrow::Cow, collections::BTreeMap, fmt, ops::Range, sync::Arc, time::SystemTime};

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::names::{Jid, QueueName};

pub(crate) use self::{
    decode::MAX_DEPTH,
    dialect::Form,
    failure::{MAX_MESSAGE_CHARS, first_chars},
    options::PARTITION_KEY,
    value::string as json_string,
    value::time as json_time,
};
pub use self::{
    decode::MalformedJob,
    dialect::{Dialect, TimeFormat},
    failure::Failure,
    holder::HolderPlace,
};

use self::{
    decode::Member,
    patches::Patches,
    value::{count, push_quoted, string, strings, time},
};

/// One unit of work, as it is stored in Redis.
///
/// It reads jobs of Sidekiq 5 to 8 and of Elixir's Verk. [`encode`](Self::encode) returns the bytes
/// that were read, except for the keys that were changed since, and writes those as the program
/// that sent the job expects them. A changed job of Sidekiq's form without `retry` gets one,
/// because Sidekiq loses such a job if it lacks its class.
///
/// `Debug` shows the jid, the class and the queue, never the arguments.
///
/// ```
/// use bytes::Bytes;
/// use verk_core::Job;
///
/// let payload = r#"{"class":"Welcome","queue":"mailers","args":["ada",1.50],"jid":"b4a577ed","retry":3,"trace":7}"#;
/// let mut job = Job::decode(Bytes::from(payload))?;
/// assert_eq!(job.class(), "Welcome");
/// assert_eq!(job.args(), r#"["ada",1.50]"#);
/// assert_eq!(job.get("trace"), Some("7"));
/// assert_eq!(job.encode(), payload);
///
/// job.set_queue("low".parse()?);
/// assert_eq!(job.encode(), payload.replace("mailers", "low"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Job {
    /// The payload as it was read; empty for a new job.
    original_json: ByteString,
    /// Where the keys and values of `original_json` are, in order.
    entries: Vec<Member>,
    /// Which keys that `decode` has a bit for are among them.
    seen: u32,
    /// The keys that differ from `original_json`; all keys of a new job.
    patches: Patches,
    /// The dialect that the job follows. It never changes once the job is stored, even if keys
    /// change.
    dialect: Dialect,
    /// How times are written.
    time_format: TimeFormat,
    jid: Jid,
    class: Text,
    queue: Option<QueueName>,
    args: Text,
}

/// How often a job may be retried, as the job itself says. See [`Job::retry_limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryLimit {
    /// The job is neither retried nor kept in the dead set.
    Never,
    /// The job leaves it to the configuration.
    Default,
    /// Retried this many times.
    Times(u32),
}

/// How much of a backtrace the sender wants to be kept: Sidekiq's option `backtrace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backtrace {
    /// None; or the job does not say.
    Off,
    /// All of it.
    Full,
    /// The first lines.
    Lines(u32),
}

/// A new job was refused before it was stored anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidJob {
    /// The class is empty. Give the worker a name.
    #[error("the class of a job must not be empty")]
    EmptyClass,
    /// The arguments are not the text of a JSON array, as they must be.
    #[error("the args of a job must be a JSON array")]
    ArgsNotAnArray,
    /// The arguments are nested so deep that other programs refuse to read them. Flatten them.
    #[error("the args of a job must not be nested deeper than {max} levels", max = decode::MAX_DEPTH - 1)]
    ArgsTooDeep,
    /// The key of [`Job::set`] is one that verk writes. Use the method for it, if there is one.
    #[error("the key {key:?} of a job is written by verk itself")]
    ReservedKey {
        /// The key.
        key: &'static str,
    },
    /// The value of [`Job::set`] has no JSON form, such as a map whose keys are no strings.
    #[error("the value cannot be written as JSON")]
    ValueNotJson,
    /// The value of [`Job::set`] is nested so deep that other programs refuse to read it. Flatten
    /// it.
    #[error("a value in a job must not be nested deeper than {max} levels", max = decode::MAX_DEPTH - 1)]
    ValueTooDeep,
}

/// A text that is part of `original_json` or of a patch, or that is separate.
#[derive(Clone)]
enum Text {
    Slice(Range<usize>),
    /// A part of what was written since.
    Patch(Range<usize>),
    Owned(Arc<str>),
}

impl Job {
    /// Makes a new job with a fresh [`Jid`]. `args` is the text of a JSON array.
    ///
    /// ```
    /// use verk_core::{job::InvalidJob, Job};
    ///
    /// let job = Job::new("Welcome", "mailers".parse()?, r#"["ada",42]"#.to_owned())?;
    /// assert_eq!(job.args(), r#"["ada",42]"#);
    ///
    /// let refused = Job::new("Welcome", "mailers".parse()?, "42".to_owned());
    /// assert_eq!(refused.unwrap_err(), InvalidJob::ArgsNotAnArray);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidJob`] when the class is empty, or `args` is no JSON array.
    pub fn new(class: &str, queue: QueueName, args: String) -> Result<Self, InvalidJob> {
        if class.is_empty() {
            return Err(InvalidJob::EmptyClass);
        }
        let args = decode::check_args(&args)?;
        let jid = Jid::random();
        let mut patches = Patches::of_new_job();
        patches.add("queue", |text| push_quoted(text, queue.as_str()));
        let args = patches.add("args", |text| text.push_str(args));
        let quoted_class = patches.add("class", |text| push_quoted(text, class));
        patches.add("jid", |text| {
            // Its digits need no escapes.
            text.push('"');
            text.push_str(jid.as_str());
            text.push('"');
        });
        let class = if quoted_class.len() == class.len() + 2 {
            Text::Patch(quoted_class.start + 1..quoted_class.end - 1)
        } else {
            Text::Owned(class.into())
        };
        Ok(Self {
            original_json: ByteString::new(),
            entries: Vec::new(),
            seen: 0,
            patches,
            dialect: Dialect::Sidekiq,
            time_format: TimeFormat::default(),
            jid,
            class,
            queue: Some(queue),
            args: Text::Patch(args),
        }
        .opened())
    }

    /// The payload that the job was read from; empty for a new job.
    #[must_use]
    pub fn original_json(&self) -> &Bytes {
        self.original_json.as_bytes()
    }

    /// Returns the id of the job.
    #[must_use]
    pub fn jid(&self) -> &Jid {
        &self.jid
    }

    /// Returns the class, which names the worker. For a job of Rails' `ActiveJob` it is that of the
    /// job in the envelope; [`get`](Self::get)`("class")` returns the wrapper.
    ///
    /// ```
    /// use verk_core::Job;
    ///
    /// let payload = r#"{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"Welcome","jid":"1",
    ///     "args":[{"job_class":"Welcome","arguments":["ada",42]}]}"#;
    /// let job = Job::decode(payload.into())?;
    /// assert_eq!((job.class(), job.args()), ("Welcome", r#"["ada",42]"#));
    /// # Ok::<(), verk_core::job::MalformedJob>(())
    /// ```
    #[must_use]
    pub fn class(&self) -> &str {
        self.text(&self.class)
    }

    /// Returns the queue that the job belongs to; `None` if it names none, or an invalid one.
    #[must_use]
    pub fn queue(&self) -> Option<&QueueName> {
        self.queue.as_ref()
    }

    /// Returns the arguments as the text of a JSON array, in every dialect.
    #[must_use]
    pub fn args(&self) -> &str {
        self.text(&self.args)
    }

    /// The tags; empty when there are none.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        self.get("tags").map(strings).unwrap_or_default()
    }

    /// When the job was made.
    #[must_use]
    pub fn created_at(&self) -> Option<SystemTime> {
        self.get("created_at").and_then(time)
    }

    /// Returns when the job entered its queue the last time.
    #[must_use]
    pub fn enqueued_at(&self) -> Option<SystemTime> {
        self.get("enqueued_at").and_then(time)
    }

    /// When the job failed first.
    #[must_use]
    pub fn failed_at(&self) -> Option<SystemTime> {
        self.get("failed_at").and_then(time)
    }

    /// Returns when the job failed last; `None` if it failed once or never.
    #[must_use]
    pub fn retried_at(&self) -> Option<SystemTime> {
        self.get("retried_at").and_then(time)
    }

    /// Returns whether the job is kept in the dead set once its retries are used up. True unless
    /// the job says otherwise.
    #[must_use]
    pub fn dead(&self) -> bool {
        self.get("dead") != Some("false")
    }

    /// Returns how much of a backtrace the sender wants to keep.
    #[must_use]
    pub fn backtrace(&self) -> Backtrace {
        match self.get("backtrace") {
            Some("true") => Backtrace::Full,
            Some(raw) => match count(raw) {
                Some(0) | None => Backtrace::Off,
                Some(lines) => Backtrace::Lines(lines),
            },
            None => Backtrace::Off,
        }
    }

    /// Returns the JSON text of any key, known to verk or not.
    #[must_use]
    #[inline]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.patches.get_or(key, || {
            // The last one counts, as in every other reader.
            let entry = self.entries.iter().rfind(|entry| self.is_key(entry, key))?;
            Some(self.slice(&entry.value))
        })
    }

    /// Gives the job another id, before it is stored.
    #[cfg(feature = "cron")]
    pub(crate) fn set_jid(&mut self, jid: Jid) {
        self.patch_with("jid", |text| push_quoted(text, jid.as_str()));
        self.jid = jid;
    }

    /// Sets a member of the object that verk keeps in a job, under the key `verk`, or removes it.
    /// Other members keep their bytes.
    pub(crate) fn set_in_verk(&mut self, member: &str, json: Option<String>) {
        let all = self.verk().and_then(|json| serde_json::from_str(json).ok());
        let mut all: BTreeMap<String, Box<RawValue>> = all.unwrap_or_default();
        match json.and_then(|json| RawValue::from_string(json).ok()) {
            Some(value) => all.insert(member.to_owned(), value),
            None => all.remove(member),
        };
        // Raw values always have a JSON form.
        self.set_verk(&serde_json::to_string(&all).unwrap_or_default());
    }

    /// Moves the job to another queue.
    pub fn set_queue(&mut self, queue: QueueName) {
        if self.queue.as_ref() != Some(&queue) {
            self.patch_with("queue", |text| push_quoted(text, queue.as_str()));
            self.queue = Some(queue);
        }
    }

    /// Replaces the tags.
    pub fn set_tags(&mut self, tags: &[String]) {
        if tags.is_empty() {
            self.remove("tags");
        } else {
            self.patch("tags", value::array(tags));
        }
    }

    /// Sets whether the job is kept in the dead set once its retries are used up.
    pub fn set_dead(&mut self, dead: bool) {
        if self.dead() != dead {
            self.patch("dead", dead.to_string());
        }
    }

    /// Sets when the job was made, unless that is known already.
    pub fn set_created_at(&mut self, now: SystemTime) {
        if self.present("created_at").is_none() {
            self.patch_time("created_at", now);
        }
    }

    /// Sets when the job entered its queue; `None` while it is scheduled.
    pub fn set_enqueued_at(&mut self, enqueued_at: Option<SystemTime>) {
        match enqueued_at {
            Some(now) => self.patch_time("enqueued_at", now),
            None => self.remove("enqueued_at"),
        }
    }

    /// Sets the time at which the job entered its queue, and the time at which it was made, unless
    /// that is known.
    pub(crate) fn set_enqueued_now(&mut self, now: SystemTime) {
        let form = self.time_form();
        if self.present("created_at").is_none() {
            let time = self.patches.add("created_at", |text| form.write(now, text));
            self.patches
                .add("enqueued_at", |text| text.extend_from_within(time));
            return;
        }
        self.patch_time("enqueued_at", now);
    }

    /// The JSON text of a key that is neither missing nor null.
    fn present(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|raw| *raw != "null")
    }

    /// Whether the job may have a key, by its bit. That is quicker than a search for a key that it
    /// lacks.
    #[inline]
    fn may_have(&self, key: u32) -> bool {
        self.seen & key != 0 || !self.patches.is_empty()
    }

    /// The value of a key, if it is a JSON string.
    fn string(&self, key: &str) -> Option<Cow<'_, str>> {
        self.get(key).and_then(string)
    }

    fn patch_time(&mut self, key: &'static str, time: SystemTime) {
        let form = self.time_form();
        self.patch_with(key, |text| form.write(time, text));
    }

    /// The job with the class and the arguments of its `ActiveJob` envelope, if it has one.
    fn opened(mut self) -> Self {
        let opened = active_job::open(self.class(), self.args());
        if let Some((class, args)) =
            opened.map(|(class, args)| (Text::Owned(class.into()), Text::Owned(args.into())))
        {
            (self.class, self.args) = (class, args);
        }
        self
    }

    fn text<'a>(&'a self, text: &'a Text) -> &'a str {
        match text {
            Text::Slice(range) => self.slice(range),
            Text::Patch(range) => self.patches.text(range),
            Text::Owned(text) => text,
        }
    }

    fn slice(&self, range: &Range<usize>) -> &str {
        // `decode` made the ranges at the ends of JSON tokens.
        &self.original_json[range.clone()]
    }

    /// Whether `entry` has the key `key`, which may be written with escapes.
    fn is_key(&self, entry: &Member, key: &str) -> bool {
        if entry.escaped {
            return string(self.slice(&entry.key)).is_some_and(|name| name == key);
        }
        // Without the quotes.
        let inner = entry.key.start + 1..entry.key.end - 1;
        self.original_json.as_bytes()[inner] == *key.as_bytes()
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("jid", &self.jid)
            .field("class", &self.class())
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
