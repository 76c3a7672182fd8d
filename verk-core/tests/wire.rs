//! Jobs as Sidekiq and Elixir's Verk wrote them, read and written back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use verk_core::{
    Job, QueueName,
    job::{Backtrace, Failure, RetryLimit},
};

const SIDEKIQ_6: &str = "sidekiq-6.4.1";
const SIDEKIQ_7: &str = "sidekiq-7.3.10";
const VERK: &str = "verk-1.7.3";

/// A line of the golden file; its README says what is in it.
#[derive(Deserialize)]
struct Golden {
    source: String,
    key: String,
    valid_json: bool,
    payload: String,
}

fn golden() -> Vec<Golden> {
    include_str!("golden/jobs.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// All payloads of one job in one key, in the order they were written.
fn states(source: &str, key: &str, jid: &str) -> Vec<Job> {
    let jid = format!(r#""jid":"{jid}""#);
    golden()
        .into_iter()
        .filter(|line| line.source == source && line.key == key && line.payload.contains(&jid))
        .map(|line| Job::decode(line.payload.into()).unwrap())
        .collect()
}

/// The first payload of one job in one key.
fn state(source: &str, key: &str, jid: &str) -> Job {
    states(source, key, jid).remove(0)
}

fn failure() -> Failure {
    Failure {
        error_class: "my_app::Oops".to_owned(),
        error_message: "it broke: \"é\"".to_owned(),
        error_backtrace: vec!["src/a.rs:1".to_owned(), "src/b.rs:2".to_owned()],
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(1_800_000_000_250_000)
}

fn queue(name: &str) -> QueueName {
    name.parse().unwrap()
}

fn text(job: &Job) -> String {
    String::from_utf8(job.encode().into()).unwrap()
}

/// The keys of `job` with the text of their values, less those in `except`.
fn raw_values(payload: &[u8], except: &[&str]) -> Vec<(String, String)> {
    let json = std::str::from_utf8(payload).unwrap();
    let job = Job::decode(Bytes::copy_from_slice(payload)).unwrap();
    let Value::Object(object) = serde_json::from_str(json).unwrap() else {
        panic!("a job is an object");
    };
    object
        .keys()
        .filter(|key| !except.contains(&key.as_str()))
        .map(|key| (key.clone(), job.get(key).unwrap().to_owned()))
        .collect()
}

/// The keys that a failure may change.
const FAILURE_KEYS: &[&str] = &[
    "retry_count",
    "failed_at",
    "retried_at",
    "error_message",
    "error_class",
    "error_backtrace",
];

#[test]
fn every_payload_comes_back_as_it_was() {
    let golden = golden();
    assert!(golden.len() > 90);
    for line in golden {
        match Job::decode(line.payload.clone().into()) {
            Ok(job) => {
                assert!(line.valid_json, "{}", line.payload);
                assert_eq!(text(&job), line.payload);
                assert!(job.queue().is_some());
                let args: Value = serde_json::from_str(job.args()).unwrap();
                assert!(args.is_array());
                assert!(job.created_at().is_some() || line.source == VERK || job.args() == "[1,2]");
            }
            Err(error) => assert!(!line.valid_json, "{error}: {}", line.payload),
        }
    }
}

#[test]
fn every_payload_keeps_its_other_bytes_when_it_fails() {
    for line in golden().into_iter().filter(|line| line.valid_json) {
        let before = Job::decode(line.payload.clone().into()).unwrap();
        let mut job = before.clone();
        let queue = before.queue().unwrap();
        job.record_failure(&failure(), now(), queue);
        let after = Job::decode(job.encode()).unwrap();
        assert_eq!(
            raw_values(&job.encode(), FAILURE_KEYS),
            raw_values(line.payload.as_bytes(), FAILURE_KEYS),
        );
        assert_eq!(after.args(), before.args());
        assert_eq!(after.failures(), before.failures() + 1);
        assert_eq!(after.error_message().unwrap(), failure().error_message);
        assert_eq!(after.error_backtrace(), failure().error_backtrace);
        assert_eq!(after.retry_limit(), before.retry_limit());
    }
}

#[test]
fn sidekiq_counts_from_zero() {
    let jid = "653773487e4ab4e185f745d9";
    let fresh = state(SIDEKIQ_7, "queue:default", jid);
    assert_eq!(fresh.failures(), 0);
    assert_eq!(fresh.failed_at(), None);
    assert_eq!(fresh.retry_limit(), RetryLimit::Default);
    assert_eq!(fresh.backtrace(), Backtrace::Lines(3));
    assert_eq!(fresh.tags(), ["t1"]);
    assert!(fresh.dead());

    let [first, second, ..] = &states(SIDEKIQ_7, "retry", jid)[..] else {
        panic!("it failed twice");
    };
    assert_eq!(first.failures(), 1);
    assert_eq!(
        first.failed_at(),
        Some(UNIX_EPOCH + Duration::from_micros(1_795_465_694_412_503))
    );
    assert_eq!(first.retried_at(), None);
    assert_eq!(first.error_class().unwrap(), "ArgumentError");
    assert_eq!(first.error_message().unwrap(), "no good");
    assert_eq!(second.failures(), 2);
    assert!(second.retried_at() > second.failed_at());
}

#[test]
fn the_backtraces_of_sidekiq_inflate() {
    for (source, jid) in [
        (SIDEKIQ_6, "2420606276d9b5223415b713"),
        (SIDEKIQ_7, "653773487e4ab4e185f745d9"),
    ] {
        let frames = state(source, "retry", jid).error_backtrace();
        assert_eq!(frames.len(), 3, "{frames:?}");
        assert!(frames[0].contains(".rb:"), "{frames:?}");
        assert!(frames[0].contains("perform"), "{frames:?}");
    }
}

#[test]
fn the_options_of_sidekiq() {
    let job = |jid| state(SIDEKIQ_7, "queue:default", jid);
    let never = job("532deea9668de52717b0fd70");
    assert_eq!(never.class(), "NoRetryJob");
    assert_eq!(never.retry_limit(), RetryLimit::Never);
    let once = job("c40792650a2613fc043d0a12");
    assert_eq!(once.retry_limit(), RetryLimit::Times(1));
    let zero = job("15ee25d2eb4c3801241dc345");
    assert_eq!(zero.retry_limit(), RetryLimit::Times(0));
    assert!(zero.dead());
    let buried = state(SIDEKIQ_7, "dead", "15ee25d2eb4c3801241dc345");
    assert_eq!(buried.failures(), 1);
    let no_dead = job("3fbf024fcf05e581116f7c80");
    assert_eq!(no_dead.retry_limit(), RetryLimit::Times(0));
    assert!(!no_dead.dead());
}

#[test]
fn retry_now_of_sidekiq_web_takes_one_off() {
    let job = states(SIDEKIQ_6, "queue:default", "bd337115e1479317bc4971bb").remove(1);
    assert_eq!(job.get("retry_count"), Some("-1"));
    assert_eq!(job.failures(), 1);
}

#[test]
fn verk_counts_from_one() {
    let jid = "11370896902411882151";
    let fresh = state(VERK, "queue:default", jid);
    assert_eq!(fresh.args(), "[7]");
    assert_eq!(fresh.failures(), 0);
    assert_eq!(fresh.retry_limit(), RetryLimit::Times(1));
    assert_eq!(fresh.created_at(), None);
    assert_eq!(
        fresh.enqueued_at(),
        Some(UNIX_EPOCH + Duration::from_secs(1_795_465_777))
    );
    assert_eq!(state(VERK, "retry", jid).failures(), 1);
    assert_eq!(state(VERK, "dead", jid).failures(), 2);

    let with_stack = state(VERK, "retry", "1097631346496998915");
    let frames = with_stack.error_backtrace();
    assert_eq!(frames.len(), 5);
    assert_eq!(frames[0], "lib/cap.ex:7: FailWorker.perform/1");
    assert!(state(VERK, "retry", jid).error_backtrace().is_empty());
}

#[test]
fn a_verk_job_that_sidekiq_failed() {
    // Sidekiq found a `retry_count`, so it set `retried_at` and left `failed_at` null: no failure
    // yet.
    let mut job = state(SIDEKIQ_7, "retry", "1681795463615");
    assert_eq!(job.failures(), 0);
    assert_eq!(job.retry_limit(), RetryLimit::Times(25));
    job.record_failure(&failure(), now(), &queue("default"));
    assert_eq!(job.failures(), 1);
    assert_eq!(job.get("failed_at"), Some("1800000000"));
    // The class of Sidekiq's error is not kept beside the message of ours.
    assert_eq!(job.error_class().unwrap(), "my_app::Oops");
}

#[test]
fn elixir_forgets_one_failure_of_a_job_of_sidekiqs_form() {
    // What Elixir writes when a job fails there: one more than the `retry_count` that it found, in
    // its own form.
    let fails_in_elixir = |job: &Job| {
        let count = job.retry_count().unwrap_or(0) + 1;
        let payload = format!(
            r#"{{"args":"[1]","class":"A","created_at":null,"enqueued_at":1,"error_backtrace":null,"error_message":"no","failed_at":5,"finished_at":null,"jid":"1","max_retry_count":2,"queue":"q","retried_at":null,"retry_count":{count}}}"#
        );
        Job::decode(payload.into()).unwrap()
    };
    let new = || {
        let mut job = Job::new("A", queue("q"), "[1]".to_owned()).unwrap();
        job.set_max_retry_count(2);
        job
    };
    assert_eq!(fails_in_elixir(&new()).failures(), 1);
    assert_eq!(fails_in_elixir(&fails_in_elixir(&new())).failures(), 2);

    let mut job = new();
    job.record_failure(&failure(), now(), &queue("q"));
    let mut job = fails_in_elixir(&job);
    assert_eq!(job.failures(), 1, "it failed twice");
    // From here on both count alike: it fails a third time and is retried, and the fourth time is
    // its last.
    job.record_failure(&failure(), now(), &queue("q"));
    let job = fails_in_elixir(&job);
    assert_eq!(job.failures(), 3, "one more than the limit");
}

#[test]
fn a_verk_job_goes_on_as_verk_wants_it() {
    let jid = "11370896902411882151";
    let mut job = state(VERK, "queue:default", jid);
    job.record_failure(&failure(), now(), &queue("default"));
    assert_eq!(
        text(&job),
        r#"{"args":"[7]","class":"DieWorker","created_at":null,"enqueued_at":1795465777,"error_backtrace":"src/a.rs:1\nsrc/b.rs:2\n","error_message":"it broke: \"é\"","failed_at":1800000000,"finished_at":null,"jid":"11370896902411882151","max_retry_count":1,"queue":"default","retried_at":null,"retry_count":1}"#
    );
    job.record_failure(
        &Failure::default(),
        now() + Duration::from_secs(9),
        &queue("default"),
    );
    job.set_enqueued_at(Some(now()));
    job.set_max_retry_count(3);
    assert_eq!(
        text(&job),
        r#"{"args":"[7]","class":"DieWorker","created_at":null,"enqueued_at":1800000000,"error_backtrace":null,"error_message":"","failed_at":1800000000,"finished_at":null,"jid":"11370896902411882151","max_retry_count":3,"queue":"default","retried_at":1800000009,"retry_count":2}"#
    );
    job.set_enqueued_at(None);
    assert_eq!(job.get("enqueued_at"), Some("null"));
}

#[test]
fn a_verk_job_with_an_array_is_still_one_of_verk() {
    // Elixir's mover of due jobs spoils an empty array; older versions wrote arrays.
    for args in ["{}", "[]"] {
        let payload = format!(
            r#"{{"args":{args},"class":"A","created_at":null,"enqueued_at":1,"error_backtrace":null,"error_message":null,"failed_at":5,"finished_at":null,"jid":"1","max_retry_count":25,"queue":"q","retried_at":null,"retry_count":2}}"#
        );
        let mut job = Job::decode(payload.clone().into()).unwrap();
        assert_eq!(job.args(), "[]");
        assert_eq!(job.failures(), 2);
        job.set_max_retry_count(9);
        assert_eq!(text(&job), payload.replace("25", "9"));
        assert_eq!(Job::decode(job.encode()).unwrap().failures(), 2);
        // With `retry` it is one of Sidekiq.
        let payload = payload.replace("\"args\"", "\"retry\":true,\"args\"");
        assert_eq!(Job::decode(payload.into()).unwrap().failures(), 3);
    }
}

#[test]
fn a_sidekiq_job_goes_on_as_sidekiq_wants_it() {
    let mut job = state(SIDEKIQ_7, "queue:default", "c40792650a2613fc043d0a12");
    let before = text(&job);
    job.record_failure(&failure(), now(), &queue("default"));
    let backtrace = job.get("error_backtrace").unwrap().to_owned();
    // The header of zlib in base64, in one line.
    assert!(backtrace.starts_with("\"eJ") && !backtrace.contains('\\'));
    let first = format!(
        r#"{},"error_message":"it broke: \"é\"","error_class":"my_app::Oops","failed_at":1800000000.25,"retry_count":0,"error_backtrace":{backtrace}}}"#,
        &before[..before.len() - 1]
    );
    assert_eq!(text(&job), first);

    let mut job = Job::decode(job.encode()).unwrap();
    job.record_failure(&failure(), now(), &queue("default"));
    assert_eq!(
        text(&job),
        format!(
            r#"{},"retried_at":1800000000.25}}"#,
            first
                .replace(r#""retry_count":0"#, r#""retry_count":1"#)
                .strip_suffix('}')
                .unwrap()
        )
    );
}

/// A key and the text of its value, as any program might write them.
fn entry() -> impl Strategy<Value = (String, String)> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?",
        any::<String>().prop_map(|value| Value::from(value).to_string()),
        Just(r#""\u00e9\ud83d\ude00\/""#.to_owned()),
    ];
    let value = leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[ {}]", items.join(" ,"))),
            prop::collection::vec((any::<String>(), inner), 0..4).prop_map(|items| {
                let items: Vec<String> = items
                    .into_iter()
                    .map(|(key, value)| format!("{}: {value}", Value::from(key)))
                    .collect();
                format!("{{{}}}", items.join(","))
            }),
        ]
    });
    let key = prop_oneof![
        any::<String>(),
        prop::sample::select(FAILURE_KEYS).prop_map(str::to_owned),
        prop::sample::select(
            &[
                "retry",
                "retry_queue",
                "max_retry_count",
                "tags",
                "dead",
                "enqueued_at"
            ][..]
        )
        .prop_map(str::to_owned),
    ];
    (key, value)
}

proptest! {
    #[test]
    fn any_job_keeps_what_was_not_changed(
        entries in prop::collection::vec(entry(), 0..12),
        string_args in any::<bool>(),
        place in any::<prop::sample::Index>(),
    ) {
        const OURS: &[&str] = &["class", "jid", "args", "queue"];
        let mut entries: Vec<(String, String)> = entries
            .into_iter()
            .filter(|(key, _)| !OURS.contains(&key.as_str()))
            .collect();
        let args = if string_args { r#""[1.0]""# } else { "[1.0]" };
        let place = place.index(entries.len() + 1);
        for (key, value) in [("class", "\"A\""), ("jid", "\"1\""), ("args", args), ("queue", "\"q\"")] {
            entries.insert(place, (key.to_owned(), value.to_owned()));
        }
        let members: Vec<String> = entries
            .iter()
            .map(|(key, value)| format!("{}:{value}", Value::from(key.as_str())))
            .collect();
        let payload = format!("{{{}}}", members.join(","));

        let mut job = Job::decode(payload.clone().into()).unwrap();
        prop_assert_eq!(&job.encode(), payload.as_bytes());
        prop_assert_eq!(job.args(), "[1.0]");
        let failures = job.failures();
        let retry_queue = job.get("retry_queue").map(str::to_owned);
        let has_retry = job.get("retry").is_some_and(|retry| retry != "null");

        job.record_failure(&failure(), now(), &queue("q"));
        job.set_enqueued_at(Some(now()));
        job.set_dead(false);
        let encoded = text(&job);
        let read = Job::decode(encoded.clone().into()).unwrap();
        prop_assert_eq!(read.failures(), failures.saturating_add(1));
        prop_assert_eq!(read.error_message().unwrap(), failure().error_message);
        prop_assert_eq!(read.get("retry_queue"), retry_queue.as_deref());

        // What was not changed is there, in order and byte for byte.
        let changed = |key: &str| {
            FAILURE_KEYS.contains(&key)
                || ["enqueued_at", "dead", "queue"].contains(&key)
                || (key == "retry" && !has_retry)
        };
        let mut rest = encoded.as_str();
        for (member, (key, _)) in members.iter().zip(&entries) {
            if !changed(key) {
                let found = rest.find(member.as_str());
                prop_assert!(found.is_some(), "{} is not in {}", member, rest);
                rest = &rest[found.unwrap() + member.len()..];
            }
        }
        // A second encoding changes nothing.
        prop_assert_eq!(&read.encode(), encoded.as_bytes());
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Job::decode(bytes.into());
    }

    #[test]
    fn any_json_like_text_is_read_without_panic(
        text in r#"\{?("(class|jid|args|queue|retry|failed_at|error_backtrace)":("[a-zA-Z0-9\\\[\]{}]{0,6}"|[0-9eE.+-]{1,8}|\[\]|\{\}|null|true),?){0,6}\}?"#
    ) {
        if let Ok(mut job) = Job::decode(text.clone().into()) {
            prop_assert_eq!(&job.encode(), text.as_bytes());
            let _ = (job.retry_limit(), job.backtrace(), job.error_backtrace(), job.failed_at(), job.tags());
            job.record_failure(&failure(), now(), &queue("q"));
            let read = Job::decode(job.encode());
            prop_assert!(read.is_ok(), "{:?} for {}", read, text);
        }
    }
}
