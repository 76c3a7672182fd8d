//! What happens to jobs of classes that no worker of this program has: [`UnknownClass`].

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;

/// What happens to a job whose class no worker of this program has.
///
/// As text, in a file and in the environment: `fail`, or `requeue_after:` and a time.
///
/// ```
/// use std::time::Duration;
/// use verk_core::config::UnknownClass;
///
/// let minute = UnknownClass::RequeueAfter(Duration::from_secs(60));
/// assert_eq!("requeue_after:60s".parse::<UnknownClass>()?, minute);
/// assert_eq!(minute.to_string(), "requeue_after:1m");
/// assert_eq!(UnknownClass::default().to_string(), "fail");
/// assert!("requeue".parse::<UnknownClass>().is_err());
/// # Ok::<(), verk_core::error::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum UnknownClass {
    /// The job fails, as any other job does: it is retried, and in the end dead.
    #[default]
    Fail,
    /// The job waits in the `schedule` set for this time and goes to the back of its queue, however
    /// often. No attempt is counted. For rolling deploys, in which only some nodes have a new
    /// class.
    ///
    /// Do not use it for a queue that Elixir's Verk or Sidekiq runs as well: this node fetches
    /// their jobs again and again, and they seldom get one. Give the classes of each program queues
    /// of their own.
    RequeueAfter(Duration),
}

impl UnknownClass {
    /// What [`FromStr`] accepts, for messages.
    pub(crate) const ACCEPTED: &str =
        "fail, or requeue_after: and a time, such as requeue_after:30s";
}

impl fmt::Display for UnknownClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail => f.write_str("fail"),
            Self::RequeueAfter(delay) => {
                write!(f, "requeue_after:{}", humantime::format_duration(*delay))
            }
        }
    }
}

impl FromStr for UnknownClass {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let parsed = match text.split_once(':') {
            None => (text == "fail").then_some(Self::Fail),
            Some((what, delay)) => humantime::parse_duration(delay.trim())
                .ok()
                .filter(|_| what == "requeue_after")
                .map(Self::RequeueAfter),
        };
        parsed.ok_or_else(|| {
            ConfigError::invalid("unknown_class", format!("{text:?}"), Self::ACCEPTED)
        })
    }
}

impl TryFrom<String> for UnknownClass {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Self, ConfigError> {
        text.parse()
    }
}

impl From<UnknownClass> for String {
    fn from(unknown_class: UnknownClass) -> Self {
        unknown_class.to_string()
    }
}
