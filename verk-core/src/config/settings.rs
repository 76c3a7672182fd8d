//! The settings of verk, each declared once.
//!
//! An entry has a setting's documentation, name, type and default:
//!
//! ```text
//! /// What it does.
//! poll_interval: Duration = Duration::from_secs(5);
//! ```
//!
//! It defines the field of [`Config`](crate::config::Config) with its documentation and default,
//! the method of the builder, the variable `VERK_POLL_INTERVAL`, the field `poll_interval` of a
//! file, and the names that error messages propose. The [type](crate::config::value) defines how a
//! text becomes a value. The method of the builder takes the type itself, unless the entry says
//! `set by`, and how.
//!
//! A duration or a log level also needs `#[serde(with = "...")]`, as the others of its type have.
//!
//! A new setting needs two edits: an entry here, and a row in `src/docs/configuration.md`, which a
//! test (`tests/it/settings.rs`) compares with the entry. Add an impl in `value.rs` if no other
//! setting has its type, and a check in `Config::check` if some values are invalid.

/// Calls the macro `then` with the settings of [`Config`](crate::config::Config).
macro_rules! settings {
    ($then:ident! $($before:tt)*) => {
        $then! {
            $($before)*

            /// The queues to run, and how many jobs of each run at once. Without any, the program
            /// only enqueues.
            queues: BTreeMap<QueueName, usize> = BTreeMap::new();

            /// In how many cells a queue lies, if it is more than one: see
            /// [`spread_queue`](crate::VerkBuilder::spread_queue).
            spread_queues: BTreeMap<QueueName, usize> = BTreeMap::new();

            /// How often a failed job is retried if neither the job nor its worker has a number.
            max_retry_count: u32 = 25;

            /// The most jobs in the `dead` set. The default is Sidekiq's, because the set is
            /// shared; Verk keeps 100.
            max_dead_jobs: usize = 10_000;

            /// How long a job stays in the `dead` set. The default is Sidekiq's; Verk's is 7 days.
            #[serde(with = "duration")]
            dead_timeout: Duration = Duration::from_hours(180 * 24);

            /// The longest sleep between two polls of the `schedule` and `retry` sets. A job that
            /// no running node knew of may start so late.
            #[serde(with = "duration")]
            poll_interval: Duration = Duration::from_secs(5);

            /// At which level of `tracing` the start of a job is logged. Verk's default is info.
            #[serde(with = "log_level")]
            start_job_log_level: LevelFilter = LevelFilter::DEBUG;

            /// At which level the end of a job that did not fail is logged.
            #[serde(with = "log_level")]
            done_job_log_level: LevelFilter = LevelFilter::INFO;

            /// At which level a failure is logged after which the job is retried. Verk's default is
            /// info.
            #[serde(with = "log_level")]
            fail_job_log_level: LevelFilter = LevelFilter::WARN;

            /// At which level the last failure of a job is logged: it goes to the `dead` set, or is
            /// dropped. Error or warn, so that an operator always sees a job that needs a human.
            #[serde(with = "log_level")]
            dead_job_log_level: LevelFilter = LevelFilter::ERROR;

            /// A fixed name, which one node at a time can hold. A second node with the same name
            /// waits for the first to end, then restores its jobs. Without it, the node uses the
            /// host's name, which any number of nodes may share.
            node_id: Option<String> = None,
                set by (node_id: impl Into<Option<String>>) node_id.into();

            /// Whether the node uses the host's name even if there is a `node_id`. It is `true` if
            /// there is no `node_id`, and cannot be `false` then.
            generate_node_id: Option<bool> = None,
                set by (generate: impl Into<Option<bool>>) generate.into();

            /// A node whose heartbeat is missing for twice this time is dead.
            #[serde(with = "duration")]
            heartbeat: Duration = Duration::from_secs(30);

            /// How many processes may die while they run a job before the job is a poison pill and
            /// goes to the `dead` set; 0 for never.
            poison_pill_after: u32 = 3;

            /// What happens to a job whose class no worker of this program has.
            unknown_class: UnknownClass = UnknownClass::Fail;

            /// How long running jobs may take to finish at shutdown before they are cancelled and
            /// handed back. The default is below 30 s, after which Kubernetes, ECS and Heroku kill
            /// the process.
            #[serde(with = "duration")]
            shutdown_timeout: Duration = Duration::from_secs(25);

            /// The largest payload that may be enqueued, in bytes.
            max_payload_bytes: usize = 1024 * 1024;

            /// How many lines of a failure's backtrace are kept in the job, unless the job's own
            /// `backtrace` option has a number.
            failed_job_stacktrace_size: usize = 5;

            /// The job format of jobs that this program makes: Sidekiq's, unless all programs of
            /// the fleet are Elixir.
            dialect: Dialect = Dialect::Sidekiq;

            /// How times are written in jobs of Sidekiq's dialect: `milliseconds` only if every
            /// Sidekiq is version 8.
            time_format: TimeFormat = TimeFormat::Seconds;

            /// The text before every key of the storage.
            prefix: Option<String> = None,
                set by (prefix: impl Into<Option<String>>) prefix.into();

            /// The sets of the storage in which jobs wait for their time: those that the whole
            /// fleet shares, or verk's own.
            schedule_keys: ScheduleKeys = ScheduleKeys::Shared;

            /// Whether a process that runs queues shows itself and its running jobs to Sidekiq Web,
            /// whose buttons *Quiet* and *Stop* then work on it.
            process_registry: bool = true;

            /// The text that Sidekiq Web shows after the name of the process. Without it, the name
            /// of the program.
            tag: Option<String> = None,
                set by (tag: impl Into<Option<String>>) tag.into();

            /// Labels that Sidekiq Web shows after the tag.
            labels: Vec<String> = Vec::new(),
                set by (labels: impl IntoIterator<Item = impl Into<String>>)
                labels.into_iter().map(Into::into).collect();

            /// Whether running jobs are also shown to Sidekiq before 6.4.2.
            sidekiq_6_work: bool = false;

            /// Whether the runs of each class and their times are stored by the minute, for the
            /// page *Metrics* of Sidekiq 8.
            execution_metrics: bool = false;

            /// Whether to run no queues, whatever other settings say, the builder's included: the
            /// node only enqueues.
            disabled: bool = false;
        }
    };
}

pub(crate) use settings;
