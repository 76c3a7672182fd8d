//! The dialect of a job: that of Sidekiq or of Elixir's Verk.

use serde::{Deserialize, Serialize};

use super::{
    Job, RetryLimit,
    value::{TimeForm, quoted},
};

/// The job format of a program. A job that another program made keeps its own format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Ruby's Sidekiq, which Elixir's Verk reads too.
    #[default]
    Sidekiq,
    /// Elixir's Verk: its 13 keys, with the args in a string. Sidekiq cannot run such a job.
    Verk,
}

/// How times are written in jobs of Sidekiq's dialect. verk reads all forms, with any
/// configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeFormat {
    /// Seconds as a float: `1732387200.5`. Sidekiq 5 to 8 read it right.
    #[default]
    Seconds,
    /// Whole milliseconds: `1732387200500`. Sidekiq 8 writes that form, and Sidekiq 7 reads it as
    /// seconds.
    Milliseconds,
}

/// How a program writes its jobs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) dialect: Dialect,
    pub(crate) time_format: TimeFormat,
    /// The number that a job of Verk's dialect gets if it has no limit of its own, as in Verk.
    pub(crate) max_retry_count: u32,
}

impl Job {
    /// Writes later changes in this form. A job that was read from a payload keeps its dialect.
    pub(crate) fn write_as(&mut self, form: Form) {
        self.time_format = form.time_format;
        let is_new = self.original_json.is_empty();
        if is_new && form.dialect == Dialect::Verk && self.dialect == Dialect::Sidekiq {
            self.become_verk(form.max_retry_count);
        }
    }

    fn become_verk(&mut self, max_retry_count: u32) {
        let limit = match self.retry_limit() {
            RetryLimit::Default => RetryLimit::Times(max_retry_count),
            limit => limit,
        };
        let args = self.get("args").map(quoted);
        self.patches.forget("retry");
        self.dialect = Dialect::Verk;
        self.set_retry_limit(limit);
        if let Some(args) = args {
            self.patch("args", args);
        }
        self.patch("retry_count", "0");
        for key in VERK_KEYS {
            if self.get(key).is_none() {
                self.patch(key, "null");
            }
        }
    }

    pub(super) fn time_form(&self) -> TimeForm {
        match (self.dialect, self.time_format) {
            (Dialect::Verk, _) => TimeForm::WholeSeconds,
            (Dialect::Sidekiq, TimeFormat::Seconds) => TimeForm::FloatSeconds,
            (Dialect::Sidekiq, TimeFormat::Milliseconds) => TimeForm::Milliseconds,
        }
    }
}

/// The keys that a job of Elixir's Verk always has.
pub(super) const VERK_KEYS: [&str; 13] = [
    "args",
    "class",
    "created_at",
    "enqueued_at",
    "error_backtrace",
    "error_message",
    "failed_at",
    "finished_at",
    "jid",
    "max_retry_count",
    "queue",
    "retried_at",
    "retry_count",
];
