//! Configuration: [`Config`], and where it can come from.

#[doc(hidden)]
pub mod declare;
pub(crate) mod environment;
pub(crate) mod file;
pub(crate) mod log_level;
pub(crate) mod settings;
pub(crate) mod unknown_class;
pub(crate) mod value;

pub use self::unknown_class::UnknownClass;
pub use crate::{
    job::{Dialect, TimeFormat},
    storage::ScheduleKeys,
};
pub use tracing::level_filters::LevelFilter;

use std::{collections::BTreeMap, env, path::Path, time::Duration};

use crate::{
    config::{declare::settings_struct, file::duration, settings::settings},
    error::{ConfigError, ConfigErrors},
    job::Form,
    names::{NodeId, QueueName},
    storage::DeadLimits,
};

/// A shorter heartbeat would be lost in the delays of a network.
const MIN_HEARTBEAT: Duration = Duration::from_millis(100);

/// 10 years: a few of them can be added to a time without an overflow.
const MAX_HEARTBEAT: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The tables of a settings file that belong to backends. In capitals after `VERK_`, they are also
/// how the names of the backends' variables begin.
const TABLES_OF_BACKENDS: [&str; 1] = ["redis"];

settings! {
    settings_struct!

    /// How a node behaves. The names are Verk's, and so are the defaults unless noted.
    ///
    /// A [file](Self::from_file), the [environment](Self::with_env) and the
    /// [builder](crate::VerkBuilder) set the same fields.
    ///
    /// ```
    /// use verk_core::Config;
    ///
    /// let config = Config::default();
    /// assert_eq!(config.max_retry_count, 25);
    /// assert!(config.queues.is_empty(), "a program that only enqueues");
    /// ```
    pub struct Config, in None, fields(pub);
}

impl Config {
    /// The defaults, changed by a TOML file.
    ///
    /// Durations are text: `"5s"`, `"250ms"`, `"7days"`. The table `[redis]` is left to
    /// `RedisConfig`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, and for every field that does not parse or is unknown, with
    /// its place.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigErrors> {
        file::read(path.as_ref(), None)
    }

    /// As [`from_file`](Self::from_file), from one table of a file that has the program's own
    /// settings too. The table may be inside another: `"services.verk"`.
    ///
    /// ```no_run
    /// # use verk_core::{error::ConfigErrors, Config};
    /// # fn example() -> Result<Config, ConfigErrors> {
    /// Config::from_table("app.toml", "verk")?.with_env()
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file), and when there is no such table.
    pub fn from_table(path: impl AsRef<Path>, table: &str) -> Result<Self, ConfigErrors> {
        file::read(path.as_ref(), Some(table))
    }

    /// As [`from_file`](Self::from_file), from the text of such a file.
    ///
    /// ```
    /// use std::time::Duration;
    /// use verk_core::Config;
    ///
    /// let config = Config::from_toml(r#"
    ///     queues = { default = 25, priority = 10 }
    ///     poll_interval = "250ms"
    /// "#)?;
    /// assert_eq!(config.poll_interval, Duration::from_millis(250));
    ///
    /// let error = Config::from_toml("hearbeat = \"5s\"").unwrap_err();
    /// assert!(error.to_string().starts_with("line 1, column 1: hearbeat: no such field; did you mean heartbeat?"));
    /// # Ok::<(), verk_core::error::ConfigErrors>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Every field that does not parse or is unknown, with its place.
    pub fn from_toml(text: &str) -> Result<Self, ConfigErrors> {
        file::parse(text, None)
    }

    /// The defaults, changed by the environment: see [`with_env`](Self::with_env).
    ///
    /// # Errors
    ///
    /// As [`with_env`](Self::with_env).
    pub fn from_env() -> Result<Self, ConfigErrors> {
        Self::default().with_env()
    }

    /// Changes the fields that `VERK_...` environment variables set. So the environment beats a
    /// file, and the builder beats both:
    ///
    /// ```no_run
    /// # use verk_core::{Config, Verk};
    /// # fn example() -> Result<(), verk_core::error::ConfigErrors> {
    /// let builder = Verk::builder()
    ///     .config(Config::from_file("verk.toml")?.with_env()?)
    ///     .max_retry_count(5);
    /// # drop(builder);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The variable of a field is its name in capitals after `VERK_`, such as
    /// `VERK_MAX_RETRY_COUNT=5`, and its value is the text of a file without quotes, such as
    /// `VERK_HEARTBEAT=10s`. A list has commas: `VERK_QUEUES=default:25,priority:10` are all the
    /// queues, `VERK_LABELS=eu,canary` the labels.
    ///
    /// A warning is logged for other names that begin with `VERK_`, except those that begin with
    /// `VERK_REDIS_`, which are left to `RedisConfig`.
    ///
    /// # Errors
    ///
    /// Every value that does not parse, with the variable, the value and what is accepted.
    pub fn with_env(self) -> Result<Self, ConfigErrors> {
        environment::change(self, env::vars_os())
    }

    /// Reports settings that cannot work.
    pub(crate) fn check(&self, errors: &mut Vec<ConfigError>) {
        for (queue, concurrency) in &self.queues {
            if *concurrency == 0 {
                errors.push(ConfigError::no_concurrency(queue));
            }
        }
        for (queue, cells) in &self.spread_queues {
            let permits = self.queues.get(queue).copied().unwrap_or(usize::MAX);
            if *cells == 0 || *cells > permits {
                errors.push(ConfigError::invalid(
                    format!("spread of queue {queue}"),
                    cells.to_string(),
                    "at least 1 cell, and at most as many as jobs of the queue run at once",
                ));
            }
        }
        if !(MIN_HEARTBEAT..=MAX_HEARTBEAT).contains(&self.heartbeat) {
            errors.push(ConfigError::invalid(
                "heartbeat",
                format!("{:?}", self.heartbeat),
                "100 ms to 10 years",
            ));
        }
        if self.poll_interval.is_zero() {
            errors.push(ConfigError::invalid("poll_interval", "0", "more than 0"));
        }
        if !log_level::may_report_deaths(self.dead_job_log_level) {
            errors.push(ConfigError::invalid(
                "dead_job_log_level",
                self.dead_job_log_level.to_string(),
                log_level::ACCEPTED_FOR_DEATHS,
            ));
        }
        if self.unknown_class == UnknownClass::RequeueAfter(Duration::ZERO) {
            errors.push(ConfigError::invalid(
                "unknown_class",
                self.unknown_class.to_string(),
                "fail, or requeue_after with a time of more than 0",
            ));
        }
        if let Some(Err(error)) = self.name().map(NodeId::register) {
            errors.push(error.into());
        }
        if self.generate_node_id == Some(false) && self.node_id.is_none() {
            errors.push(ConfigError::invalid(
                "generate_node_id",
                "false",
                "true, or a node_id: a node needs a name, and false says that none is generated",
            ));
        }
    }

    /// The name with one holder, if the node has one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.node_id
            .as_deref()
            .filter(|_| self.generate_node_id != Some(true))
    }

    pub(crate) fn dead_limits(&self) -> DeadLimits {
        DeadLimits {
            max_jobs: self.max_dead_jobs,
            timeout: self.dead_timeout,
        }
    }

    /// How jobs are written.
    pub(crate) fn form(&self) -> Form {
        Form {
            dialect: self.dialect,
            time_format: self.time_format,
            max_retry_count: self.max_retry_count,
        }
    }

    /// The longest wait of one fetch: at most 5 s and at most a quarter of a heartbeat.
    pub(crate) fn fetch_wait(&self) -> Duration {
        Duration::from_secs(5).min(self.heartbeat / 4)
    }

    /// How long a heartbeat lives.
    pub(crate) fn heartbeat_ttl(&self) -> Duration {
        self.heartbeat * 2
    }
}

#[cfg(test)]
mod any_environment;

#[cfg(test)]
mod tests;
