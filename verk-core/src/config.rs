//! Configuration: [`Config`], and where it can come from.

use std::{collections::BTreeMap, env, time::Duration};

use crate::{
    error::{ConfigError, ConfigErrors},
    names::{NodeId, QueueName},
    storage::DeadLimits,
};

/// Shorter ones would be lost in the delays of any network.
const MIN_HEARTBEAT: Duration = Duration::from_millis(100);

/// So that some times of it can be added to a time: 10 years.
const MAX_HEARTBEAT: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How a node behaves. The names are Verk's, and so are the defaults unless noted.
///
/// ```
/// use verk_core::Config;
///
/// let config = Config::default();
/// assert_eq!(config.max_retry_count, 25);
/// assert!(config.queues.is_empty(), "a program that only enqueues");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The queues to run, with how many jobs of each run at once. Defaults to none: a program that only enqueues.
    pub queues: BTreeMap<QueueName, usize>,
    /// How often a failed job is tried again if neither the job nor its worker says. Defaults to 25.
    pub max_retry_count: u32,
    /// The most jobs in the `dead` set. Defaults to 10 000, as Sidekiq: the set is shared (Verk keeps 100).
    pub max_dead_jobs: usize,
    /// How long a job stays in the `dead` set. Defaults to 180 days, as Sidekiq (Verk: 7).
    pub dead_timeout: Duration,
    /// The longest sleep between two looks at the `schedule` and `retry` sets. Defaults to 5 s.
    pub poll_interval: Duration,
    /// A name with one holder: a second node that is started under it waits for the first to end, then takes over its jobs. Defaults
    /// to none: the host's name, for any number of nodes.
    pub node_id: Option<String>,
    /// A node whose heartbeat is missing for twice this time is dead. Defaults to 30 s.
    pub heartbeat: Duration,
    /// How long running jobs may take to finish at shutdown before they are cancelled and handed back. Defaults to 25 s, because
    /// Kubernetes, ECS and Heroku kill at 30 s.
    pub shutdown_timeout: Duration,
    /// The largest payload that may be enqueued, in bytes. Defaults to 1 MiB.
    pub max_payload_bytes: usize,
    /// How many lines of a failure's backtrace are kept in the job, unless the job's own `backtrace` option says. Defaults to 5.
    pub failed_job_stacktrace_size: usize,
    /// What every key of the storage begins with. Defaults to none.
    pub prefix: Option<String>,
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
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queues: BTreeMap::new(),
            max_retry_count: 25,
            max_dead_jobs: 10_000,
            dead_timeout: Duration::from_secs(180 * 24 * 60 * 60),
            poll_interval: Duration::from_secs(5),
            node_id: None,
            heartbeat: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(25),
            max_payload_bytes: 1024 * 1024,
            failed_job_stacktrace_size: 5,
            prefix: None,
            process_registry: true,
            tag: None,
            labels: Vec::new(),
            sidekiq_6_work: false,
            execution_metrics: false,
        }
    }
}

impl Config {
    /// The defaults, changed by `VERK_...` environment variables.
    ///
    /// | variable | example |
    /// |---|---|
    /// | `VERK_QUEUES` | `default:25,priority:10` |
    /// | `VERK_MAX_RETRY_COUNT`, `VERK_MAX_DEAD_JOBS`, `VERK_MAX_PAYLOAD_BYTES`, `VERK_FAILED_JOB_STACKTRACE_SIZE` | `25` |
    /// | `VERK_POLL_INTERVAL`, `VERK_HEARTBEAT`, `VERK_SHUTDOWN_TIMEOUT` | milliseconds: `5000` |
    /// | `VERK_DEAD_TIMEOUT` | seconds: `604800` |
    /// | `VERK_NODE_ID`, `VERK_PREFIX` | `worker-0` |
    /// | `VERK_TAG`, `VERK_LABELS` | `billing`, `eu,canary` |
    /// | `VERK_PROCESS_REGISTRY`, `VERK_SIDEKIQ_6_WORK`, `VERK_EXECUTION_METRICS` | `true` or `false` |
    /// | `VERK_DISABLED` | `true`: run no queues, whatever else says |
    ///
    /// # Errors
    ///
    /// Every value that does not parse, with the variable, the value and what is accepted.
    pub fn from_env() -> Result<Self, ConfigErrors> {
        Self::from_vars(|name| env::var(name).ok())
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut vars = Vars {
            var,
            errors: Vec::new(),
        };
        let mut config = Self::default();
        vars.number("VERK_MAX_RETRY_COUNT", &mut config.max_retry_count);
        vars.number("VERK_MAX_DEAD_JOBS", &mut config.max_dead_jobs);
        vars.number("VERK_MAX_PAYLOAD_BYTES", &mut config.max_payload_bytes);
        vars.number(
            "VERK_FAILED_JOB_STACKTRACE_SIZE",
            &mut config.failed_job_stacktrace_size,
        );
        vars.duration(
            "VERK_POLL_INTERVAL",
            Duration::from_millis,
            &mut config.poll_interval,
        );
        vars.duration(
            "VERK_HEARTBEAT",
            Duration::from_millis,
            &mut config.heartbeat,
        );
        vars.duration(
            "VERK_SHUTDOWN_TIMEOUT",
            Duration::from_millis,
            &mut config.shutdown_timeout,
        );
        vars.duration(
            "VERK_DEAD_TIMEOUT",
            Duration::from_secs,
            &mut config.dead_timeout,
        );
        config.node_id = (vars.var)("VERK_NODE_ID");
        config.prefix = (vars.var)("VERK_PREFIX");
        if let Some(queues) = vars.queues("VERK_QUEUES") {
            config.queues = queues;
        }
        config.tag = (vars.var)("VERK_TAG");
        if let Some(labels) = (vars.var)("VERK_LABELS") {
            let labels = labels.split(',').map(str::trim);
            config.labels = labels
                .filter(|label| !label.is_empty())
                .map(str::to_owned)
                .collect();
        }
        vars.flag("VERK_PROCESS_REGISTRY", &mut config.process_registry);
        vars.flag("VERK_SIDEKIQ_6_WORK", &mut config.sidekiq_6_work);
        vars.flag("VERK_EXECUTION_METRICS", &mut config.execution_metrics);
        let mut disabled = false;
        vars.flag("VERK_DISABLED", &mut disabled);
        if disabled {
            config.queues.clear();
        }
        ConfigErrors::check(vars.errors)?;
        Ok(config)
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
        if let Some(Err(error)) = self.node_id.as_deref().map(NodeId::register) {
            errors.push(error.into());
        }
    }

    pub(crate) fn dead_limits(&self) -> DeadLimits {
        DeadLimits {
            max_jobs: self.max_dead_jobs,
            timeout: self.dead_timeout,
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

/// Reads variables, and remembers what is wrong with them.
struct Vars<F> {
    var: F,
    errors: Vec<ConfigError>,
}

impl<F: Fn(&str) -> Option<String>> Vars<F> {
    fn number<T: std::str::FromStr>(&mut self, name: &str, target: &mut T) {
        let Some(value) = (self.var)(name) else {
            return;
        };
        match value.parse() {
            Ok(number) => *target = number,
            Err(_) => self.reject(name, &value, "a whole number, not negative"),
        }
    }

    fn flag(&mut self, name: &str, target: &mut bool) {
        match (self.var)(name).as_deref() {
            Some("true") => *target = true,
            Some("false") => *target = false,
            None | Some("") => {}
            Some(value) => self.reject(name, value, "true or false"),
        }
    }

    fn duration(&mut self, name: &str, unit: fn(u64) -> Duration, target: &mut Duration) {
        let mut number = None;
        let Some(value) = (self.var)(name) else {
            return;
        };
        match value.parse() {
            Ok(parsed) => number = Some(parsed),
            Err(_) => {
                let unit = if unit(1) == Duration::from_secs(1) {
                    "seconds"
                } else {
                    "milliseconds"
                };
                self.reject(name, &value, &format!("a whole number of {unit}"));
            }
        }
        if let Some(number) = number {
            *target = unit(number);
        }
    }

    fn queues(&mut self, name: &str) -> Option<BTreeMap<QueueName, usize>> {
        let value = (self.var)(name)?;
        let mut queues = BTreeMap::new();
        for entry in value
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
        {
            // The last colon: a queue's name may hold others.
            let parsed = entry.rsplit_once(':').and_then(|(queue, concurrency)| {
                Some((
                    QueueName::new(queue.trim()).ok()?,
                    concurrency.trim().parse().ok()?,
                ))
            });
            match parsed {
                Some((queue, concurrency)) => {
                    queues.insert(queue, concurrency);
                }
                None => self.reject(
                    name,
                    entry,
                    "QUEUE:CONCURRENCY, separated by commas, such as default:25,priority:10",
                ),
            }
        }
        Some(queues)
    }

    fn reject(&mut self, name: &str, value: &str, accepted: &str) {
        self.errors
            .push(ConfigError::invalid(name, format!("{value:?}"), accepted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(vars: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        Config::from_vars(|name| {
            vars.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_empty_environment_is_the_default() {
        assert_eq!(from(&[]).unwrap(), Config::default());
    }

    #[test]
    fn queues_and_times_are_read() {
        let config = from(&[
            ("VERK_QUEUES", "default:25, a:b:10"),
            ("VERK_HEARTBEAT", "1500"),
            ("VERK_DEAD_TIMEOUT", "60"),
            ("VERK_LABELS", "eu, canary,"),
            ("VERK_PROCESS_REGISTRY", "false"),
        ])
        .unwrap();
        assert_eq!(config.labels, ["eu", "canary"]);
        assert!(!config.process_registry);
        let queues: Vec<_> = config
            .queues
            .iter()
            .map(|(queue, n)| (queue.as_str(), *n))
            .collect();
        assert_eq!(queues, [("a:b", 10), ("default", 25)]);
        assert_eq!(config.heartbeat, Duration::from_millis(1_500));
        assert_eq!(config.dead_timeout, Duration::from_secs(60));
    }

    #[test]
    fn every_mistake_names_the_variable_the_value_and_what_is_accepted() {
        let errors = from(&[
            ("VERK_QUEUES", "default"),
            ("VERK_MAX_RETRY_COUNT", "-1"),
            ("VERK_DISABLED", "yes"),
        ])
        .unwrap_err();
        let errors: Vec<_> = errors.as_slice().iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                r#"VERK_MAX_RETRY_COUNT is "-1"; accepted: a whole number, not negative"#,
                r#"VERK_QUEUES is "default"; accepted: QUEUE:CONCURRENCY, separated by commas, such as default:25,priority:10"#,
                r#"VERK_DISABLED is "yes"; accepted: true or false"#,
            ]
        );
    }

    #[test]
    fn disabled_wins_over_queues() {
        let config = from(&[("VERK_QUEUES", "default:25"), ("VERK_DISABLED", "true")]).unwrap();
        assert!(config.queues.is_empty());
    }
}
