//! The jobs that processes run: [`RunningJob`].

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    str::FromStr,
    time::SystemTime,
};

use bytes::Bytes;
use serde_json::value::RawValue;
use thiserror::Error;

use super::Admin;
use crate::{
    error::StorageError,
    job::{Job, MalformedJob, json_string, json_time},
    names::QueueName,
    storage::{ShownWork, WorkPlace},
};

/// # Running jobs
impl Admin {
    /// Reads a page of the jobs that run on all [processes](Self::processes), those of Ruby's
    /// Sidekiq too, by process: about `limit` jobs, at most 100, and at most 1 MiB, but one of any
    /// size. Without a cursor it begins with the first process.
    ///
    /// Processes report their jobs every 10 seconds, so a job that just started is missing, and one
    /// that just ended is still there. A job that runs all the time is found, and may be found
    /// twice. A process of verk leaves out what is beyond 1 MiB of its jobs; its
    /// [`busy`](super::Process::busy) counts them. [`in_progress`](Self::in_progress) returns what
    /// nodes hold at this moment.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// let admin = verk.admin();
    /// let mut from = None;
    /// loop {
    ///     let page = admin.running(from, 25).await?;
    ///     for running in page.jobs {
    ///         println!("{running}");
    ///     }
    ///     from = page.next;
    ///     if from.is_none() {
    ///         break;
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn running(
        &self,
        from: Option<RunningCursor>,
        limit: usize,
    ) -> Result<RunningPage, StorageError> {
        let from = from.map(|cursor| cursor.0);
        let page = self.storage().work(from.as_ref(), limit).await?;
        Ok(RunningPage {
            jobs: page.work.into_iter().map(RunningJob::of).collect(),
            next: page.next.map(RunningCursor),
        })
    }
}

/// The answer to [`Admin::running`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RunningPage {
    /// The jobs, by process. There may be none although more follow.
    pub jobs: Vec<RunningJob>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<RunningCursor>,
}

/// A job that a process runs, as the process last reported it: see [`Admin::running`]. `Display`
/// and `Debug` show it in one line, never the arguments.
#[derive(Clone)]
#[non_exhaustive]
pub struct RunningJob {
    /// The [identity](super::Process::identity) of the process.
    pub process: String,
    /// The thread of Sidekiq that runs the job. verk has none, and writes the id of the job.
    pub thread: String,
    /// The queue that the job was fetched from; `None` if the process does not say.
    pub queue: Option<QueueName>,
    /// When the run began, by the clock of the process; `None` if the process does not say.
    pub since: Option<SystemTime>,
    /// The payload, as the process reports it. Bytes that are no UTF-8 are replaced.
    pub payload: Bytes,
    /// The job, or why the payload is none.
    pub job: Result<Job, MalformedJob>,
}

impl RunningJob {
    pub(super) fn of(shown: ShownWork) -> Self {
        let work: BTreeMap<String, &RawValue> =
            serde_json::from_slice(&shown.work).unwrap_or_default();
        let raw = |key| work.get(key).map(|value: &&RawValue| value.get());
        let queue = raw("queue").and_then(json_string);
        let payload = raw("payload").unwrap_or_default();
        let payload = match json_string(payload) {
            Some(text) => Bytes::from(text.into_owned()),
            // Sidekiq 5 has the job itself there.
            None => Bytes::copy_from_slice(payload.as_bytes()),
        };
        Self {
            queue: queue.and_then(|queue| QueueName::new(&queue).ok()),
            since: raw("run_at").and_then(json_time),
            job: Job::decode(payload.clone()),
            payload,
            process: shown.identity,
            thread: shown.thread,
        }
    }
}

/// The line of its `Display`.
impl fmt::Debug for RunningJob {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "RunningJob({self})")
    }
}

/// Where a page of running jobs begins: see [`Admin::running`]. As text it needs no escapes in a
/// URL. The form of the text may change between versions.
///
/// ```
/// use verk_core::manage::RunningCursor;
///
/// let cursor: RunningCursor = "0.web-1~3a42".parse()?;
/// assert_eq!(cursor.to_string(), "0.web-1~3a42");
/// assert!("web-1".parse::<RunningCursor>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningCursor(WorkPlace);

/// A text that is no [`RunningCursor`]. Begin with the first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this is no place among the running jobs: begin with the first page")]
#[non_exhaustive]
pub struct InvalidRunningCursor;

impl RunningCursor {
    /// Begins with the jobs of a process. Those of the processes after it follow.
    #[must_use]
    pub fn of_process(identity: impl Into<String>) -> Self {
        let (identity, cursor) = (identity.into(), 0);
        Self(WorkPlace { identity, cursor })
    }
}

/// The place in the process in hex digits, a point, and the process. Of its name, other bytes than
/// letters, digits, `-` and `_` are `~` and two hex digits.
impl Display for RunningCursor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.", self.0.cursor)?;
        self.0.identity.bytes().try_for_each(|byte| match byte {
            b'-' | b'_' => write!(f, "{}", char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => write!(f, "{}", char::from(byte)),
            _ => write!(f, "~{byte:02x}"),
        })
    }
}

impl FromStr for RunningCursor {
    type Err = InvalidRunningCursor;

    fn from_str(text: &str) -> Result<Self, InvalidRunningCursor> {
        let read = || {
            let (cursor, identity) = text.split_once('.')?;
            let mut parts = identity.split('~');
            let mut identity = Vec::from(parts.next()?);
            for part in parts {
                let (digits, rest) = part.split_at_checked(2)?;
                identity.push(u8::try_from(hex(digits)?).ok()?);
                identity.extend_from_slice(rest.as_bytes());
            }
            Some(Self(WorkPlace {
                identity: String::from_utf8(identity).ok()?,
                cursor: hex(cursor)?,
            }))
        };
        read().ok_or(InvalidRunningCursor)
    }
}

/// A number in hex digits, without a sign.
fn hex(digits: &str) -> Option<u64> {
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    are_digits.then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn running(work: &str) -> RunningJob {
        RunningJob::of(ShownWork {
            identity: "vm:1:0f".into(),
            thread: "os9".into(),
            work: work.to_owned().into(),
        })
    }

    #[test]
    fn a_job_of_each_program_is_read() {
        let at = UNIX_EPOCH + Duration::from_secs(1_795_465_721);
        // As Sidekiq 7.3.10 and verk, Sidekiq 8 in milliseconds, and Sidekiq 5 wrote them.
        for work in [
            r#"{"queue":"default","payload":"{\"args\":[8],\"class\":\"SlowJob\",\"jid\":\"b4b5\"}","run_at":1795465721}"#,
            r#"{"queue":"default","payload":"{\"args\":[8],\"class\":\"SlowJob\",\"jid\":\"b4b5\"}","run_at":1795465721000}"#,
            r#"{"queue":"default","payload":{"args":[8],"class":"SlowJob","jid":"b4b5"},"run_at":1795465721}"#,
        ] {
            let running = running(work);
            assert_eq!(running.queue, Some("default".parse().unwrap()));
            assert_eq!(running.since, Some(at), "{work}");
            assert_eq!(
                running.payload,
                r#"{"args":[8],"class":"SlowJob","jid":"b4b5"}"#
            );
            assert_eq!(running.job.as_ref().unwrap().class(), "SlowJob");
            let shown = "SlowJob b4b5 runs on vm:1:0f, queue default, since 2026-11-23T20:28:41Z";
            assert_eq!(running.to_string(), shown);
            assert_eq!(format!("{running:?}"), format!("RunningJob({shown})"));
        }
    }

    #[test]
    fn work_of_any_form_is_read() {
        for work in [
            "",
            "broken",
            "[]",
            "{}",
            r#"{"queue":1,"payload":7,"run_at":"now"}"#,
        ] {
            let running = running(work);
            assert_eq!((&running.queue, running.since), (&None, None), "{work}");
            assert!(running.job.is_err());
            assert!(
                running.to_string().ends_with("runs on vm:1:0f"),
                "{running}"
            );
        }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for identity in [
            "web-1:42:0123456789ab",
            "a.b~c/d",
            "ü\0\u{10ffff}",
            "~~",
            "",
        ] {
            for cursor in [0, 1, u64::MAX] {
                let identity = identity.to_owned();
                let cursor = RunningCursor(WorkPlace { identity, cursor });
                let text = cursor.to_string();
                let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
                assert!(text.bytes().all(unreserved), "{text}");
                assert_eq!(text.parse(), Ok(cursor));
            }
        }
        for text in [
            "", "a", ".a", "x.a", "+1.a", "1.~", "1.~a", "1.~zz", "1.~+1", "1.~ff",
        ] {
            assert_eq!(
                text.parse::<RunningCursor>(),
                Err(InvalidRunningCursor),
                "{text}"
            );
        }
    }
}
