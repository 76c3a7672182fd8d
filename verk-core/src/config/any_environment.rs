//! The environment may hold anything.

use std::ffi::OsString;

use verk_testing::fuzz::{fuzz, lines};

use super::{Config, environment::change};

const WORDS: &[&str] = &[
    "VERK_",
    "=",
    "\n",
    ":",
    ",",
    "-1",
    "1e9",
    "true",
    "off",
    "18446744073709551616",
    "VERK_QUEUES=",
    "VERK_HEARTBEAT=",
    "VERK_UNKNOWN_CLASS=requeue_after:",
];

#[cfg(unix)]
fn os_string(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

#[cfg(not(unix))]
fn os_string(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

#[test]
fn any_environment_is_a_configuration_or_names_the_variable() {
    let corpus = include_str!("../../tests/corpus/environment.txt");
    fuzz(lines(corpus), WORDS, |input| {
        let vars = input.split(|byte| *byte == b'\n').map(|line| {
            let end = line.iter().position(|byte| *byte == b'=');
            let (name, value) = line.split_at(end.unwrap_or(line.len()));
            (
                os_string(name),
                os_string(value.get(1..).unwrap_or_default()),
            )
        });
        if let Err(errors) = change(Config::default(), vars) {
            let text = errors.to_string();
            assert!(text.contains("VERK_"), "{text}");
        }
    });
}
