//! Levels of `tracing` as text: `off`, `error`, `warn`, `info`, `debug` or `trace`, in any case.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serializer, de};
use tracing::level_filters::LevelFilter;

use crate::config::value::Value;

impl Value for LevelFilter {
    const IN_VARIABLE: &'static str = "off, error, warn, info, debug or trace";

    fn parse(text: &str) -> Option<Self> {
        // `tracing` reads no text as error, and numbers.
        let is_word = text.starts_with(|first: char| first.is_ascii_alphabetic());
        text.parse().ok().filter(|_| is_word)
    }
}

/// For messages: where [`may_report_deaths`] holds.
pub(crate) const ACCEPTED_FOR_DEATHS: &str = "error or warn";

/// Whether the death of a job may be logged at this level: nobody must be able to miss one.
pub(crate) fn may_report_deaths(level: LevelFilter) -> bool {
    matches!(level, LevelFilter::ERROR | LevelFilter::WARN)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<LevelFilter, D::Error> {
    let text = Cow::<str>::deserialize(from)?;
    LevelFilter::parse(&text).ok_or_else(|| {
        de::Error::invalid_value(de::Unexpected::Str(&text), &LevelFilter::IN_VARIABLE)
    })
}

pub(crate) fn serialize<S: Serializer>(
    level: &LevelFilter,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(level)
}
