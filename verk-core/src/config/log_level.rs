//! At which level something is logged: [`LogLevel`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;

/// The level of `tracing` at which a line is logged, or that it is not logged.
///
/// ```
/// use verk_core::LogLevel;
///
/// assert_eq!("debug".parse::<LogLevel>()?, LogLevel::Debug);
/// assert_eq!(LogLevel::Off.to_string(), "off");
/// assert!("loud".parse::<LogLevel>().is_err());
/// # Ok::<(), verk_core::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Not at all.
    Off,
    /// `ERROR`.
    Error,
    /// `WARN`.
    Warn,
    /// `INFO`.
    #[default]
    Info,
    /// `DEBUG`.
    Debug,
    /// `TRACE`.
    Trace,
}

impl LogLevel {
    /// What [`FromStr`] accepts, for messages.
    pub(crate) const ACCEPTED: &str = "off, error, warn, info, debug or trace";

    /// Where [`Self::may_report_deaths`] holds, for messages.
    pub(crate) const ACCEPTED_FOR_DEATHS: &str = "error or warn";

    /// Whether the death of a job may be logged at this level, so that an operator always sees it.
    pub(crate) fn may_report_deaths(&self) -> bool {
        matches!(self, Self::Error | Self::Warn)
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        })
    }
}

/// In any case: `info`, `INFO`.
impl FromStr for LogLevel {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let all = [
            Self::Off,
            Self::Error,
            Self::Warn,
            Self::Info,
            Self::Debug,
            Self::Trace,
        ];
        all.into_iter()
            .find(|level| level.to_string().eq_ignore_ascii_case(text))
            .ok_or_else(|| ConfigError::invalid("log level", format!("{text:?}"), Self::ACCEPTED))
    }
}
