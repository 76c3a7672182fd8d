//! No argument shows in a log, an error or the failure of a job, whatever the worker takes.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    net::IpAddr,
    num::NonZeroU8,
    time::Duration,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _, Unexpected},
    ser::Error as _,
};
use verk::{
    BoxError, Event, EventKind, FromJob, Job,
    job::{ArgsError, ArgsReader, ArgsWriter},
    prelude::*,
};

use crate::support::{Fixture, Logged, queue_name};

/// What no message may have in it: a text, a number, and a number with a fraction.
const SECRETS: [&str; 3] = ["xanthous", "4111111111", "-739.25"];

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Card {
    holder: String,
    number: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    plan: Plan,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Plan {
    Free,
    Pro(u8),
    Team(u8, u8),
    Custom { seats: u8 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Mail { to: u8 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of")]
enum Adjacent {
    Mail(u8),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Id(u8),
    Pair(u8, u8),
}

#[derive(Debug, Serialize, Deserialize)]
struct Flat {
    n: u8,
    #[serde(flatten)]
    rest: Card,
}

#[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Serialize, Deserialize)]
struct Wrapped(u8);

#[derive(Debug, Serialize, Deserialize)]
struct Pair(u8, u8);

/// Quotes what it refuses by `custom`, as most types with rules of their own do.
#[derive(Clone, Debug, Serialize)]
struct Quoting(String);

impl<'de> Deserialize<'de> for Quoting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Err(D::Error::custom(format!("{text} is no such thing")))
    }
}

/// Quotes what it refuses where it says what it expects.
#[derive(Debug, Serialize)]
struct Sneaky;

impl<'de> Deserialize<'de> for Sneaky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let expected = format!("anything but {text}");
        let found = Unexpected::Other(&text);
        Err(D::Error::invalid_value(found, &expected.as_str()))
    }
}

/// Takes the first error of its content for its own.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "String")]
struct Checked(String);

impl TryFrom<String> for Checked {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Err(format!("not {text}"))
    }
}

/// Why `json` is no `T`, once it is clear that no form of the error shows any of it.
#[track_caller]
fn refusal<T: DeserializeOwned>(json: &str) -> String {
    let args = format!("[{json}]");
    let error = ArgsReader::new(&args)
        .unwrap()
        .arg::<T>("it")
        .err()
        .unwrap_or_else(|| panic!("{json} decodes"));
    assert_clean(&error);
    error.to_string()
}

#[track_caller]
fn assert_clean(error: &ArgsError) {
    let shown = format!("{error} {error:?} {error:#?}");
    let chain = anyhow::Error::from(std::io::Error::other(shown.clone()));
    for secret in SECRETS {
        assert!(!format!("{shown} {chain:#}").contains(secret), "{shown}");
    }
    assert!(std::error::Error::source(error).is_none(), "{shown}");
}

fn at(path: impl Display, reason: impl Display) -> String {
    format!("argument 1 (`it{path}`) does not decode: {reason}")
}

const HIDDEN: &str =
    "its type refuses the value, for a reason that is not shown because it may quote the value";

#[test]
fn each_kind_of_value_is_named_and_not_quoted() {
    let reason =
        |found: &str, expected: &str| at("", format!("found {found}, expected {expected}"));
    assert_eq!(refusal::<u64>(r#""xanthous""#), reason("a string", "u64"));
    assert_eq!(
        refusal::<String>("4111111111"),
        reason("an integer", "a string")
    );
    assert_eq!(refusal::<u8>("-739.25"), reason("a float", "u8"));
    assert_eq!(
        refusal::<u8>("4111111111"),
        reason("an integer that is not valid", "u8")
    );
    assert_eq!(
        refusal::<i8>("-4111111111"),
        reason("an integer that is not valid", "i8")
    );
    assert_eq!(
        refusal::<i128>(r#""4111111111""#),
        reason("a string", "i128")
    );
    assert_eq!(
        refusal::<u128>("-4111111111"),
        reason("an integer that is not valid", "u128")
    );
    assert_eq!(
        refusal::<bool>(r#""xanthous""#),
        reason("a string", "a boolean")
    );
    assert_eq!(
        refusal::<char>(r#""xanthous""#),
        reason("a string that is not valid", "a character")
    );
    assert_eq!(refusal::<f64>(r#"["xanthous"]"#), reason("an array", "f64"));
    assert_eq!(
        refusal::<String>(r#"{"xanthous":4111111111}"#),
        reason("an object", "a string")
    );
    assert_eq!(refusal::<String>("null"), reason("null", "a string"));
    assert_eq!(refusal::<()>(r#""xanthous""#), reason("a string", "unit"));
    assert_eq!(
        refusal::<NonZeroU8>("0"),
        reason("an integer that is not valid", "a nonzero u8")
    );
    assert_eq!(refusal::<IpAddr>(r#""xanthous""#), at("", HIDDEN));
    assert_eq!(
        refusal::<String>(r#""xanthous \ud800""#),
        at("", "found a string that is not Unicode")
    );
    assert_eq!(
        refusal::<Duration>("4111111111"),
        reason("an integer", "struct Duration")
    );
}

#[test]
fn the_path_leads_to_the_value_and_shows_no_key_that_is_data() {
    let string = |expected: &str| format!("found a string, expected {expected}");
    assert_eq!(
        refusal::<Card>(r#"{"holder":"xanthous","number":"4111111111"}"#),
        at(".number", string("u64"))
    );
    assert_eq!(
        refusal::<Vec<Card>>(
            r#"[{"holder":"a","number":1},{"holder":"a","number":{"xanthous":1}}]"#
        ),
        at("[1].number", "found an object, expected u64")
    );
    assert_eq!(
        refusal::<HashMap<String, u8>>(r#"{"a":1,"xanthous":"4111111111"}"#),
        at(".<key 2>", string("u8"))
    );
    assert_eq!(
        refusal::<BTreeMap<u64, u8>>(r#"{"1":1,"xanthous":1}"#),
        at("", "key 2: found a string, expected u64")
    );
    assert_eq!(
        refusal::<HashMap<u64, Vec<Option<bool>>>>(r#"{"4111111111":[true,null,"xanthous"]}"#),
        at(".<key 1>[2]", string("a boolean"))
    );
    assert_eq!(
        refusal::<(u8, Option<Box<Card>>)>(r#"[1,{"holder":4111111111,"number":1}]"#),
        at("[1].holder", "found an integer, expected a string")
    );
    assert_eq!(
        refusal::<Box<Wrapped>>(r#""xanthous""#),
        at("", string("u8"))
    );
    assert_eq!(
        refusal::<Pair>(r#"[1,"xanthous"]"#),
        at("[1]", string("u8"))
    );
    assert_eq!(
        refusal::<Pair>("[1,2,4111111111]"),
        at("", "found a length of 3, expected 2 elements")
    );
    assert_eq!(
        refusal::<(u8, u8)>(r#"[1]"#),
        at("", "found a length of 1, expected a tuple of size 2")
    );
    assert_eq!(
        refusal::<Unit>(r#""xanthous""#),
        at("", string("unit struct Unit"))
    );
    assert_eq!(
        refusal::<Vec<u8>>(&format!("{}{}", "[".repeat(120), "]".repeat(120))),
        at("[0]", "found an array, expected u8")
    );
}

#[test]
fn fields_and_variants_that_the_type_does_not_have_are_data() {
    assert_eq!(
        refusal::<Strict>(r#"{"xanthous":1}"#),
        at("", "key 1: found an unknown field, expected `plan`")
    );
    assert_eq!(
        refusal::<Card>(r#"{"xanthous":4111111111}"#),
        at("", "the field `holder` is missing")
    );
    assert_eq!(
        refusal::<Card>(r#"{"number":1,"holder":"xanthous","holder":"xanthous"}"#),
        at("", "the field `holder` is there twice")
    );
    let unknown = "found an unknown variant, expected one of `Free`, `Pro`, `Team`, `Custom`";
    assert_eq!(refusal::<Plan>(r#""xanthous""#), at("", unknown));
    assert_eq!(refusal::<Plan>(r#"{"xanthous":1}"#), at("", unknown));
    assert_eq!(
        refusal::<Strict>(r#"{"plan":"xanthous"}"#),
        at(".plan", unknown)
    );
    assert_eq!(
        refusal::<HashMap<Unit, u8>>(r#"{"xanthous":1}"#),
        at("", "key 1: found a string, expected unit struct Unit")
    );
}

#[test]
fn every_form_of_an_enum_is_safe() {
    assert_eq!(
        refusal::<Plan>(r#"{"Pro":"xanthous"}"#),
        at(".Pro", "found a string, expected u8")
    );
    assert_eq!(
        refusal::<Plan>(r#"{"Team":[1,"xanthous"]}"#),
        at(".Team[1]", "found a string, expected u8")
    );
    assert_eq!(
        refusal::<Plan>(r#"{"Custom":{"seats":-739.25}}"#),
        at(".Custom.seats", "found a float, expected u8")
    );
    assert_eq!(
        refusal::<Plan>(r#"{"Free":"xanthous"}"#),
        at(".Free", "found a string, expected unit")
    );
    assert_eq!(
        refusal::<Plan>("4111111111"),
        at(
            "",
            "found an integer, expected a variant: a string, or an object with one key"
        )
    );
    assert_eq!(
        refusal::<Plan>(r#"{"Free":null,"xanthous":1}"#),
        at(
            "",
            "found an object, expected one with a variant as its key"
        )
    );
    assert_eq!(
        refusal::<Plan>(r#""Pro""#),
        at("", "found another variant, expected newtype variant")
    );
    assert_eq!(
        refusal::<Tagged>(r#"{"kind":"Mail","to":"xanthous"}"#),
        at("", "found a string, expected u8")
    );
    assert_eq!(
        refusal::<Tagged>(r#"{"kind":"xanthous"}"#),
        at(".<key 1>", "found an unknown variant, expected `Mail`")
    );
    assert_eq!(
        refusal::<Adjacent>(r#"{"kind":"Mail","of":"xanthous"}"#),
        at(".of", "found a string, expected u8")
    );
    assert_eq!(refusal::<Untagged>(r#"["xanthous"]"#), at("", HIDDEN));
    assert_eq!(
        refusal::<Flat>(r#"{"n":1,"holder":4111111111,"number":1}"#),
        at("", "found an integer, expected a string")
    );
}

#[test]
fn what_a_type_says_itself_is_not_kept() {
    assert_eq!(refusal::<Quoting>(r#""xanthous""#), at("", HIDDEN));
    assert_eq!(
        refusal::<Vec<Quoting>>(r#"["xanthous"]"#),
        at("[0]", HIDDEN)
    );
    assert_eq!(
        refusal::<HashMap<String, Sneaky>>(r#"{"xanthous":"xanthous"}"#),
        at(".<key 1>", HIDDEN)
    );
    assert_eq!(refusal::<Checked>(r#""xanthous""#), at("", HIDDEN));
}

#[test]
fn what_is_no_array_is_not_quoted() {
    for args in [
        r#""xanthous""#,
        "4111111111",
        r#"["xanthous""#,
        r#"{"xanthous":1}"#,
    ] {
        assert_clean(&ArgsReader::new(args).unwrap_err());
    }
    for args in [r#"["xanthous"]"#, r#"["xanthous",4111111111]"#] {
        let mut reader = ArgsReader::new(args).unwrap();
        assert_clean(&reader.object::<Card>("it").unwrap_err());
    }
}

#[test]
fn what_has_no_json_form_is_not_quoted() {
    struct Unwritable;
    impl Serialize for Unwritable {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("xanthous is not for everybody"))
        }
    }
    let error = ArgsWriter::new().arg("it", &Unwritable).unwrap_err();
    assert_clean(&error);
    let error = ArgsWriter::new().arg("it", &HashMap::from([([1], 1)]));
    assert_eq!(
        error.unwrap_err().to_string(),
        "argument `it` has no JSON form: key must be a string"
    );
}

/// Takes one of everything that can be wrong.
#[verk::worker(max_retry_count = 0)]
async fn pay(card: Card, plan: Plan, note: Quoting, ctx: JobContext) {
    drop((card, plan, note, ctx));
}

/// Reads the arguments with serde_json itself.
struct Peek;

impl FromJob for Peek {
    async fn from_job(ctx: &JobContext) -> Result<Self, BoxError> {
        serde_json::from_str::<Vec<u8>>(ctx.job().args())?;
        Ok(Self)
    }
}

#[verk::worker(max_retry_count = 0)]
async fn peeking(note: String, #[extract] _peek: Peek) {
    drop(note);
}

#[tokio::test]
async fn the_log_the_event_and_the_job_have_no_argument() {
    let (logged, _guard) = Logged::capture();
    let mut it = Fixture::new().await;
    it.verk.start().unwrap();
    for (class, args) in [
        (
            "Pay",
            r#"[{"holder":"xanthous","number":"4111111111"},"Free","xanthous"]"#,
        ),
        (
            "Pay",
            r#"[{"holder":"a","number":1},{"xanthous":4111111111},"xanthous"]"#,
        ),
        ("Pay", r#"[{"holder":"a","number":1},"Free","xanthous"]"#),
        ("Pay", r#"["xanthous"]"#),
        ("Pay", r#"["xanthous",4111111111,-739.25,1]"#),
        ("Peeking", r#"["xanthous"]"#),
    ] {
        let job = Job::new(class, queue_name("default"), args.to_owned()).unwrap();
        it.verk.enqueue(job).await.unwrap();
        let failed = it.wait_for(|event| match event {
            Event {
                what: EventKind::JobFailed { .. },
                ..
            } => Some(format!("{event:?}")),
            _ => None,
        });
        let failed = failed.await;
        assert!(
            failed.contains("ArgsError") || failed.contains("ExtractError"),
            "{failed}"
        );
        for secret in SECRETS {
            assert!(!failed.contains(secret), "{failed}");
        }
    }
    it.verk.shutdown().await;
    assert!(logged.lines_with(&["does not decode"]) > 0);
    for secret in SECRETS {
        assert_eq!(logged.lines_with(&[secret]), 0, "{secret}");
    }
    for job in it.set(verk::storage::JobSet::Dead).await {
        let message = job.error_message().unwrap().into_owned();
        let backtrace = job.error_backtrace().join(" ");
        for secret in SECRETS {
            assert!(
                !format!("{message} {backtrace}").contains(secret),
                "{message}"
            );
        }
    }
}
