//! Where each setting can come from, and the error for a wrong value.

use std::ffi::OsString;

use super::{environment::change, *};

fn from(vars: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let vars = vars.iter().map(|(name, value)| (name.into(), value.into()));
    change(Config::default(), vars)
}

#[test]
fn an_empty_environment_is_the_default() {
    assert_eq!(from(&[]).unwrap(), Config::default());
}

#[test]
fn queues_and_times_are_read() {
    let config = from(&[
        ("VERK_QUEUES", "default:25, a:b:10"),
        ("VERK_HEARTBEAT", "1s 500ms"),
        ("VERK_DEAD_TIMEOUT", "1m"),
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
    assert_eq!(config.start_job_log_level, LevelFilter::OFF);
    assert_eq!(config.done_job_log_level, LevelFilter::DEBUG);
    assert_eq!(config.fail_job_log_level, LevelFilter::ERROR);
    assert_eq!(config.dead_job_log_level, LevelFilter::WARN);
}

#[test]
fn every_mistake_names_the_variable_the_value_and_what_is_accepted() {
    let errors = from(&[
        ("VERK_QUEUES", "default"),
        ("VERK_MAX_RETRY_COUNT", "-1"),
        ("VERK_FAIL_JOB_LOG_LEVEL", "loud"),
        ("VERK_HEARTBEAT", "5000"),
        ("VERK_UNKNOWN_CLASS", "requeue"),
        ("VERK_DIALECT", "resque"),
        ("VERK_SCHEDULE_KEYS", "mine"),
        ("VERK_DISABLED", "yes"),
    ])
    .unwrap_err();
    let errors: Vec<_> = errors.as_slice().iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            r#"VERK_QUEUES is "default"; accepted: QUEUE:CONCURRENCY, separated by commas, each queue once, such as default:25,priority:10"#,
            r#"VERK_MAX_RETRY_COUNT is "-1"; accepted: a whole number, not negative"#,
            r#"VERK_FAIL_JOB_LOG_LEVEL is "loud"; accepted: off, error, warn, info, debug or trace"#,
            r#"VERK_HEARTBEAT is "5000"; accepted: a duration such as 5s, 250ms or 7days"#,
            r#"VERK_UNKNOWN_CLASS is "requeue"; accepted: fail, or requeue_after: and a time, such as requeue_after:30s"#,
            r#"VERK_DIALECT is "resque"; accepted: sidekiq or verk"#,
            r#"VERK_SCHEDULE_KEYS is "mine"; accepted: shared or own"#,
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
    let errors = change(Config::default(), vars).unwrap_err();
    assert_eq!(
        errors.to_string(),
        r#"VERK_NODE_ID is "worker-\xFF"; accepted: text in UTF-8"#
    );
}

#[test]
fn every_mistake_in_a_file_is_told_with_its_place() {
    let text = r#"# ours
queues = { default = "many" }
hearbeat = "5s"
poll_interval = 5000
shutdown_timeout = "soon"
redis_url = "redis://:secret@host"
colour = 1
max_retry_count = -1
labels = "eu"
disabled = "true"
dialect = "resque"
[reddis]
"#;
    let errors = Config::from_toml(text).unwrap_err();
    let errors: Vec<_> = errors.as_slice().iter().map(ToString::to_string).collect();
    let accepted = "accepted: queues, spread_queues, max_retry_count, max_dead_jobs, ";
    for (error, expected) in errors.iter().zip([
        "line 2, column 22: queues must be a table of queues, each with a number, such as { default = 25, priority = 10 }",
        "line 3, column 1: hearbeat: no such field; did you mean heartbeat?",
        r#"line 4, column 17: poll_interval must be a duration such as "5s", "250ms" or "7days""#,
        r#"line 5, column 20: shutdown_timeout must be a duration such as "5s", "250ms" or "7days""#,
        "line 6, column 1: redis_url: no such field; did you mean url in the table [redis]?",
        &format!("line 7, column 1: colour: no such field; {accepted}"),
        "line 8, column 19: max_retry_count must be a whole number, not negative",
        r#"line 9, column 10: labels must be a list of texts such as ["eu", "canary"]"#,
        "line 10, column 12: disabled must be true or false",
        "line 11, column 11: dialect must be sidekiq or verk",
        "line 12, column 2: reddis: no such field; did you mean redis?",
    ]) {
        assert!(error.starts_with(expected), "{error} is not {expected}");
    }
    assert_eq!(errors.len(), 11, "{errors:#?}");
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
    for (level, refused) in [
        (LevelFilter::ERROR, 0),
        (LevelFilter::WARN, 0),
        (LevelFilter::OFF, 1),
        (LevelFilter::INFO, 1),
        (LevelFilter::DEBUG, 1),
        (LevelFilter::TRACE, 1),
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
