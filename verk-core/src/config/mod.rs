//! Configuration: [`Config`], and where it can come from.

pub(crate) mod environment;
pub mod file;
pub(crate) mod log_level;
pub(crate) mod program;
pub(crate) mod unknown_class;

use std::{collections::BTreeMap, env, ffi::OsString, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    config::{
        environment::{Vars, variable},
        file::{duration, nearest},
        log_level::LogLevel,
        unknown_class::UnknownClass,
    },
    error::{ConfigError, ConfigErrors},
    job::{Dialect, Form, TimeFormat},
    log,
    names::{NodeId, QueueName},
    storage::{DeadLimits, ScheduleKeys},
};

/// Shorter ones would be lost in the delays of any network.
const MIN_HEARTBEAT: Duration = Duration::from_millis(100);

/// So that some times of it can be added to a time: 10 years.
const MAX_HEARTBEAT: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The fields of a [`Config`]: as they are called in a file and, after `VERK_` and in capitals, in the environment.
pub(crate) const FIELDS: &[&str] = &[
    "queues",
    "max_retry_count",
    "max_dead_jobs",
    "dead_timeout",
    "poll_interval",
    "start_job_log_level",
    "done_job_log_level",
    "fail_job_log_level",
    "dead_job_log_level",
    "node_id",
    "generate_node_id",
    "heartbeat",
    "poison_pill_after",
    "unknown_class",
    "shutdown_timeout",
    "max_payload_bytes",
    "failed_job_stacktrace_size",
    "dialect",
    "time_format",
    "prefix",
    "schedule_keys",
    "process_registry",
    "tag",
    "labels",
    "sidekiq_6_work",
    "execution_metrics",
    "disabled",
];

/// What the names of a backend's own settings begin with, in files and, in capitals, in the environment.
pub(crate) const OF_BACKENDS: &str = "redis_";

/// How a node behaves. The names are Verk's, and so are the defaults unless noted.
///
/// A [file](Self::from_file), the [environment](Self::with_env) and the [builder](crate::VerkBuilder) set the same fields.
///
/// ```
/// use verk_core::Config;
///
/// let config = Config::default();
/// assert_eq!(config.max_retry_count, 25);
/// assert!(config.queues.is_empty(), "a program that only enqueues");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The queues to run, with how many jobs of each run at once. Defaults to none: a program that only enqueues.
    pub queues: BTreeMap<QueueName, usize>,
    /// How often a failed job is tried again if neither the job nor its worker says. Defaults to 25.
    pub max_retry_count: u32,
    /// The most jobs in the `dead` set. Defaults to 10 000, as Sidekiq: the set is shared (Verk keeps 100).
    pub max_dead_jobs: usize,
    /// How long a job stays in the `dead` set. Defaults to 180 days, as Sidekiq (Verk: 7).
    #[serde(with = "duration")]
    pub dead_timeout: Duration,
    /// The longest sleep between two looks at the `schedule` and `retry` sets. Defaults to 5 s.
    #[serde(with = "duration")]
    pub poll_interval: Duration,
    /// At which level of `tracing` the start of a job is logged. Defaults to debug (Verk: info).
    pub start_job_log_level: LogLevel,
    /// At which level the end of a job is logged that did not fail. Defaults to info.
    pub done_job_log_level: LogLevel,
    /// At which level a failure is logged after which the job is tried again. Defaults to warn
    /// (Verk: info).
    pub fail_job_log_level: LogLevel,
    /// At which level the last failure of a job is logged: it goes to the `dead` set, or is
    /// dropped. Error or warn, so that nobody misses a job that needs a human. Defaults to error.
    pub dead_job_log_level: LogLevel,
    /// A name with one holder: a second node that is started under it waits for the first to end, then takes over its jobs. Defaults
    /// to none: the host's name, for any number of nodes.
    pub node_id: Option<String>,
    /// Whether the node goes by the host's name, which any number of nodes may have, even if there is a `node_id`. Without
    /// a `node_id` it cannot be `false`. Defaults to none: `true` unless there is a `node_id`.
    pub generate_node_id: Option<bool>,
    /// A node whose heartbeat is missing for twice this time is dead. Defaults to 30 s.
    #[serde(with = "duration")]
    pub heartbeat: Duration,
    /// With how many dead processes that ran it a job is a poison pill, and goes to the `dead` set; 0 for never. Defaults to 3.
    pub poison_pill_after: u32,
    /// What becomes of a job whose class no worker of this program has. Defaults to a failure, as any other.
    pub unknown_class: UnknownClass,
    /// How long running jobs may take to finish at shutdown before they are cancelled and handed back. Defaults to 25 s, because
    /// Kubernetes, ECS and Heroku kill at 30 s.
    #[serde(with = "duration")]
    pub shutdown_timeout: Duration,
    /// The largest payload that may be enqueued, in bytes. Defaults to 1 MiB.
    pub max_payload_bytes: usize,
    /// How many lines of a failure's backtrace are kept in the job, unless the job's own `backtrace` option says. Defaults to 5.
    pub failed_job_stacktrace_size: usize,
    /// Whose job format the jobs have that this program makes: Sidekiq's, unless the fleet is all Elixir. Defaults to `sidekiq`.
    pub dialect: Dialect,
    /// How times are written in jobs of Sidekiq's dialect: `milliseconds` only where every Sidekiq is an 8. Defaults to `seconds`.
    pub time_format: TimeFormat,
    /// What every key of the storage begins with. Defaults to none.
    pub prefix: Option<String>,
    /// In which sets of the storage jobs wait for their time: those that the whole fleet shares, or some of verk's own. Defaults to
    /// shared.
    pub schedule_keys: ScheduleKeys,
    /// Whether a process that runs queues shows itself and its running jobs to Sidekiq Web, whose buttons *Quiet* and *Stop* then
    /// work on it. Defaults to yes.
    pub process_registry: bool,
    /// What Sidekiq Web shows beside the name of the process. Defaults to none: the name of the program.
    pub tag: Option<String>,
    /// Labels that Sidekiq Web shows beside the tag. Defaults to none.
    pub labels: Vec<String>,
    /// Whether running jobs are also shown where Sidekiq before 6.4.2 looks for them. Defaults to no.
    pub sidekiq_6_work: bool,
    /// Whether the runs of each class and their times are stored by the minute, for the page *Metrics* of Sidekiq 8. Defaults to no.
    pub execution_metrics: bool,
    /// Whether to run no queues, whatever else says, the builder included: the node only enqueues. Defaults to `false`.
    pub disabled: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queues: BTreeMap::new(),
            max_retry_count: 25,
            max_dead_jobs: 10_000,
            dead_timeout: Duration::from_secs(180 * 24 * 60 * 60),
            poll_interval: Duration::from_secs(5),
            start_job_log_level: LogLevel::Debug,
            done_job_log_level: LogLevel::Info,
            fail_job_log_level: LogLevel::Warn,
            dead_job_log_level: LogLevel::Error,
            node_id: None,
            generate_node_id: None,
            heartbeat: Duration::from_secs(30),
            poison_pill_after: 3,
            unknown_class: UnknownClass::Fail,
            shutdown_timeout: Duration::from_secs(25),
            max_payload_bytes: 1024 * 1024,
            failed_job_stacktrace_size: 5,
            dialect: Dialect::default(),
            time_format: TimeFormat::default(),
            prefix: None,
            schedule_keys: ScheduleKeys::default(),
            process_registry: true,
            tag: None,
            labels: Vec::new(),
            sidekiq_6_work: false,
            execution_metrics: false,
            disabled: false,
        }
    }
}

impl Config {
    /// The defaults, changed by a TOML file.
    ///
    /// Durations are text: `"5s"`, `"250ms"`, `"7days"`. Settings whose names begin with `redis_` are left to `RedisConfig`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, and every field that does not parse or that there is none of, with its place.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigErrors> {
        file::read(path.as_ref(), Self::from_toml)
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
    /// # Ok::<(), verk_core::ConfigErrors>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Every field that does not parse or that there is none of, with its place.
    pub fn from_toml(text: &str) -> Result<Self, ConfigErrors> {
        file::parse(text, FIELDS, |field| !field.starts_with(OF_BACKENDS))
    }

    /// The defaults, changed by the environment: see [`with_env`](Self::with_env).
    ///
    /// # Errors
    ///
    /// As [`with_env`](Self::with_env).
    pub fn from_env() -> Result<Self, ConfigErrors> {
        Self::default().with_env()
    }

    /// Changes what `VERK_...` environment variables say. So the environment beats a file, and the builder beats both:
    ///
    /// ```no_run
    /// # use verk_core::{Config, Verk};
    /// # fn example() -> Result<(), verk_core::ConfigErrors> {
    /// let builder = Verk::builder()
    ///     .config(Config::from_file("verk.toml")?.with_env()?)
    ///     .max_retry_count(5);
    /// # drop(builder);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// | variable | example |
    /// |---|---|
    /// | `VERK_QUEUES` | `default:25,priority:10`: all the queues |
    /// | `VERK_MAX_RETRY_COUNT`, `VERK_MAX_DEAD_JOBS`, `VERK_MAX_PAYLOAD_BYTES`, `VERK_FAILED_JOB_STACKTRACE_SIZE`, `VERK_POISON_PILL_AFTER` | `25` |
    /// | `VERK_POLL_INTERVAL`, `VERK_HEARTBEAT`, `VERK_SHUTDOWN_TIMEOUT` | milliseconds: `5000` |
    /// | `VERK_DEAD_TIMEOUT` | seconds: `604800` |
    /// | `VERK_START_JOB_LOG_LEVEL`, `VERK_DONE_JOB_LOG_LEVEL`, `VERK_FAIL_JOB_LOG_LEVEL` | `off`, `error`, `warn`, `info`, `debug` or `trace` |
    /// | `VERK_DEAD_JOB_LOG_LEVEL` | `error` or `warn` |
    /// | `VERK_DIALECT` | `sidekiq` or `verk` |
    /// | `VERK_TIME_FORMAT` | `seconds` or `milliseconds` |
    /// | `VERK_UNKNOWN_CLASS` | `fail`, or `requeue_after:30s` |
    /// | `VERK_NODE_ID`, `VERK_PREFIX` | `worker-0` |
    /// | `VERK_GENERATE_NODE_ID` | `true` |
    /// | `VERK_SCHEDULE_KEYS` | `shared` or `own` |
    /// | `VERK_TAG`, `VERK_LABELS` | `billing`, `eu,canary` |
    /// | `VERK_PROCESS_REGISTRY`, `VERK_SIDEKIQ_6_WORK`, `VERK_EXECUTION_METRICS` | `true` or `false` |
    /// | `VERK_DISABLED` | `true`: run no queues, whatever else says |
    ///
    /// Other names that begin with `VERK_` are warned of, except those that begin with `VERK_REDIS_`, which are left to `RedisConfig`.
    ///
    /// # Errors
    ///
    /// Every value that does not parse, with the variable, the value and what is accepted.
    pub fn with_env(self) -> Result<Self, ConfigErrors> {
        self.with_vars(env::vars_os())
    }

    fn with_vars(
        mut self,
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigErrors> {
        let mut vars = Vars::new(vars);
        vars.number("VERK_MAX_RETRY_COUNT", &mut self.max_retry_count);
        vars.number("VERK_MAX_DEAD_JOBS", &mut self.max_dead_jobs);
        vars.number("VERK_MAX_PAYLOAD_BYTES", &mut self.max_payload_bytes);
        vars.number(
            "VERK_FAILED_JOB_STACKTRACE_SIZE",
            &mut self.failed_job_stacktrace_size,
        );
        vars.number("VERK_POISON_PILL_AFTER", &mut self.poison_pill_after);
        vars.milliseconds("VERK_POLL_INTERVAL", &mut self.poll_interval);
        vars.milliseconds("VERK_HEARTBEAT", &mut self.heartbeat);
        vars.milliseconds("VERK_SHUTDOWN_TIMEOUT", &mut self.shutdown_timeout);
        vars.seconds("VERK_DEAD_TIMEOUT", &mut self.dead_timeout);
        vars.log_level("VERK_START_JOB_LOG_LEVEL", &mut self.start_job_log_level);
        vars.log_level("VERK_DONE_JOB_LOG_LEVEL", &mut self.done_job_log_level);
        vars.log_level("VERK_FAIL_JOB_LOG_LEVEL", &mut self.fail_job_log_level);
        let parse = |value: &str| value.parse().ok().filter(LogLevel::may_report_deaths);
        if let Some(level) = vars.read(
            "VERK_DEAD_JOB_LOG_LEVEL",
            LogLevel::ACCEPTED_FOR_DEATHS,
            parse,
        ) {
            self.dead_job_log_level = level;
        }
        vars.choice("VERK_DIALECT", "sidekiq or verk", &mut self.dialect);
        vars.choice(
            "VERK_TIME_FORMAT",
            "seconds or milliseconds",
            &mut self.time_format,
        );
        let parse = |value: &str| value.parse().ok();
        if let Some(unknown) = vars.read("VERK_UNKNOWN_CLASS", UnknownClass::ACCEPTED, parse) {
            self.unknown_class = unknown;
        }
        vars.text("VERK_NODE_ID", &mut self.node_id);
        vars.text("VERK_PREFIX", &mut self.prefix);
        vars.choice(
            "VERK_SCHEDULE_KEYS",
            "shared or own",
            &mut self.schedule_keys,
        );
        vars.queues("VERK_QUEUES", &mut self.queues);
        if let Some(generate) = vars.switch("VERK_GENERATE_NODE_ID") {
            self.generate_node_id = Some(generate);
        }
        vars.text("VERK_TAG", &mut self.tag);
        vars.list("VERK_LABELS", &mut self.labels);
        for (name, target) in [
            ("VERK_PROCESS_REGISTRY", &mut self.process_registry),
            ("VERK_SIDEKIQ_6_WORK", &mut self.sidekiq_6_work),
            ("VERK_EXECUTION_METRICS", &mut self.execution_metrics),
            ("VERK_DISABLED", &mut self.disabled),
        ] {
            if let Some(on) = vars.switch(name) {
                *target = on;
            }
        }
        for name in vars.unknown() {
            let meant = nearest(&name, FIELDS.iter().map(|field| variable(field)))
                .map(|name| format!("; did you mean {name}?"))
                .unwrap_or_default();
            log::warn!("no setting of verk is called {name}{meant}");
        }
        ConfigErrors::check(vars.errors)?;
        Ok(self)
    }

    /// Reports what cannot work.
    pub(crate) fn check(&self, errors: &mut Vec<ConfigError>) {
        for (queue, concurrency) in &self.queues {
            if *concurrency == 0 {
                errors.push(ConfigError::no_concurrency(queue));
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
        if !self.dead_job_log_level.may_report_deaths() {
            errors.push(ConfigError::invalid(
                "dead_job_log_level",
                self.dead_job_log_level.to_string(),
                LogLevel::ACCEPTED_FOR_DEATHS,
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
