//! Where each setting can come from, and which error a wrong value gives.

use super::*;

fn from(vars: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    change(Config::default(), vars)
}

fn change(config: Config, vars: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    config.with_vars(vars.iter().map(|(name, value)| (name.into(), value.into())))
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
        ("VERK_POISON_PILL_AFTER", "0"),
        ("VERK_START_JOB_LOG_LEVEL", "off"),
        ("VERK_DONE_JOB_LOG_LEVEL", "DEBUG"),
        ("VERK_FAIL_JOB_LOG_LEVEL", "error"),
        ("VERK_DEAD_JOB_LOG_LEVEL", "Warn"),
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
    assert_eq!(config.poison_pill_after, 0);
    assert_eq!(config.start_job_log_level, LogLevel::Off);
    assert_eq!(config.done_job_log_level, LogLevel::Debug);
    assert_eq!(config.fail_job_log_level, LogLevel::Error);
    assert_eq!(config.dead_job_log_level, LogLevel::Warn);
}

#[test]
fn every_mistake_names_the_variable_the_value_and_what_is_accepted() {
    let errors = from(&[
        ("VERK_QUEUES", "default"),
        ("VERK_MAX_RETRY_COUNT", "-1"),
        ("VERK_FAIL_JOB_LOG_LEVEL", "loud"),
        ("VERK_DEAD_JOB_LOG_LEVEL", "off"),
        ("VERK_DIALECT", "resque"),
        ("VERK_SCHEDULE_KEYS", "mine"),
        ("VERK_DISABLED", "yes"),
        ("VERK_UNKNOWN_CLASS", "requeue"),
    ])
    .unwrap_err();
    let errors: Vec<_> = errors.as_slice().iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            r#"VERK_MAX_RETRY_COUNT is "-1"; accepted: a whole number, not negative"#,
            r#"VERK_FAIL_JOB_LOG_LEVEL is "loud"; accepted: off, error, warn, info, debug or trace"#,
            r#"VERK_DEAD_JOB_LOG_LEVEL is "off"; accepted: error or warn"#,
            r#"VERK_DIALECT is "resque"; accepted: sidekiq or verk"#,
            r#"VERK_UNKNOWN_CLASS is "requeue"; accepted: fail, or requeue_after: and a time, such as requeue_after:30s"#,
            r#"VERK_SCHEDULE_KEYS is "mine"; accepted: shared or own"#,
            r#"VERK_QUEUES is "default"; accepted: QUEUE:CONCURRENCY, separated by commas, each queue once, such as default:25,priority:10"#,
            r#"VERK_DISABLED is "yes"; accepted: true or false"#,
        ]
    );
}

#[test]
fn a_queue_is_named_once() {
    let errors = from(&[("VERK_QUEUES", "a:1,b:2,a:3")]).unwrap_err();
    assert!(errors.to_string().contains("each queue once"), "{errors}");
}

#[test]
fn a_value_that_is_no_text_is_a_mistake() {
    use std::os::unix::ffi::OsStringExt;
    let value = OsString::from_vec(b"worker-\xff".to_vec());
    let vars = [("VERK_NODE_ID".into(), value)];
    let errors = Config::default().with_vars(vars).unwrap_err();
    assert_eq!(
        errors.to_string(),
        r#"VERK_NODE_ID is "worker-\xFF"; accepted: text in UTF-8"#
    );
}

#[test]
fn every_field_has_a_variable_that_beats_the_file_and_only_what_is_there_is_changed() {
    let file = Config::from_toml(EVERY_FIELD).unwrap();
    assert_eq!(change(file.clone(), &[]).unwrap(), file);
    let vars = [
        ("VERK_QUEUES", "b:2"),
        ("VERK_MAX_RETRY_COUNT", "3"),
        ("VERK_MAX_DEAD_JOBS", "4"),
        ("VERK_DEAD_TIMEOUT", "5"),
        ("VERK_POLL_INTERVAL", "6"),
        ("VERK_START_JOB_LOG_LEVEL", "debug"),
        ("VERK_DONE_JOB_LOG_LEVEL", "info"),
        ("VERK_FAIL_JOB_LOG_LEVEL", "info"),
        ("VERK_DEAD_JOB_LOG_LEVEL", "error"),
        ("VERK_NODE_ID", "seven"),
        ("VERK_GENERATE_NODE_ID", "true"),
        ("VERK_HEARTBEAT", "8"),
        ("VERK_POISON_PILL_AFTER", "13"),
        ("VERK_UNKNOWN_CLASS", "requeue_after:14s"),
        ("VERK_SHUTDOWN_TIMEOUT", "9"),
        ("VERK_MAX_PAYLOAD_BYTES", "10"),
        ("VERK_FAILED_JOB_STACKTRACE_SIZE", "11"),
        ("VERK_DIALECT", "Sidekiq"),
        ("VERK_TIME_FORMAT", "seconds"),
        ("VERK_PREFIX", "twelve"),
        ("VERK_SCHEDULE_KEYS", "shared"),
        ("VERK_PROCESS_REGISTRY", "true"),
        ("VERK_TAG", "fourteen"),
        ("VERK_LABELS", "fifteen"),
        ("VERK_SIDEKIQ_6_WORK", "false"),
        ("VERK_EXECUTION_METRICS", "false"),
        ("VERK_DISABLED", "false"),
    ];
    let mut names: Vec<_> = vars.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    let mut fields: Vec<_> = FIELDS.iter().map(|field| variable(field)).collect();
    fields.sort();
    assert_eq!(names, fields);
    let config = serde_json::to_value(change(file, &vars).unwrap()).unwrap();
    assert_eq!(
        config,
        serde_json::json!({
            "queues": {"b": 2},
            "max_retry_count": 3,
            "max_dead_jobs": 4,
            "dead_timeout": "5s",
            "poll_interval": "6ms",
            "start_job_log_level": "debug",
            "done_job_log_level": "info",
            "fail_job_log_level": "info",
            "dead_job_log_level": "error",
            "node_id": "seven",
            "generate_node_id": true,
            "heartbeat": "8ms",
            "poison_pill_after": 13,
            "unknown_class": "requeue_after:14s",
            "shutdown_timeout": "9ms",
            "max_payload_bytes": 10,
            "failed_job_stacktrace_size": 11,
            "dialect": "sidekiq",
            "time_format": "seconds",
            "prefix": "twelve",
            "schedule_keys": "shared",
            "process_registry": true,
            "tag": "fourteen",
            "labels": ["fifteen"],
            "sidekiq_6_work": false,
            "execution_metrics": false,
            "disabled": false,
        })
    );
}

#[test]
fn unknown_names_are_told_apart() {
    let vars = [
        ("VERK_HEARBEAT", "5"),
        ("VERK_REDIS_URL", "redis://host"),
        ("VERK_HEARTBEAT", "5"),
        ("PATH", "/bin"),
    ];
    let vars = Vars::new(vars.iter().map(|(name, value)| (name.into(), value.into())));
    assert_eq!(vars.unknown(), ["VERK_HEARBEAT"]);
    assert_eq!(
        nearest("VERK_HEARBEAT", FIELDS.iter().map(|field| variable(field))),
        Some("VERK_HEARTBEAT".to_owned())
    );
}

/// A value for each field that is not its default.
const EVERY_FIELD: &str = r#"
    queues = { default = 25, "a:b" = 1 }
    max_retry_count = 1
    max_dead_jobs = 2
    dead_timeout = "7days"
    poll_interval = "1s 500ms"
    start_job_log_level = "off"
    done_job_log_level = "trace"
    fail_job_log_level = "error"
    dead_job_log_level = "warn"
    node_id = "worker-0"
    generate_node_id = false
    heartbeat = "10s"
    poison_pill_after = 5
    unknown_class = "requeue_after:30s"
    shutdown_timeout = "1m"
    max_payload_bytes = 3
    failed_job_stacktrace_size = 4
    dialect = "verk"
    time_format = "milliseconds"
    prefix = "shop"
    schedule_keys = "own"
    process_registry = false
    tag = "billing"
    labels = ["eu", "canary"]
    sidekiq_6_work = true
    execution_metrics = true
    disabled = true
"#;

#[test]
fn a_file_sets_every_field_and_a_configuration_reads_back_what_it_wrote() {
    let config = Config::from_toml(EVERY_FIELD).unwrap();
    assert_eq!(config.poll_interval, Duration::from_millis(1_500));
    assert!(config.disabled);
    let json = serde_json::to_value(&config).unwrap();
    let written: Vec<&str> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut fields = FIELDS.to_vec();
    fields.sort_unstable();
    assert_eq!(written, fields);
    let defaults = serde_json::to_value(Config::default()).unwrap();
    for field in FIELDS {
        assert_ne!(json[field], defaults[field], "{field}");
    }
    assert_eq!(serde_json::from_value::<Config>(json).unwrap(), config);
}

#[test]
fn every_mistake_in_a_file_is_told_with_its_place() {
    let text = "# ours\nqueues = { default = \"many\" }\nhearbeat = \"5s\"\npoll_interval = 5000\nshutdown_timeout = \"soon\"\nredis_url = \"redis://host\"\ncolour = 1\n";
    let errors = Config::from_toml(text).unwrap_err();
    let errors: Vec<_> = errors.as_slice().iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 5, "{errors:#?}");
    for (error, expected) in errors.iter().zip([
        "line 2, column 22: queues: invalid type: string \"many\", expected usize",
        "line 3, column 1: hearbeat: no such field; did you mean heartbeat?",
        "line 4, column 17: poll_interval: invalid type: integer `5000`, expected a time such as \"5s\", \"250ms\" or \"7days\"",
        "line 5, column 20: shutdown_timeout: invalid value: string \"soon\", expected a time such as",
        "line 7, column 1: colour: no such field; accepted: queues, max_retry_count,",
    ]) {
        assert!(error.starts_with(expected), "{error} is not {expected}");
    }
}

#[test]
fn what_is_no_toml_is_told_with_its_place_and_the_file() {
    let error = Config::from_toml("queues = {\n  default = 1\n")
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("line "), "{error}");
    assert!(!error.contains('\n'), "{error}");
    let missing = Config::from_file("no/such.toml").unwrap_err().to_string();
    assert!(
        missing.starts_with("cannot read no/such.toml: "),
        "{missing}"
    );
}

#[test]
fn a_death_is_logged_as_a_warning_or_an_error() {
    use LogLevel::{Debug, Error, Info, Off, Trace, Warn};
    for (level, refused) in [
        (Error, 0),
        (Warn, 0),
        (Off, 1),
        (Info, 1),
        (Debug, 1),
        (Trace, 1),
    ] {
        let config = Config {
            dead_job_log_level: level,
            ..Config::default()
        };
        let mut errors = Vec::new();
        config.check(&mut errors);
        assert_eq!(errors.len(), refused, "{level}");
        for error in errors {
            let message = format!("dead_job_log_level is {level}; accepted: error or warn");
            assert_eq!(error.to_string(), message);
        }
    }
}

#[test]
fn a_generated_id_beats_a_node_id_and_something_must_name_the_node() {
    let mut config = Config {
        node_id: Some("worker-0".to_owned()),
        ..Config::default()
    };
    for (generate, name) in [
        (None, Some("worker-0")),
        (Some(false), Some("worker-0")),
        (Some(true), None),
    ] {
        config.generate_node_id = generate;
        assert_eq!(config.name(), name);
    }
    let config = Config {
        generate_node_id: Some(false),
        ..Config::default()
    };
    let mut errors = Vec::new();
    config.check(&mut errors);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("or a node_id"));
}
