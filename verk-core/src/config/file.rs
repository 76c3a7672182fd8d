//! Configuration in TOML: read with the place of every mistake.

use std::{fs, path::Path};

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, Deserializer},
};

use crate::error::{ConfigError, ConfigErrors};

/// How much alike two names are that may have been mixed up, from 0 to 1.
const ALIKE: f64 = 0.8;

/// Reads a file and parses it; mistakes in it name the file.
#[doc(hidden)]
pub fn read<T>(
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, ConfigErrors>,
) -> Result<T, ConfigErrors> {
    let text = fs::read_to_string(path).map_err(|error| ConfigError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    parse(&text).map_err(|errors| errors.in_file(path))
}

/// Parses the fields that are `ours`; all of them are in `fields`.
#[doc(hidden)]
pub fn parse<T: DeserializeOwned>(
    text: &str,
    fields: &[&str],
    ours: impl Fn(&str) -> bool,
) -> Result<T, ConfigErrors> {
    let mistake = |at: usize, message: String| {
        let before = &text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ConfigError::Toml {
            path: None,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message,
        }
    };
    // Only what the parser says: its error also holds the line, which may hold a password.
    let of_parser = |error: &toml::de::Error, field: &str| {
        let at = error.span().map_or(0, |span| span.start);
        mistake(
            at,
            format!("{field}{}", error.message().replace('\n', ", ")),
        )
    };
    let table = DeTable::parse(text).map_err(|error| of_parser(&error, ""))?;
    let span = table.span();
    let mut kept = DeTable::new();
    let mut errors = Vec::new();
    for (key, value) in table.into_inner() {
        let name: &str = key.get_ref();
        if !ours(name) {
            continue;
        }
        if !fields.contains(&name) {
            let hint = nearest(name, fields.iter().copied()).map_or_else(
                || format!("accepted: {}", fields.join(", ")),
                |name| format!("did you mean {name}?"),
            );
            let message = format!("{name}: no such field; {hint}");
            errors.push((key.span().start, mistake(key.span().start, message)));
            continue;
        }
        // Each by itself first, so that every mistake is found and named.
        let at = key.span().start;
        let alone = DeTable::from_iter([(key.clone(), value.clone())]);
        if let Err(error) = T::deserialize(Deserializer::from(Spanned::new(span.clone(), alone))) {
            errors.push((at, of_parser(&error, &format!("{name}: "))));
        }
        kept.insert(key, value);
    }
    errors.sort_by_key(|(at, _)| *at);
    ConfigErrors::check(errors.into_iter().map(|(_, error)| error).collect())?;
    T::deserialize(Deserializer::from(Spanned::new(span, kept)))
        .map_err(|error| of_parser(&error, "").into())
}

/// The name that `name` may have been meant to be.
pub(crate) fn nearest<N: AsRef<str>>(name: &str, names: impl Iterator<Item = N>) -> Option<N> {
    let alike = |other: N| (strsim::jaro_winkler(name, other.as_ref()), other);
    let nearest = names.map(alike).max_by(|(a, _), (b, _)| a.total_cmp(b));
    nearest
        .filter(|(score, _)| *score >= ALIKE)
        .map(|(_, name)| name)
}

/// Durations as text.
#[doc(hidden)]
pub mod duration {
    use std::{fmt, time::Duration};

    use serde::{Deserializer, Serializer, de};

    struct Text;

    impl de::Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(r#"a time such as "5s", "250ms" or "7days""#)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            humantime::parse_duration(text)
                .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_str(Text)
    }

    /// Writes it.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }
}
