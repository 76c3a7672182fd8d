//! A configuration file may hold anything.

use verk_core::Config;
use verk_testing::fuzz::{fuzz, lines};

const WORDS: &[&str] = &[
    "=",
    "\"",
    "\"\"\"",
    "[",
    "]",
    "{",
    "}",
    "\n",
    "\\u0000",
    "#",
    "true",
    "nan",
    "-1",
    "1e999",
    "5s",
    "queues",
    "heartbeat",
    "unknown_class",
    "dead_timeout",
    "labels",
    "redis_url",
    "1979-05-27T07:32:00Z",
];

#[test]
fn any_text_is_a_configuration_or_a_mistake_with_its_place() {
    fuzz(lines(include_str!("corpus/config.txt")), WORDS, |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        match Config::from_toml(text) {
            Ok(config) => assert!(!format!("{config:?}").is_empty()),
            Err(errors) => assert!(!errors.to_string().is_empty()),
        }
    });
}
