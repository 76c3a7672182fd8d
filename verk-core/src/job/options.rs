//! The options that the sender of a job sets for its run: Sidekiq's options.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use super::{
    Dialect, Job, RetryLimit,
    decode::{ENCRYPT, EXPIRES_IN, VERK},
    value::{number, quoted},
};
use crate::{names::QueueName, time::clock::time_after};

/// The longest `retry_for` that Sidekiq accepts.
const MAX_RETRY_FOR: Duration = Duration::from_secs(1_000_000_000);

/// The key of a job under which it has its partition key.
pub(crate) const PARTITION_KEY: &str = "partition_key";

impl Job {
    /// How often the job may be retried.
    ///
    /// With `n` failures so far, the last one included, a job is retried if `n` is not above the
    /// limit. If it has a [`retry_for`](Self::retry_for), that decides instead.
    ///
    /// ```
    /// use verk_core::{job::RetryLimit, Job};
    ///
    /// let limit = |options: &str| {
    ///     let payload = format!(r#"{{"class":"A","jid":"1","args":[]{options}}}"#);
    ///     Job::decode(payload.into()).unwrap().retry_limit()
    /// };
    /// assert_eq!(limit(r#","retry":false,"max_retry_count":9"#), RetryLimit::Never);
    /// assert_eq!(limit(r#","retry":true,"max_retry_count":9"#), RetryLimit::Times(9));
    /// assert_eq!(limit(r#","retry":5"#), RetryLimit::Times(5));
    /// assert_eq!(limit(r#","retry":true"#), RetryLimit::Default);
    /// ```
    #[must_use]
    pub fn retry_limit(&self) -> RetryLimit {
        let retry = self.get("retry");
        if retry == Some("false") {
            return RetryLimit::Never;
        }
        self.get("max_retry_count")
            .and_then(super::count)
            .or_else(|| retry.and_then(super::count))
            .map_or(RetryLimit::Default, RetryLimit::Times)
    }

    /// Limits the retries, in Sidekiq's key `retry` and in Verk's key `max_retry_count`.
    ///
    /// [`RetryLimit::Never`] means neither a retry nor the dead set. Elixir's Verk does not know
    /// that, and keeps the job in its dead set.
    pub fn set_retry_limit(&mut self, limit: RetryLimit) {
        let (retry, max_retry_count) = match limit {
            RetryLimit::Never => ("false".to_owned(), None),
            RetryLimit::Default => ("true".to_owned(), None),
            RetryLimit::Times(count) => (count.to_string(), Some(count)),
        };
        // A job of Elixir's Verk has no `retry`, which is one of its marks.
        if self.dialect == Dialect::Sidekiq || self.get("retry").is_some() {
            self.patch("retry", retry);
        }
        match max_retry_count {
            Some(count) => self.patch("max_retry_count", count.to_string()),
            None if self.dialect == Dialect::Verk && limit == RetryLimit::Never => {
                self.patch("max_retry_count", "0");
                self.set_dead(false);
            }
            None => self.remove("max_retry_count"),
        }
    }

    /// Limits the retries to this number: [`set_retry_limit`](Self::set_retry_limit) with
    /// [`RetryLimit::Times`].
    pub fn set_max_retry_count(&mut self, max_retry_count: u32) {
        self.set_retry_limit(RetryLimit::Times(max_retry_count));
    }

    /// Returns for how long after its first failure the job is retried, however often, if it has
    /// such a time.
    ///
    /// Sidekiq 7.1.3 to 8.0 obey both this and the number of retries. Sidekiq 8.1 and verk obey
    /// only this.
    ///
    /// ```
    /// use std::time::Duration;
    /// use verk_core::Job;
    ///
    /// let mut job = Job::new("Welcome", "mailers".parse()?, "[]".to_owned())?;
    /// assert_eq!(job.retry_for(), None);
    /// job.set_retry_for(Duration::from_secs(48 * 60 * 60));
    /// assert_eq!(job.get("retry_for"), Some("172800"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn retry_for(&self) -> Option<Duration> {
        self.get("retry_for").and_then(seconds)
    }

    /// Sets for how long after its first failure the job is retried, in whole seconds; at most a
    /// billion, as in Sidekiq.
    pub fn set_retry_for(&mut self, retry_for: Duration) {
        self.patch(
            "retry_for",
            retry_for.min(MAX_RETRY_FOR).as_secs().to_string(),
        );
    }

    /// Returns the queue that the job is retried in, if it is not its own.
    #[must_use]
    pub fn retry_queue(&self) -> Option<QueueName> {
        let name = self.string("retry_queue")?;
        QueueName::new(&name).ok()
    }

    /// Sets the queue that the job is retried in.
    pub fn set_retry_queue(&mut self, queue: &QueueName) {
        self.patch("retry_queue", quoted(queue.as_str()));
    }

    /// Returns the key that keeps the job and all others with it in one cell, if its queue lies in
    /// several: see [`partition_key`](crate::EnqueueExt::partition_key).
    #[must_use]
    pub fn partition_key(&self) -> Option<String> {
        self.string(PARTITION_KEY).map(Cow::into_owned)
    }

    /// Returns when the job expires: its `expires_in`, in seconds, after it entered its queue.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use verk_core::Job;
    ///
    /// let payload = r#"{"class":"A","jid":"1","args":[],"enqueued_at":1700000000.5,"expires_in":60}"#;
    /// let expires_at = UNIX_EPOCH + Duration::from_millis(1_700_000_060_500);
    /// assert_eq!(Job::decode(payload.into())?.expires_at(), Some(expires_at));
    /// # Ok::<(), verk_core::job::MalformedJob>(())
    /// ```
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        if !self.may_have(EXPIRES_IN) {
            return None;
        }
        let expires_in = self.get("expires_in").and_then(seconds)?;
        Some(time_after(self.enqueued_at()?, expires_in))
    }

    /// Returns whether the last argument is encrypted, so that only Sidekiq Enterprise can read it.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.may_have(ENCRYPT) && self.get("encrypt") == Some("true")
    }

    /// The JSON of the key `verk`, which has what verk's own features need.
    #[inline]
    pub(crate) fn verk(&self) -> Option<&str> {
        if !self.may_have(VERK) {
            return None;
        }
        self.get("verk")
    }

    /// Sets the JSON of the key `verk`.
    pub(crate) fn set_verk(&mut self, json: &str) {
        self.patch_with("verk", |text| text.push_str(json));
    }
}

/// Reads a number of seconds. A number below 0 is 0, and one that no `Duration` can represent is
/// the longest.
fn seconds(raw: &str) -> Option<Duration> {
    let seconds = number(raw)?.max(0.0);
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}
