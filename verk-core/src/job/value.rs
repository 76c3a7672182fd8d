//! Single JSON values: strings, counts and the forms of a time.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, value::RawValue};

use crate::time::clock::from_unix_seconds;

/// How a time is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum TimeForm {
    /// A float with its fraction, in microseconds: the only form that Sidekiq 5 to 8 all read
    /// right.
    FloatSeconds,
    /// An integer: Elixir's Verk.
    WholeSeconds,
    /// An integer: Sidekiq 8.
    Milliseconds,
}

impl TimeForm {
    /// Appends a time.
    pub(super) fn write(self, time: SystemTime, text: &mut String) {
        // A clock before 1970 is written as 1970.
        let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let mut digits = itoa::Buffer::new();
        match self {
            Self::Milliseconds => text.push_str(digits.format(since_1970.as_millis())),
            Self::WholeSeconds => text.push_str(digits.format(since_1970.as_secs())),
            Self::FloatSeconds => {
                text.push_str(digits.format(since_1970.as_secs()));
                text.push('.');
                // The 1 before the digits keeps their leading zeros.
                let micros = &digits.format(1_000_000 + since_1970.subsec_micros())[1..];
                text.push_str(match micros.trim_end_matches('0') {
                    "" => "0",
                    fraction => fraction,
                });
            }
        }
    }
}

/// Reads a time: a float or a small integer as seconds, an integer from 10^11 as milliseconds.
pub(crate) fn time(raw: &str) -> Option<SystemTime> {
    const FIRST_MILLISECONDS: f64 = 1e11;
    let number = number(raw)?;
    Some(from_unix_seconds(
        if is_float(raw) || number < FIRST_MILLISECONDS {
            number
        } else {
            number / 1000.0
        },
    ))
}

/// Whether a number is written as a float.
pub(super) fn is_float(raw: &str) -> bool {
    raw.contains(['.', 'e', 'E'])
}

/// Reads a number as a count: below 0 as 0, without its fraction.
pub(super) fn count(raw: &str) -> Option<u32> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the range of u32 just before"
    )]
    number(raw).map(|number| number.clamp(0.0, f64::from(u32::MAX)) as u32)
}

pub(super) fn number(raw: &str) -> Option<f64> {
    // `raw` is JSON, so text that starts like this is a number, and not one of the names that f64
    // also reads.
    raw.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        .then(|| raw.parse().ok())
        .flatten()
}

/// Reads a JSON string; `None` for anything else, and for escapes that are not Unicode.
pub(crate) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Reads the strings of a JSON array, and skips other elements.
pub(super) fn strings(raw: &str) -> Vec<String> {
    let items: Vec<&RawValue> = serde_json::from_str(raw).unwrap_or_default();
    items
        .into_iter()
        .filter_map(|item| string(item.get()).map(Cow::into_owned))
        .collect()
}

/// Writes a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string has a JSON form")
}

/// Appends a short text as a JSON string.
pub(super) fn push_quoted(json: &mut String, text: &str) {
    let escaped = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    if !text.bytes().any(escaped) {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        json.push_str(&quoted(text));
    }
}

/// Writes a JSON array of strings.
pub(super) fn array(texts: &[String]) -> String {
    Value::from(texts).to_string()
}

/// Checks the syntax of a JSON text, at any depth.
pub(super) fn check(json: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<&RawValue>(json).map(drop)
}
