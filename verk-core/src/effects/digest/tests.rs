use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use verk_testing::fuzz::{fuzz, lines};

use super::{MAX_DEPTH, digest, push};
use crate::{effects::unique::Unique, names::QueueName};

const ALL: Unique = Unique::new();

fn of(unique: Unique, class: &str, queue: &str, args: &str) -> String {
    let queue = QueueName::new(queue).unwrap();
    format!("{:032x}", digest(&unique, class, &queue, args))
}

fn canonical(json: &str) -> String {
    let mut text = String::new();
    push(&mut text, json, MAX_DEPTH);
    text
}

/// Made with Ruby's `Digest::SHA256`. They are stored in payloads, so they never change.
#[test]
fn digests_are_the_same_for_ever() {
    let sync = |unique, args| of(unique, "Sync", "default", args);
    let all = |args| of(ALL, "A", "q", args);
    let across = ALL.across_queues();
    for (digest, expected) in [
        (sync(ALL, "[]"), "cada6942cbfcfb459eeecb1ad1ea9604"),
        (sync(across, "[]"), "a58e4c59b94b4ec320f13dd523f8447b"),
        (
            sync(ALL, r#"[7,"full"]"#),
            "ae58edfb1e1a216f51f573a7e78f038a",
        ),
        (
            sync(across, r#"[7,"full"]"#),
            "f2bdc1e500224ba1481ced61b76ba245",
        ),
        (
            sync(ALL.by(&[1]), r#"[7,"full"]"#),
            "a91ca743bc1940f2ece796ad0ee8e9fb",
        ),
        (
            sync(ALL.by(&[2, 0]), r#"[7,"full"]"#),
            "ee42b6630e0457b7affc1e95e0bf4c71",
        ),
        (
            of(
                ALL,
                "Reports::Über",
                "reports",
                "[12345678901234567890123, 1.0, 1e3, -0]",
            ),
            "c870e70883eae7a1a778385e0670f473",
        ),
        (
            all(r#"[ { "z" : {}, "b" : {"é":true, "":null}, "a": [ 1, {"b":"x y"} ] } ]"#),
            "71c50b9e28e705d157d334c9339657f1",
        ),
        (
            all(
                r#"["\u0022\u005C\/\u0008\f\u000a\r\t\u0001\u001F\u007f\u00e9\u2028\uD83D\uDE00"]"#,
            ),
            "86f0e8791fba534a9ddc5027d0136e5a",
        ),
        (
            all(r#"[{"a":1,"a":2}]"#),
            "4b43c75abd6a4e269ade99afa7955476",
        ),
        (all(r#"["\ud800"]"#), "7f77baca3ba0d74effe97684946b4b35"),
        (all("not an array"), "75c921748145b2363932a68810730eda"),
    ] {
        assert_eq!(digest, expected);
    }
}

#[test]
fn an_absent_argument_is_null() {
    let by = |places| move |args| of(ALL.by(places), "A", "q", args);
    let both = by(&[0, 1]);
    assert_eq!(both("[1]"), both("[1,null]"));
    assert_eq!(both("[1]"), of(ALL, "A", "q", "[1, null, null]"));
    assert_ne!(both("[null,1]"), both("[1]"));
    assert_eq!(by(&[])("[1]"), of(ALL, "A", "q", "[]"));
    assert_eq!(by(&[usize::MAX])("[1]"), of(ALL, "A", "q", "[]"));
}

#[test]
fn parts_do_not_run_into_each_other() {
    let across = ALL.across_queues();
    let digests: BTreeSet<String> = [
        of(ALL, "A", "b", "[]"),
        of(ALL, "Ab", "b", "[]"),
        of(ALL, "A", "bb", "[]"),
        of(ALL, "A", "b", "[1]"),
        of(ALL, "A", "b", "[1,1]"),
        of(ALL, "A", "b", "[11]"),
        of(ALL, "A", "b", r#"["1"]"#),
        of(ALL, "A", "b", "[[1]]"),
        of(ALL, "A", "b", "[[1],1]"),
        of(ALL, "A", "b", "[[1,1]]"),
        of(across, "A", "b", "[]"),
        of(across, "A", "b", "[1]"),
        of(ALL, "A", "1", "[]"),
    ]
    .into();
    assert_eq!(digests.len(), 13);
    assert_eq!(of(across, "A", "b", "[]"), of(across, "A", "c", "[]"));
}

#[test]
fn no_depth_is_too_deep() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let nested = |depth| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        for depth in [1, 127, 128, 129, 10_000] {
            assert_eq!(canonical(&nested(depth)), nested(depth));
            of(ALL, "A", "q", &format!("[{}]", nested(depth)));
        }
    }
}

#[test]
fn any_arguments_have_a_digest() {
    let corpus = r#"[{"b":1,"a":[true,null,-0.5e-7]},"\ud83d\ude00\n",[[],{}]]
[1,"\ud800",{"\ud800":1,"a":2}]
[{"$serde_json::private::RawValue":"1","$serde_json::private::Number":"2"}]
[[[[[[[[[[[[[[[["#;
    let words = &[
        "[", "]", "{\"a\":", "}", ",", "\"", "\\u", "1e999", "null", " ",
    ];
    fuzz(lines(&corpus.replace('\\', "\\\\")), words, |input| {
        let text = String::from_utf8_lossy(input);
        of(ALL, "A", "q", &text);
        of(ALL.by(&[1, 7]), "A", "q", &text);
        if let Ok(value) = serde_json::from_str::<&serde_json::value::RawValue>(&text) {
            let once = canonical(value.get());
            assert_eq!(canonical(&once), once);
        }
    });
}

proptest! {
    /// The form is that of a `Value` whose objects are sorted.
    #[test]
    fn whitespace_order_and_escapes_do_not_count(value in any_value(), seed in any::<usize>()) {
        assert_eq!(canonical(&spread(&value, seed)), value.to_string());
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            // A sorted map, and `Value` either sorts or keeps the order.
            proptest::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The value with whitespace, its objects in another order, and each character of a string escaped.
fn spread(value: &Value, seed: usize) -> String {
    let gap = [" ", "\n", "\t", ""][seed % 4];
    match value {
        Value::String(text) => escaped(text),
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(|value| spread(value, seed)).collect();
            format!("[{gap}{}{gap}]", elements.join(&format!("{gap},")))
        }
        Value::Object(entries) => {
            let mut entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}{gap}:{gap}{}", escaped(key), spread(value, seed)))
                .collect();
            if !entries.is_empty() {
                let by = seed % entries.len();
                entries.rotate_left(by);
            }
            format!("{{{gap}{}{gap}}}", entries.join(","))
        }
        leaf => leaf.to_string(),
    }
}

fn escaped(text: &str) -> String {
    let units: String = text
        .encode_utf16()
        .map(|unit| format!("\\u{unit:04X}"))
        .collect();
    format!("\"{units}\"")
}
