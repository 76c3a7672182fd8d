//! Settings in TOML, read with the place of every error.

use std::{fs, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer},
};

use crate::{
    config::{TABLES_OF_BACKENDS, declare::Settings},
    error::{ConfigError, ConfigErrors},
};

/// How similar two names must be to be mixed up, from 0 to 1.
const ALIKE: f64 = 0.8;

/// Reads a file and parses it. Errors in it name the file.
#[doc(hidden)]
pub fn read<T: Settings>(path: &Path, table: Option<&str>) -> Result<T, ConfigErrors> {
    let text = fs::read_to_string(path).map_err(|error| ConfigError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    parse(&text, table).map_err(|errors| errors.in_file(path))
}

/// Parses the settings of `T`, from a table of a text or from all of it. The table may be in
/// others: `"services.verk"`. No message has a value, or a line of the text, because these may have
/// a password.
#[doc(hidden)]
pub fn parse<T: Settings>(text: &str, of_verk: Option<&str>) -> Result<T, ConfigErrors> {
    let mut table = DeTable::parse(text).map_err(|error| of_toml(text, &error))?;
    // How the names of the fields begin in messages.
    let mut path = String::new();
    for name in of_verk.iter().flat_map(|names| names.split('.')) {
        if !table.get_ref().contains_key(name) {
            let hint = did_you_mean(name, table.get_ref().keys().map(Spanned::get_ref));
            let message = format!("there is no table [{path}{name}]{hint}");
            return Err(mistake(text, 0, message).into());
        }
        table = inner(text, table, &path, name)?;
        path = format!("{path}{name}.");
    }
    if let Some(name) = T::TABLE {
        table = inner(text, table, &path, name)?;
        path = format!("{path}{name}.");
    }
    let span = table.span();
    let mut kept = DeTable::new();
    let mut errors = Vec::new();
    for (key, value) in table.into_inner() {
        let (name, at): (&str, _) = (key.get_ref(), key.span().start);
        if T::TABLE.is_none() && TABLES_OF_BACKENDS.contains(&name) {
            continue;
        }
        let Some(setting) = T::ALL.iter().find(|setting| setting.name == name) else {
            let message = format!("{path}{name}: no such field; {}", hint::<T>(&path, name));
            errors.push((at, mistake(text, at, message)));
            continue;
        };
        // Each by itself first, so that every error is found and named.
        let alone = DeTable::from_iter([(key.clone(), value.clone())]);
        if let Err(error) = T::deserialize(Deserializer::from(Spanned::new(span.clone(), alone))) {
            let message = format!("{path}{name} must be {}", setting.in_file);
            errors.push((at, mistake(text, start(&error), message)));
        }
        kept.insert(key, value);
    }
    errors.sort_by_key(|(at, _)| *at);
    ConfigErrors::check(errors.into_iter().map(|(_, error)| error).collect())?;
    T::deserialize(Deserializer::from(Spanned::new(span, kept)))
        .map_err(|error| of_toml(text, &error).into())
}

/// The table of this name in `table`. Without it, an empty one.
fn inner<'a>(
    text: &str,
    table: Spanned<DeTable<'a>>,
    path: &str,
    name: &str,
) -> Result<Spanned<DeTable<'a>>, ConfigError> {
    let Some(value) = table.into_inner().remove(name) else {
        return Ok(Spanned::new(0..0, DeTable::new()));
    };
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Ok(Spanned::new(span, table)),
        _ => Err(mistake(
            text,
            span.start,
            format!("{path}{name} must be a table"),
        )),
    }
}

/// An error at a place of `text`.
fn mistake(text: &str, at: usize, message: String) -> ConfigError {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ConfigError::Toml {
        path: None,
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message,
    }
}

/// The message of the parser about the syntax. Its error also has the line.
fn of_toml(text: &str, error: &toml::de::Error) -> ConfigError {
    mistake(text, start(error), error.message().replace('\n', ", "))
}

fn start(error: &toml::de::Error) -> usize {
    error.span().map_or(0, |span| span.start)
}

/// The field that an unknown name probably means.
fn hint<T: Settings>(path: &str, name: &str) -> String {
    for table in TABLES_OF_BACKENDS {
        let without = name.strip_prefix(table);
        if let Some(name) = without.and_then(|name| name.strip_prefix('_')) {
            return format!("did you mean {name} in the table [{path}{table}]?");
        }
    }
    let names = || T::ALL.iter().map(|setting| setting.name);
    nearest(name, names().chain(TABLES_OF_BACKENDS)).map_or_else(
        || format!("accepted: {}", names().collect::<Vec<_>>().join(", ")),
        |name| format!("did you mean {name}?"),
    )
}

/// The end of a message about an unknown name: the name that it probably means, if there is one.
pub(crate) fn did_you_mean<N: AsRef<str>>(name: &str, names: impl Iterator<Item = N>) -> String {
    nearest(name, names)
        .map(|name| format!("; did you mean {}?", name.as_ref()))
        .unwrap_or_default()
}

/// The name that `name` probably means.
fn nearest<N: AsRef<str>>(name: &str, names: impl Iterator<Item = N>) -> Option<N> {
    let alike = |other: N| {
        // A short name with two swapped letters is not similar enough.
        let is_slip = name.len() > 2 && strsim::osa_distance(name, other.as_ref()) == 1;
        let score = strsim::jaro_winkler(name, other.as_ref());
        (if is_slip { 1.0 } else { score }, other)
    };
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

    use crate::config::value::Value as _;

    struct Text;

    impl de::Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(Duration::IN_FILE)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            Duration::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }

    /// Reads a duration from text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_str(Text)
    }

    /// Writes a duration as text.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }
}
