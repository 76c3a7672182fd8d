//! The types of settings: how a text becomes a value, and the accepted values. [`Value`] is for
//! variables, serde for files; both accept the same texts.
//!
//! A duration is a number with a unit, `5s`, `250ms` or `7days`, in a file and in a variable.

use std::{collections::BTreeMap, time::Duration};

use serde::de::{DeserializeOwned, IntoDeserializer as _, value::Error as ValueError};

use crate::{
    config::unknown_class::UnknownClass,
    job::{Dialect, TimeFormat},
    names::QueueName,
    storage::ScheduleKeys,
};

/// A type that a setting can have.
pub trait Value: Sized {
    /// The accepted values of a variable, for messages: "accepted: ...".
    const IN_VARIABLE: &'static str;

    /// The accepted values of a field in a file, for messages: "... must be ...".
    const IN_FILE: &'static str = Self::IN_VARIABLE;

    /// Whether messages must not show a value.
    const SECRET: bool = false;

    /// The value of a variable. `None` if it is not accepted.
    fn parse(text: &str) -> Option<Self>;
}

impl<T: Value> Value for Option<T> {
    const IN_VARIABLE: &'static str = T::IN_VARIABLE;
    const IN_FILE: &'static str = T::IN_FILE;
    const SECRET: bool = T::SECRET;

    fn parse(text: &str) -> Option<Self> {
        T::parse(text).map(Some)
    }
}

impl Value for u32 {
    const IN_VARIABLE: &'static str = "a whole number, not negative";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for usize {
    const IN_VARIABLE: &'static str = u32::IN_VARIABLE;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for bool {
    const IN_VARIABLE: &'static str = "true or false";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "true" => Some(true),
            "false" | "" => Some(false),
            _ => None,
        }
    }
}

impl Value for String {
    const IN_VARIABLE: &'static str = "text in UTF-8";
    const IN_FILE: &'static str = "text";

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Value for Duration {
    const IN_VARIABLE: &'static str = "a duration such as 5s, 250ms or 7days";
    const IN_FILE: &'static str = r#"a duration such as "5s", "250ms" or "7days""#;

    fn parse(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok()
    }
}

impl Value for Vec<String> {
    const IN_VARIABLE: &'static str = "texts in UTF-8, separated by commas, such as eu,canary";
    const IN_FILE: &'static str = r#"a list of texts such as ["eu", "canary"]"#;

    fn parse(text: &str) -> Option<Self> {
        Some(entries(text).map(str::to_owned).collect())
    }
}

impl Value for BTreeMap<QueueName, usize> {
    const IN_VARIABLE: &'static str =
        "QUEUE:CONCURRENCY, separated by commas, each queue once, such as default:25,priority:10";
    const IN_FILE: &'static str =
        "a table of queues, each with a number, such as { default = 25, priority = 10 }";

    fn parse(text: &str) -> Option<Self> {
        let mut queues = Self::new();
        for entry in entries(text) {
            // The last colon, because a queue's name may have others.
            let (queue, concurrency) = entry.rsplit_once(':')?;
            let queue = QueueName::new(queue.trim()).ok()?;
            let concurrency = concurrency.trim().parse().ok()?;
            if queues.insert(queue, concurrency).is_some() {
                return None;
            }
        }
        Some(queues)
    }
}

/// The entries of a list with commas.
fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

impl Value for UnknownClass {
    const IN_VARIABLE: &'static str = Self::ACCEPTED;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for Dialect {
    const IN_VARIABLE: &'static str = "sidekiq or verk";

    fn parse(text: &str) -> Option<Self> {
        word(text)
    }
}

impl Value for TimeFormat {
    const IN_VARIABLE: &'static str = "seconds or milliseconds";

    fn parse(text: &str) -> Option<Self> {
        word(text)
    }
}

impl Value for ScheduleKeys {
    const IN_VARIABLE: &'static str = "shared or own";

    fn parse(text: &str) -> Option<Self> {
        word(text)
    }
}

/// One of a few words that serde knows, in any case.
fn word<T: DeserializeOwned>(text: &str) -> Option<T> {
    let word: Result<T, ValueError> = T::deserialize(text.to_ascii_lowercase().into_deserializer());
    word.ok()
}
