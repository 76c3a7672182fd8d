//! How people see jobs: one line each, without their arguments.

use std::{
    fmt::{self, Display, Formatter, Write as _},
    time::SystemTime,
};

use super::{Entry, Found, JobInProgress, RunningJob};
use crate::{
    job::{Job, MalformedJob},
    storage::{JobSet, Source},
};

/// The most characters that are shown of one text of a payload.
const MAX_CHARS: usize = 200;

/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use verk_core::{Job, Verk};
/// # use verk_testing::MemoryStorage;
/// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
/// let job = Job::new("Welcome", "mailers".parse()?, r#"["ada@example.com"]"#.to_owned())?;
/// let jid = verk.enqueue(job).await?;
/// let entry = verk.admin().queue("mailers")?.find(&jid).await?.unwrap();
///
/// let shown = entry.to_string();
/// assert!(shown.starts_with(&format!("Welcome {jid} in queue mailers since 20")));
/// assert!(shown.ends_with("Z, attempt 1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
impl Display for Entry {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let job = self.job.as_ref();
        write!(
            f,
            "{} in {}",
            Name(job, self.payload().len()),
            self.source()
        )?;
        let queue = job.ok().and_then(Job::queue);
        match (self.source(), self.at()) {
            (Source::Queue(_), _) => {
                if let Some(since) = job.ok().and_then(Job::enqueued_at) {
                    write!(f, " since {}", Time(since))?;
                }
            }
            (Source::Set(set), Some(at)) => {
                let since = if *set == JobSet::Dead {
                    "since"
                } else {
                    "until"
                };
                write!(f, " {since} {}", Time(at))?;
            }
            (Source::Set(_), None) => {}
        }
        if let (Source::Set(_), Some(queue)) = (self.source(), queue) {
            write!(f, ", queue {queue}")?;
        }
        let is_dead = *self.source() == Source::Set(JobSet::Dead);
        job.map_or(Ok(()), |job| write_attempt(f, job, is_dead))
    }
}

/// The line of its `Display`.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({self})")
    }
}

/// As for an [`Entry`], with the node, and whether it lives.
impl Display for JobInProgress {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let job = self.job.as_ref();
        let node = if self.alive { "node" } else { "dead node" };
        let name = Name(job, self.payload.len());
        write!(f, "{name} in progress on {node} {}", self.node)?;
        write!(f, ", queue {}", self.queue)?;
        let Ok(job) = job else { return Ok(()) };
        if let Some(since) = job.enqueued_at() {
            write!(f, ", enqueued {}", Time(since))?;
        }
        write_attempt(f, job, false)
    }
}

/// The line of its `Display`.
impl fmt::Debug for JobInProgress {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "JobInProgress({self})")
    }
}

/// As for an [`Entry`], with the process.
impl Display for RunningJob {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = Name(self.job.as_ref(), self.payload.len());
        write!(f, "{name} runs on {}", OneLine(&self.process))?;
        if let Some(queue) = &self.queue {
            write!(f, ", queue {queue}")?;
        }
        match self.since {
            Some(since) => write!(f, ", since {}", Time(since)),
            None => Ok(()),
        }
    }
}

/// The line of the [`Entry`] or the [`JobInProgress`].
impl Display for Found {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting(entry) => entry.fmt(f),
            Self::InProgress(held) => held.fmt(f),
        }
    }
}

/// The next attempt of a job or, for a dead one, how many it made. Then its last error.
fn write_attempt(f: &mut Formatter<'_>, job: &Job, is_dead: bool) -> fmt::Result {
    let failures = job.failures();
    if is_dead {
        let attempts = if failures == 1 { "attempt" } else { "attempts" };
        write!(f, ", after {failures} {attempts}")?;
    } else {
        write!(f, ", attempt {}", failures.saturating_add(1))?;
    }
    if failures == 0 {
        return Ok(());
    }
    for text in [job.error_class(), job.error_message()]
        .into_iter()
        .flatten()
    {
        write!(f, ": {}", OneLine(&text))?;
    }
    Ok(())
}

/// The class and the id; or why the payload, which has so many bytes, is no job.
struct Name<'a>(Result<&'a Job, &'a MalformedJob>, usize);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(job) => write!(
                f,
                "{} {}",
                OneLine(job.class()),
                OneLine(job.jid().as_str())
            ),
            Err(reason) => write!(f, "{} bytes that are no job ({reason})", self.1),
        }
    }
}

/// A text of a payload, cut off after [`MAX_CHARS`], with control characters escaped.
pub(super) struct OneLine<'a>(pub(super) &'a str);

impl Display for OneLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, char) in self.0.chars().enumerate() {
            match char {
                _ if index == MAX_CHARS => return f.write_str("..."),
                char if char.is_control() => write!(f, "{}", char.escape_default())?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// In RFC 3339, to the second. Times that are read from a payload or a score are within its years.
pub(super) struct Time(pub(super) SystemTime);

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(self.0).fmt(f)
    }
}
