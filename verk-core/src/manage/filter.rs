//! Which jobs a list shows: [`Filter`].

use std::{fmt, time::SystemTime};

use super::Entry;
use crate::{
    job::Job,
    storage::{Source, contains},
    time::unix_seconds,
};

/// Which jobs of a place are meant: those that match everything that is set. The default is all.
///
/// The storage itself skips most of the others, by a search for plain text. Then each job is
/// decoded and compared exactly.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use std::time::{Duration, SystemTime};
/// # use verk_core::{Job, Verk};
/// # use verk_testing::MemoryStorage;
/// use verk_core::manage::{Filter, Query};
///
/// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
/// # for class in ["Welcome", "Report"] {
/// #     verk.enqueue(Job::new(class, "mailers".parse()?, r#"["ada"]"#.to_owned())?).await?;
/// # }
/// let filter = Filter::new().class("Welcome").text("ada");
/// let listed = verk.admin().queue("mailers")?.list(&Query::new().filter(filter)).await?;
/// assert_eq!(listed.entries.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Filter {
    class: Option<String>,
    queue: Option<String>,
    error: Option<String>,
    text: Option<String>,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
}

impl Filter {
    /// All jobs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Jobs of this class. In an envelope of ActiveJob, its class counts.
    #[must_use]
    pub fn class(mut self, class: impl Into<String>) -> Self {
        self.class = Some(class.into());
        self
    }

    /// Jobs that wait in this queue, or in a set and name it.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Jobs whose error class or error message has this text.
    #[must_use]
    pub fn error(mut self, error: impl Into<String>) -> Self {
        self.error = Some(error.into());
        self
    }

    /// Jobs whose payload has this text, in its stored form: JSON, in which a quote is `\"`.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Jobs with this time or a later one: in a set the time that each is due or died, in a queue
    /// the time that it was enqueued. A job of a queue without that time does not match.
    #[must_use]
    pub fn since(mut self, since: SystemTime) -> Self {
        self.since = Some(since);
        self
    }

    /// Jobs with this time or an earlier one: as [`since`](Self::since).
    #[must_use]
    pub fn until(mut self, until: SystemTime) -> Self {
        self.until = Some(until);
        self
    }

    /// Returns whether the job matches.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        let job = entry.job.as_ref().ok();
        let of_job = |wanted: &Option<String>, is: fn(&Job, &str) -> bool| {
            let is_wanted = |wanted: &String| job.is_some_and(|job| is(job, wanted));
            wanted.as_ref().is_none_or(is_wanted)
        };
        let has_text = |text: &String| contains(entry.payload(), text);
        of_job(&self.class, |job, class| job.class() == class)
            && (self.queue.as_ref()).is_none_or(|queue| is_in(entry, queue))
            && of_job(&self.error, has_error)
            && self.text.as_ref().is_none_or(has_text)
            && self.matches_time(entry)
    }

    /// The scores between which the members of a set are.
    pub(super) fn scores(&self) -> (f64, f64) {
        (
            self.since.map_or(f64::NEG_INFINITY, unix_seconds),
            self.until.map_or(f64::INFINITY, unix_seconds),
        )
    }

    /// Texts that the payload of each job has that matches.
    pub(super) fn texts(&self, source: &Source) -> Vec<String> {
        let queue = match source {
            Source::Queue(_) => None,
            Source::Set(_) => self.queue.as_deref(),
        };
        let names = [self.class.as_deref(), queue].into_iter().flatten();
        let plain = names.map(plain_name);
        let error = self
            .error
            .as_deref()
            .map(|error| plain_part(error).to_owned());
        let mut texts: Vec<String> = plain.chain(error).chain(self.text.clone()).collect();
        texts.retain(|text| !text.is_empty());
        texts
    }

    fn matches_time(&self, entry: &Entry) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let enqueued_at = || entry.job.as_ref().ok().and_then(Job::enqueued_at);
        let at = entry.score().or_else(|| enqueued_at().map(unix_seconds));
        let (since, until) = self.scores();
        at.is_some_and(|at| since <= at && at <= until)
    }
}

/// Shows no text of jobs.
impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("class", &self.class)
            .field("queue", &self.queue)
            .field("since", &self.since)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

fn is_in(entry: &Entry, queue: &str) -> bool {
    match entry.source() {
        Source::Queue(of_entry) => of_entry.as_str() == queue,
        Source::Set(_) => {
            let of_job = entry.job.as_ref().ok().and_then(Job::queue);
            of_job.is_some_and(|of_job| of_job.as_str() == queue)
        }
    }
}

fn has_error(job: &Job, error: &str) -> bool {
    let of_job = [job.error_class(), job.error_message()];
    of_job
        .into_iter()
        .flatten()
        .any(|of_job| of_job.contains(error))
}

/// A text that each payload has in which a string is `name`: with the quote before it, so that
/// longer names do not match, if no program writes `name` in another way.
///
/// Without the quote after it, which is `\"` in arguments that are a string.
pub(super) fn plain_name(name: &str) -> String {
    let plain = plain_part(name);
    if plain == name && !name.is_empty() {
        format!("\"{name}")
    } else {
        plain.to_owned()
    }
}

/// The longest part of a text that every program writes as it is, inside a string of JSON. Some
/// write `<`, `/` or `ü` in another way.
pub(super) fn plain_part(text: &str) -> &str {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || " _.:,;-()[]{}=#*?!".contains(char);
    let parts = text.split(|char| !is_plain(char));
    parts.max_by_key(|part| part.len()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_text_is_searched_on_the_server() {
        assert_eq!(plain_name("My::Worker"), "\"My::Worker");
        assert_eq!(plain_name("Müller/Worker"), "Worker");
        assert_eq!(plain_name("\"\\"), "");
        assert_eq!(plain_name(""), "");
        assert_eq!(plain_part("no such \"file\": <x>"), "no such ");
    }
}
