//! Tests that a URL of any form is read, and that no part of it that may be a password is ever
//! shown.

use verk_testing::fuzz::{fuzz, lines};

use crate::{
    config::RedisConfig,
    connect::{cells, endpoint::Endpoint},
};

const SECRET: &str = "s3cr3t";

const WORDS: &[&str] = &[
    "redis://",
    "rediss://",
    "redis+unix://",
    "unix:///",
    "redis+sentinel://",
    "redis+cluster://",
    "valkey://",
    "@",
    ":",
    "/",
    "?",
    "#",
    "&",
    "=",
    "%",
    "%00",
    "%ff",
    "[::1]",
    "65536",
    "user=",
    "pass=",
    "sentinel_pass=",
    "cells=16",
    "protocol=resp3",
    "db=",
    "localhost",
    ",",
    "..",
    "\u{e9}",
];

/// Everything that is shown of a URL.
fn shown(url: &str) -> String {
    let config = RedisConfig::new(url).prefix("{shop}".to_owned());
    let json = serde_json::to_string(&config).expect("a configuration is JSON");
    let mut text = format!("{config:?} {json}");
    if let Err(error) = cells::each(config.clone()) {
        text.push_str(&format!("{error:?} {error}"));
    }
    match Endpoint::new(&config) {
        Ok(endpoint) => text.push_str(&endpoint.address()),
        Err(error) => {
            text.push_str(&format!("{error:?}"));
            text.push_str(&error.to_string());
        }
    }
    text
}

#[test]
fn any_url_is_a_server_or_a_mistake_and_shows_no_password() {
    let corpus = lines(include_str!("../../tests/corpus/urls.txt"));
    fuzz(corpus, WORDS, |input| {
        let text = String::from_utf8_lossy(input);
        let _ = shown(&text);
        for url in [
            format!("redis://user:{SECRET}{text}@host"),
            format!("redis://:{text}{SECRET}@host:6379/2"),
            format!("redis://{text}:{SECRET}@host"),
            format!("redis+unix:///run/redis.sock?pass={SECRET}{text}"),
            format!("redis+unix:///run/redis.sock?db=1&pass={text}{SECRET}"),
            format!("redis+sentinel://:{SECRET}{text}@a,b:26379/name"),
            format!("redis+sentinel://a/name?sentinel_pass={SECRET}{text}"),
            format!("redis+cluster://:{SECRET}{text}@a,b:7000"),
            format!("rediss+cluster://user:{text}{SECRET}@a"),
            format!("redis+cluster://a?cells={text}{SECRET}"),
        ] {
            let shown = shown(&url);
            assert!(!shown.contains(SECRET), "{url}: {shown}");
        }
    });
}

#[test]
fn any_text_is_a_configuration_or_a_mistake() {
    let corpus = lines(include_str!("../../tests/corpus/config.txt"));
    fuzz(corpus, WORDS, |input| {
        let text = String::from_utf8_lossy(input);
        match RedisConfig::from_toml(&text) {
            Ok(config) => assert!(!format!("{config:?}").is_empty()),
            Err(errors) => assert!(!errors.to_string().is_empty()),
        }
    });
}
