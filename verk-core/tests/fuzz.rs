//! Any bytes at all: read, failed, retried, moved by an operator and converted. No panic, no loss
//! of a job, no loss of a key.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use verk_core::{
    Job, QueueName,
    job::{Failure, RetryLimit},
    storage::{JobSet, JobStore, Page, Source, WaitingStore},
};
use verk_testing::TestVerk;

/// A payload that once broke something, or might: each goes the way of those that are made up
/// below.
#[test]
fn the_regression_corpus() {
    for line in include_str!("golden/corpus.jsonl").lines() {
        let payload: String = serde_json::from_str(line).unwrap();
        check(payload.as_bytes()).unwrap();
        run(payload.into()).unwrap();
    }
}

proptest! {
    #[test]
    fn any_object_is_read_without_panic_and_loses_no_key(payload in any_object()) {
        check(payload.as_bytes())?;
    }

    #[test]
    fn any_job_is_read_without_panic_and_loses_no_key(payload in any_job()) {
        prop_assert!(Job::decode(payload.clone().into()).is_ok());
        check(payload.as_bytes())?;
    }

    #[test]
    fn jobs_that_were_damaged_are_read_without_panic_and_lose_no_key(payload in damaged()) {
        check(&payload)?;
    }
}

proptest! {
    // A node each.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_in_a_queue_ends_in_a_set_with_all_its_keys(
        payload in prop_oneof![
            1 => vec(any::<u8>(), 0..40),
            1 => any_object().prop_map(String::into_bytes),
            3 => any_job().prop_map(String::into_bytes),
            3 => damaged(),
        ],
    ) {
        run(payload.into())?;
    }
}

/// Holds for any payload: no panic, and if it is a job, all its members stay, in order and byte for
/// byte, except for those that a failure and a push change.
fn check(payload: &[u8]) -> Result<(), TestCaseError> {
    let Ok(mut job) = Job::decode(Bytes::copy_from_slice(payload)) else {
        return Ok(());
    };
    prop_assert_eq!(&job.encode(), payload);
    let _ = (job.tags(), job.backtrace(), job.error_backtrace());
    let _ = (
        job.retry_limit(),
        job.retry_for(),
        job.expires_at(),
        job.is_encrypted(),
    );
    let _ = (
        job.created_at(),
        job.failed_at(),
        job.retried_at(),
        job.failures(),
    );
    let before = Members::of(payload);
    // Of a duplicate key, the last one counts. A key that is no Unicode has no name to
    // ask for.
    for (name, value) in before.named() {
        prop_assert_eq!(job.get(&name), Some(value));
    }
    let (class, args) = (job.class().to_owned(), job.args().to_owned());
    for _ in 0..2 {
        job.record_failure(&failure(), now(), &queue());
        job.set_enqueued_at(Some(now()));
        let failures = job.failures();
        job = Job::decode(job.encode()).expect("what verk writes is a job");
        prop_assert_eq!(job.failures(), failures);
    }
    prop_assert_eq!((job.class(), job.args()), (&*class, &*args));
    before.assert_kept_in(&job.encode())
}

/// What holds for whatever somebody put into a queue: a node that runs it, and an operator who
/// requeues it, leave it in exactly one set, with all its members, unless it asked to be dropped.
fn run(payload: Bytes) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let verk = TestVerk::new();
        verk.storage()
            .enqueue(&queue(), std::slice::from_ref(&payload))
            .await
            .unwrap();
        let mut before = payload;
        for _ in 0..2 {
            verk.drain().await;
            let Some(after) = only_member(&verk).await? else {
                let job = Job::decode(before);
                prop_assert!(job.is_ok_and(|job| may_be_dropped(&job)));
                return Ok(());
            };
            if Job::decode(before.clone()).is_ok() {
                Members::of(&before).assert_kept_in(&after)?;
            } else {
                prop_assert_eq!(&after, &before);
            }
            before = after;
            for set in [
                verk.client().admin().retry_set(),
                verk.client().admin().dead_set(),
            ] {
                set.select().requeue().await.unwrap();
            }
        }
        Ok(())
    })
}

/// The one payload that waits to be retried, or is dead.
async fn only_member(verk: &TestVerk) -> Result<Option<Bytes>, TestCaseError> {
    let all = Page {
        offset: 0,
        limit: 10,
    };
    let mut members = Vec::new();
    for set in [JobSet::Schedule, JobSet::Retry, JobSet::Dead] {
        members.extend(
            verk.storage()
                .list(&Source::Set(set), &all.into())
                .await
                .unwrap()
                .jobs,
        );
    }
    prop_assert!(members.len() <= 1, "{} jobs of one", members.len());
    Ok(members.pop().map(|member| member.job))
}

/// Whether a job says by itself that it need not be kept.
fn may_be_dropped(job: &Job) -> bool {
    job.retry_limit() == RetryLimit::Never || !job.dead() || job.expires_at().is_some()
}

/// The members of an object, as they are written.
struct Members<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Members<'a> {
    fn of(payload: &'a [u8]) -> Self {
        serde_json::from_slice(payload).expect("a job is an object")
    }

    /// Those whose key has a name, by their names; of equal ones the last.
    fn named(&self) -> BTreeMap<String, &'a str> {
        let named = |(key, value): &(&'a str, &'a str)| Some((name(key)?, *value));
        self.0.iter().filter_map(named).collect()
    }

    /// Those that a failure, a push and a requeue leave alone; they add a `retry` where there is
    /// none.
    fn kept(&self, adds_retry: bool) -> Vec<(&'a str, &'a str)> {
        let changed = |name: String| CHANGED.contains(&&*name) || (adds_retry && name == "retry");
        let is_kept = |(key, _): &&(&str, &str)| !name(key).is_some_and(changed);
        self.0.iter().filter(is_kept).copied().collect()
    }

    fn assert_kept_in(&self, later: &[u8]) -> Result<(), TestCaseError> {
        let later = Members::of(later);
        let (before, after) = (self.named(), later.named());
        let adds_retry = before.get("retry").is_none_or(|retry| *retry == "null");
        prop_assert_eq!(self.kept(adds_retry), later.kept(adds_retry));
        // An error's backtrace goes with the error; all else stays, with another value.
        for key in before.keys().filter(|key| *key != "error_backtrace") {
            prop_assert!(after.contains_key(key), "{} is lost", key);
        }
        Ok(())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    members.push((key.get(), value.get()));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

fn name(key: &str) -> Option<String> {
    serde_json::from_str(key).ok()
}

fn failure() -> Failure {
    Failure {
        error_class: "Oops".to_owned(),
        error_message: "it broke: \"é\"".to_owned(),
        error_backtrace: Vec::new(),
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(1_800_000_000_250_000)
}

fn queue() -> QueueName {
    "fetched".parse().unwrap()
}

/// The keys that a failure, a push and a requeue may change.
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

/// Any JSON value, with odd whitespace, numbers that no type holds, and strings with escapes that
/// are no Unicode.
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
        1 => prop::sample::select(&["job_class", "arguments", "qu\\u0065ue", "\\ud800", ""][..])
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

fn any_object() -> impl Strategy<Value = String> {
    vec((key(), value()), 0..12).prop_map(|members| object(&members))
}

fn any_job() -> impl Strategy<Value = String> {
    let class = prop::sample::select(&["A", "Sidekiq::ActiveJob::Wrapper"][..]);
    let members = vec((key(), value()), 0..12);
    (members, value(), class).prop_map(|(mut job, envelope, class)| {
        // Of a duplicate key, the last one counts.
        for (key, value) in [
            ("class", format!("\"{class}\"")),
            ("jid", "\"1\"".to_owned()),
            ("args", format!("[{envelope}]")),
        ] {
            job.push((format!("\"{key}\""), value));
        }
        object(&job)
    })
}

/// What was done to the bytes of a payload.
#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Insert(Index, &'static str),
    CutOut(Index, usize),
    Repeat(Index, usize),
    EndAt(Index),
}

impl Damage {
    fn any() -> impl Strategy<Value = Self> {
        let place = any::<Index>;
        let insert = prop::sample::select(TOKENS);
        prop_oneof![
            3 => (place(), 0..8_u8).prop_map(|(at, bit)| Self::Flip(at, bit)),
            4 => (place(), insert).prop_map(|(at, token)| Self::Insert(at, token)),
            2 => (place(), 1..20_usize).prop_map(|(at, bytes)| Self::CutOut(at, bytes)),
            2 => (place(), 1..200_usize).prop_map(|(at, bytes)| Self::Repeat(at, bytes)),
            1 => place().prop_map(Self::EndAt),
        ]
    }

    fn happen_to(&self, payload: &mut Vec<u8>) {
        let place = |at: &Index| at.index(payload.len() + 1);
        match self {
            Self::Flip(at, bit) => {
                let at = place(at);
                if let Some(byte) = payload.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Insert(at, token) => {
                let at = place(at);
                payload.splice(at..at, token.bytes());
            }
            Self::CutOut(at, bytes) => {
                let at = place(at);
                payload.drain(at..payload.len().min(at + bytes));
            }
            Self::Repeat(at, bytes) => {
                let at = place(at);
                payload.extend_from_within(at..payload.len().min(at + bytes));
            }
            Self::EndAt(at) => payload.truncate(place(at)),
        }
    }
}

/// What JSON, times, numbers, Unicode and base64 break on.
const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\u",
    "\\ud800",
    "\\u0000",
    "null",
    "true",
    "-",
    "0",
    "9",
    ".",
    "e",
    "1e999",
    "-1",
    "99999999999999999999",
    " ",
    "\n",
    "=",
    "é",
    "[]",
    "{}",
    "\"args\":\"[1]\",",
    "\"queue\":\"\",",
    "\"retry\":0,",
    "\"failed_at\":-1,",
    "\"retry_count\":-1,",
    "\"expires_in\":0,",
    "\"error_backtrace\":\"eJw=\",",
];

/// A payload that a program wrote, and something happened to.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    #[derive(Deserialize)]
    struct Line {
        payload: String,
        failed: Option<String>,
    }
    let lines = [
        include_str!("golden/jobs.jsonl"),
        include_str!("golden/forms.jsonl"),
    ];
    let payloads: Vec<String> = lines
        .into_iter()
        .flat_map(str::lines)
        .map(|line| serde_json::from_str(line).unwrap())
        .flat_map(|line: Line| [Some(line.payload), line.failed])
        .flatten()
        .collect();
    (prop::sample::select(payloads), vec(Damage::any(), 0..6)).prop_map(|(payload, damages)| {
        let mut payload = payload.into_bytes();
        for damage in damages {
            damage.happen_to(&mut payload);
        }
        payload
    })
}
