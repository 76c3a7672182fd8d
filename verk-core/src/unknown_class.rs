//! Jobs of classes that no worker of this program has: what becomes of them, and a warning when the node starts.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    error::{ConfigError, StorageError},
    job::Job,
    log,
    names::QueueName,
    shared::Shared,
    storage::{MAX_BATCH_JOBS, Page},
};

/// What becomes of a job whose class no worker of this program has.
///
/// As text, in a file and in the environment: `fail`, or `requeue_after:` and a time.
///
/// ```
/// use std::time::Duration;
/// use verk_core::UnknownClass;
///
/// let minute = UnknownClass::RequeueAfter(Duration::from_secs(60));
/// assert_eq!("requeue_after:60s".parse::<UnknownClass>()?, minute);
/// assert_eq!(minute.to_string(), "requeue_after:1m");
/// assert_eq!(UnknownClass::default().to_string(), "fail");
/// assert!("requeue".parse::<UnknownClass>().is_err());
/// # Ok::<(), verk_core::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum UnknownClass {
    /// It fails, as any other job does: it is retried, and dead at last.
    #[default]
    Fail,
    /// It waits in the `schedule` set for this time and goes to the back of its queue, however often; no attempt is counted. For rolling deploys, in which
    /// some nodes have a new class and others have not.
    ///
    /// Not for a queue that Elixir's Verk or Sidekiq runs as well: this node fetches their jobs again and
    /// again, and they seldom get one. Give the classes of each program queues of their own.
    RequeueAfter(Duration),
}

/// Where to look first: the linker leaves out a crate that nothing refers to, and its workers with it.
pub(crate) const OF_ANOTHER_CRATE: &str =
    "if its worker is in another crate: `use that_crate as _;`";

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

/// Warns, once, of each class that no worker has among the jobs that are next in the queues of this node.
pub(crate) async fn warn(shared: &Shared, stop: &CancellationToken) {
    for queue in shared.queues.names() {
        let found = tokio::select! {
            () = stop.cancelled() => return,
            found = read(shared, &queue) => found,
        };
        match found {
            Ok(classes) => {
                for (class, jobs) in classes {
                    log::warn!(
                        class,
                        %queue,
                        jobs,
                        unknown_class = %shared.config.unknown_class,
                        "no worker of this program has the class of jobs that wait in a queue of this node; {OF_ANOTHER_CRATE}"
                    );
                }
            }
            Err(error) => log::warn!(
                %queue,
                error = %error,
                "cannot look for jobs of unknown classes"
            ),
        }
    }
}

/// The unknown classes of the next jobs of a queue, with how many they are.
async fn read(shared: &Shared, queue: &QueueName) -> Result<BTreeMap<String, usize>, StorageError> {
    let next = Page {
        offset: 0,
        limit: MAX_BATCH_JOBS,
    };
    let mut classes = BTreeMap::new();
    for payload in shared.storage.queue_page(queue, next).await? {
        if let Ok(job) = Job::decode(payload)
            && shared.registry.of_class(job.class()).is_none()
        {
            *classes.entry(job.class().to_owned()).or_default() += 1;
        }
    }
    Ok(classes)
}
