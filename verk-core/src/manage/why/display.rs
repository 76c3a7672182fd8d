//! How people see an explanation: one line.

use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

use super::{Explanation, JobPlace, Reason};
use crate::{
    manage::display::{OneLine, Time},
    storage::{JobSet, Source},
};

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let jid = OneLine(self.jid.as_str());
        match &self.class {
            Some(class) => write!(f, "{} {jid} {}", OneLine(class), self.place)?,
            None => write!(f, "job {jid} {}", self.place)?,
        }
        for (index, reason) in self.reasons.iter().enumerate() {
            let before = if index == 0 { ":" } else { ";" };
            write!(f, "{before} {reason}")?;
        }
        Ok(())
    }
}

impl Display for JobPlace {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(queue) => write!(f, "waits in queue {queue}"),
            Self::Set(JobSet::Dead) => write!(f, "is in {}", Source::Set(JobSet::Dead)),
            Self::Set(set) => write!(f, "waits in {}", Source::Set(*set)),
            Self::Node { node, .. } => write!(f, "is held by node {node}"),
            Self::Process { process, .. } => write!(f, "runs in process {}", OneLine(process)),
            Self::Lock(lock) => write!(f, "waits for unique lock {lock}"),
            Self::Nowhere => f.write_str("is nowhere"),
        }
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running { process, since, .. } => {
                f.write_str("it runs there")?;
                if let Some(since) = since {
                    write!(f, " since {}", Time(*since))?;
                }
                match process {
                    Some(process) => write!(f, ", in process {}", OneLine(process)),
                    None => Ok(()),
                }
            }
            Self::Prefetched { .. } => {
                f.write_str("the node has fetched it, and starts it when another job ends")
            }
            Self::NodeSilent { silent_for, .. } => {
                match silent_for {
                    Some(time) => write!(f, "the node was silent for {}", Seconds(*time))?,
                    None => f.write_str("the node has no heartbeat")?,
                }
                f.write_str(": other nodes put its jobs back once it stays away")
            }
            Self::Paused(pause) => {
                f.write_str("the queue is paused on all nodes")?;
                if let Some(since) = pause.since {
                    write!(f, " since {}", Time(since))?;
                }
                if let Some(by) = &pause.by {
                    write!(f, " by {}", OneLine(by))?;
                }
                match &pause.reason {
                    Some(reason) => write!(f, ": {}", OneLine(reason)),
                    None => Ok(()),
                }
            }
            Self::NoProcess { queue } => write!(f, "no live process runs queue {queue}"),
            Self::AllQuiet { queue } => {
                write!(f, "every process that runs queue {queue} is quiet or stops")
            }
            Self::NoWorker { queue, class } => {
                let class = OneLine(class);
                write!(
                    f,
                    "no process that runs queue {queue} has a worker for {class}"
                )
            }
            Self::Behind { jobs: 0, .. } => f.write_str("it is the next job of its queue"),
            Self::Behind { jobs: 1, .. } => f.write_str("1 job is before it"),
            Self::Behind { jobs, exact, .. } => {
                let at_least = if *exact { "" } else { "at least " };
                write!(f, "{at_least}{jobs} jobs are before it")
            }
            Self::Due { due_in, .. } => write!(f, "it is due in {}", Seconds(*due_in)),
            Self::Retry {
                number,
                due_in,
                error_class,
                error_message,
                ..
            } => {
                write!(f, "retry {number} is due in {}", Seconds(*due_in))?;
                write_error(f, ", after ", error_class, error_message)
            }
            Self::Overdue { due_since, .. } => {
                let due_since = Seconds(*due_since);
                write!(f, "it was due {due_since} ago, and is not in its queue yet")
            }
            Self::NobodyMoves => f.write_str("no live process moves due jobs"),
            Self::Dead {
                at,
                failures,
                error_class,
                error_message,
            } => {
                write!(f, "it died {}", Time(*at))?;
                match failures {
                    0 => {}
                    1 => f.write_str(" after 1 failure")?,
                    failures => write!(f, " after {failures} failures")?,
                }
                write_error(f, ": ", error_class, error_message)
            }
            Self::WaitsForLock {
                holder,
                place,
                since,
                queue,
            } => {
                let (holder, since) = (OneLine(holder.as_str()), Time(*since));
                write!(f, "job {holder} holds that lock since {since} ({place})")?;
                match queue {
                    Some(queue) => write!(f, ": this job goes to queue {queue} when that one ends"),
                    None => Ok(()),
                }
            }
            Self::HoldsLock {
                lock,
                since,
                until,
                next,
            } => {
                write!(f, "it holds unique lock {lock} since {}", Time(*since))?;
                if let Some(until) = until {
                    write!(f, ", until {} at most", Time(*until))?;
                }
                match next {
                    Some(next) => write!(f, ", and job {} waits for it", OneLine(next.as_str())),
                    None => Ok(()),
                }
            }
            Self::LockTaken { lock, holder } => {
                let holder = OneLine(holder.as_str());
                write!(
                    f,
                    "job {holder} holds its unique lock {lock}, so this job cannot leave the dead \
                     set"
                )
            }
            Self::Periodic { name, due, missed } => {
                let (name, due) = (OneLine(name), Time(*due));
                write!(f, "it is the run of periodic job {name} for {due}")?;
                match missed {
                    0 => Ok(()),
                    missed => write!(f, ", after {missed} that were missed"),
                }
            }
            Self::Gone => f.write_str("it succeeded, was discarded or deleted, or never existed"),
        }
    }
}

/// The parts of an error that there are.
fn write_error(
    f: &mut Formatter<'_>,
    mut before: &str,
    class: &Option<String>,
    message: &Option<String>,
) -> fmt::Result {
    for text in [class, message].into_iter().flatten() {
        write!(f, "{before}{}", OneLine(text))?;
        before = ": ";
    }
    Ok(())
}

/// Whole seconds, because people look for minutes and hours.
struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        humantime::format_duration(Duration::from_secs(self.0.as_secs())).fmt(f)
    }
}
