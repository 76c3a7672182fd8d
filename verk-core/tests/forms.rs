//! Every form of job that Sidekiq 6.4, 7 and 8 and Elixir's Verk send: read, written back, and failed, as bytes.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use verk_core::{Backtrace, Failure, Job, RetryLimit};
use verk_testing::fuzz::fuzz;

/// A line of the golden file; its README says what is in it.
#[derive(Deserialize)]
struct Form {
    form: String,
    source: String,
    payload: String,
    failed: String,
}

fn forms() -> Vec<Form> {
    include_str!("golden/forms.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The job of each source that has this form.
fn each(form: &str) -> Vec<Job> {
    let jobs: Vec<Job> = forms()
        .into_iter()
        .filter(|line| line.form == form)
        .map(|line| Job::decode(line.payload.into()).unwrap())
        .collect();
    assert!(!jobs.is_empty(), "no line has the form {form}");
    jobs
}

/// What every job of this form answers to `ask`.
#[track_caller]
fn all<T: PartialEq + std::fmt::Debug>(form: &str, ask: impl Fn(&Job) -> T, expected: &T) {
    for job in each(form) {
        assert_eq!(&ask(&job), expected, "{form}: {job:?}");
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(1_800_000_000_250_000)
}

fn fail(job: &mut Job) {
    let failure = Failure {
        error_class: "Oops".to_owned(),
        error_message: "it broke: \"é\"".to_owned(),
        error_backtrace: Vec::new(),
    };
    job.record_failure(&failure, now(), &"fetched".parse().unwrap());
}

fn text(job: &Job) -> String {
    String::from_utf8(job.encode().into()).unwrap()
}

#[test]
fn every_form_is_written_back_and_fails_as_the_file_has_it() {
    let mut wrong = Vec::new();
    for Form {
        form,
        source,
        payload,
        failed,
    } in forms()
    {
        let mut job = Job::decode(payload.clone().into()).unwrap();
        assert_eq!(text(&job), payload, "{form} of {source}");
        let args: Vec<&RawValue> = serde_json::from_str(job.args()).unwrap();
        assert!(args.len() < 7, "{form} of {source}");
        let before = job.failures();
        fail(&mut job);
        let again = Job::decode(job.encode()).unwrap();
        assert_eq!(again.failures(), before + 1, "{form} of {source}");
        assert_eq!(text(&again), text(&job));
        if text(&job) != failed {
            wrong.push(format!("{form} of {source}\n{}\n", text(&job)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[test]
fn the_options_of_every_form_are_read() {
    all("retry: true", Job::retry_limit, &RetryLimit::Default);
    all("retry: false", Job::retry_limit, &RetryLimit::Never);
    all("retry: n", Job::retry_limit, &RetryLimit::Times(3));
    all("retry: 0", Job::retry_limit, &RetryLimit::Times(0));
    all("dead: false", Job::dead, &false);
    all("backtrace: true", Job::backtrace, &Backtrace::Full);
    all("backtrace: n", Job::backtrace, &Backtrace::Lines(7));
    let tags = vec!["alpha".to_owned(), "über 🥇".to_owned()];
    all("tags", Job::tags, &tags);
    let slow = Some("slow".parse().unwrap());
    all("retry_queue", Job::retry_queue, &slow);
    let two_days = Some(Duration::from_secs(172_800));
    all("retry_for", Job::retry_for, &two_days);
    all("encrypt", Job::is_encrypted, &true);
    all(
        "args, a string",
        |job| job.args().to_owned(),
        &r#"[1,{"a":1.0}]"#.to_owned(),
    );
    all(
        "args, spoiled by cjson",
        |job| job.args().to_owned(),
        &"[]".to_owned(),
    );
    all("retry now, by the Web UI", Job::failures, &1);
    let expires_in = |job: &Job| {
        let expires_at = job.expires_at().unwrap();
        expires_at
            .duration_since(job.enqueued_at().unwrap())
            .unwrap()
    };
    all("expires_in", expires_in, &Duration::from_secs(3600));
    all(
        "expires_in, a float",
        expires_in,
        &Duration::from_millis(500),
    );
    for form in ["retry: true", "args, a string"] {
        all(form, Job::expires_at, &None);
        all(form, Job::retry_for, &None);
        all(form, Job::is_encrypted, &false);
    }
}

#[test]
fn a_job_of_active_job_is_the_one_in_its_envelope() {
    let arguments =
        r#"["ada",{"_aj_globalid":"gid://shop/User/1"},{"deep":1.0,"_aj_symbol_keys":["deep"]}]"#;
    for form in [
        "ActiveJob",
        "ActiveJob without wrapped",
        "ActiveJob with sidekiq_options",
    ] {
        let class_and_args = |job: &Job| (job.class().to_owned(), job.args().to_owned());
        let expected = ("Mailers::WelcomeJob".to_owned(), arguments.to_owned());
        all(form, class_and_args, &expected);
    }
    let [.., job] = &each("ActiveJob")[..] else {
        panic!("three versions");
    };
    assert_eq!(job.get("class"), Some(r#""Sidekiq::ActiveJob::Wrapper""#));
    assert!(job.get("args").unwrap().contains("job_id"));

    // The class of another program, whatever its arguments look like; and wrappers around nothing.
    for (class, args) in [
        ("A", r#"[{"job_class":"B","arguments":[]}]"#),
        ("Sidekiq::ActiveJob::Wrapper", "[]"),
        ("Sidekiq::ActiveJob::Wrapper", "[1]"),
        ("Sidekiq::ActiveJob::Wrapper", r#"[{"job_class":"B"}]"#),
        (
            "Sidekiq::ActiveJob::Wrapper",
            r#"[{"job_class":"B","arguments":{}}]"#,
        ),
        (
            "Sidekiq::ActiveJob::Wrapper",
            r#"[{"job_class":"","arguments":[]}]"#,
        ),
    ] {
        let payload = format!(r#"{{"class":"{class}","wrapped":"B","jid":"1","args":{args}}}"#);
        let job = Job::decode(payload.into()).unwrap();
        assert_eq!((job.class(), job.args()), (class, args));
    }
}

#[test]
fn an_envelope_can_be_made_here() {
    let args = r#"[{"job_class":"Mailers::WelcomeJob","arguments":["ada"]}]"#;
    let class = "Sidekiq::ActiveJob::Wrapper";
    let mut job = Job::new(class, "mailers".parse().unwrap(), args.to_owned()).unwrap();
    job.set("wrapped", "Mailers::WelcomeJob").unwrap();
    assert_eq!(
        (job.class(), job.args()),
        ("Mailers::WelcomeJob", r#"["ada"]"#)
    );
    let expected = format!(
        r#"{{"queue":"mailers","args":{args},"class":"{class}","jid":"{}","wrapped":"Mailers::WelcomeJob"}}"#,
        job.jid()
    );
    assert_eq!(text(&job), expected);
}

#[test]
fn the_options_are_written_as_ruby_reads_them() {
    let mut job = Job::new("A", "q".parse().unwrap(), "[]".to_owned()).unwrap();
    job.set_retry_queue(&"slow".parse().unwrap());
    job.set_retry_for(Duration::from_millis(1_999));
    job.set_max_retry_count(3);
    job.set_retry_limit(RetryLimit::Never);
    job.set("expires_in", &60).unwrap();
    let expected = format!(
        r#"{{"retry":false,"retry_for":1,"queue":"q","retry_queue":"slow","args":[],"class":"A","jid":"{}","expires_in":60}}"#,
        job.jid()
    );
    assert_eq!(text(&job), expected);
    job.set_retry_limit(RetryLimit::Default);
    job.set_retry_for(Duration::MAX);
    assert_eq!(
        (job.get("retry"), job.get("max_retry_count")),
        (Some("true"), None)
    );
    assert_eq!(
        job.get("retry_for"),
        Some("1000000000"),
        "the most that Sidekiq takes"
    );
}

/// A payload that once broke something, or might: each is read, failed and read again like those that are made up below.
#[test]
fn the_regression_corpus() {
    for line in include_str!("golden/corpus.jsonl").lines() {
        let payload: String = serde_json::from_str(line).unwrap();
        check(&payload).unwrap();
    }
}

/// What stands in jobs and may change what is read of them.
const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "null",
    "true",
    "-0",
    "1e999",
    "18446744073709551617",
    "\\u0000",
    "\\ud800",
    "\\u0061",
    "\"class\":",
    "\"jid\":\"1\"",
    "\"args\":",
    "\"queue\":",
    "\"retry\":",
    "\"retry_count\":",
    "\"failed_at\":",
    "\"wrapped\":",
    "\"retry_for\":",
    "\"error_backtrace\":",
    "\"expires_in\":",
    "\"job_class\":",
    "\"dead\":",
];

#[test]
fn bytes_that_are_hardly_a_job_lose_no_key() {
    let texts = |file: &str, field: Option<&str>| -> Vec<Vec<u8>> {
        let line = |line: &str| {
            let value: Value = serde_json::from_str(line).unwrap();
            let text = field.map_or(&value, |field| &value[field]);
            text.as_str().unwrap().as_bytes().to_vec()
        };
        file.lines().map(line).collect()
    };
    let mut corpus = texts(include_str!("golden/corpus.jsonl"), None);
    for file in [
        include_str!("golden/forms.jsonl"),
        include_str!("golden/jobs.jsonl"),
    ] {
        corpus.extend(texts(file, Some("payload")));
    }
    fuzz(corpus, WORDS, |input| match std::str::from_utf8(input) {
        Ok(payload) => check(payload).unwrap(),
        Err(_) => {
            if let Ok(job) = Job::decode(Bytes::copy_from_slice(input)) {
                assert_eq!(job.encode(), input);
            }
        }
    });
}

/// What holds for any payload at all: no panic, and if it is a job, all its keys stay.
fn check(payload: &str) -> Result<(), TestCaseError> {
    let Ok(mut job) = Job::decode(payload.to_owned().into()) else {
        return Ok(());
    };
    prop_assert_eq!(text(&job), payload);
    let _ = (
        job.class(),
        job.args(),
        job.tags(),
        job.backtrace(),
        job.error_backtrace(),
    );
    let _ = (
        job.retry_limit(),
        job.retry_for(),
        job.expires_at(),
        job.is_encrypted(),
    );
    // A key that is no Unicode has no name to ask for.
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(payload).unwrap_or_default();
    let surrogate = payload.to_ascii_lowercase().contains("\\ud");
    prop_assert!(!members.is_empty() || surrogate);
    let before: Vec<(String, String)> = members
        .into_keys()
        .map(|key| {
            let value = job.get(&key).expect("a key that is there").to_owned();
            (key, value)
        })
        .collect();
    let (class, args) = (job.class().to_owned(), job.args().to_owned());
    for _ in 0..2 {
        fail(&mut job);
        job.set_enqueued_at(Some(now()));
        job = Job::decode(job.encode()).expect("what verk writes is a job");
    }
    prop_assert_eq!((job.class(), job.args()), (&*class, &*args));
    for (key, value) in &before {
        if CHANGED.contains(&key.as_str()) {
            // An error's backtrace goes with the error; all else stays, with another value.
            prop_assert!(
                key == "error_backtrace" || job.get(key).is_some(),
                "{} is lost",
                key
            );
        } else {
            prop_assert_eq!(job.get(key), Some(value.as_str()));
        }
    }
    Ok(())
}

/// The keys that a failure and a push may change.
const CHANGED: &[&str] = &[
    "retry_count",
    "failed_at",
    "retried_at",
    "error_message",
    "error_class",
    "error_backtrace",
    "enqueued_at",
    "queue",
];

/// The keys that mean something to verk.
const KNOWN: &[&str] = &[
    "class",
    "jid",
    "args",
    "queue",
    "retry",
    "retry_queue",
    "retry_for",
    "max_retry_count",
    "dead",
    "tags",
    "backtrace",
    "wrapped",
    "expires_in",
    "encrypt",
    "created_at",
    "enqueued_at",
    "failed_at",
    "retried_at",
    "retry_count",
    "error_message",
    "error_class",
    "error_backtrace",
    "finished_at",
];

/// Any JSON value, with odd whitespace, numbers that no type holds, and strings with escapes that are no Unicode.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(
            &[
                "null",
                "true",
                "false",
                "0",
                "-0.0",
                "1e400",
                "12345678901234567890123"
            ][..]
        )
        .prop_map(str::to_owned),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,5})?",
        any::<String>().prop_map(|value| Value::from(value).to_string()),
        prop::sample::select(
            &[
                r#""\ud800""#,
                r#""\u0000\/""#,
                r#""[1,[]]""#,
                r#""{}""#,
                r#""eJw=""#
            ][..]
        )
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(8, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(|items| format!("[\t{}\n]", items.join(" ,"))),
            vec((key(), inner), 0..5).prop_map(|members| object(&members)),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(KNOWN).prop_map(|key| format!("\"{key}\"")),
        1 => prop::sample::select(&["job_class", "arguments", "qu\\u0065ue", ""][..])
            .prop_map(|key| format!("\"{key}\"")),
        1 => any::<String>().prop_map(|key| Value::from(key).to_string()),
    ]
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(key, value)| format!("{key} : {value}"))
        .collect();
    format!("{{ {} }}", members.join("\r\n,"))
}

proptest! {
    #[test]
    fn any_object_is_read_without_panic_and_loses_no_key(
        members in vec((key(), value()), 0..12),
        envelope in value(),
        class in prop::sample::select(&["A", "Sidekiq::ActiveJob::Wrapper"][..]),
    ) {
        check(&object(&members))?;
        // Most of them are no jobs; these are. Of a key that is there twice, the last one counts.
        let mut job = members;
        for (key, value) in [("class", format!("\"{class}\"")), ("jid", "\"1\"".to_owned()), ("args", format!("[{envelope}]"))] {
            job.push((format!("\"{key}\""), value));
        }
        prop_assert!(Job::decode(object(&job).into()).is_ok());
        check(&object(&job))?;
    }
}
