//! What an examination finds: [`Finding`].

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

use crate::{
    names::{Jid, NodeId, QueueName},
    storage::{LockId, Source},
};

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// Something goes wrong, or will go wrong when a program crashes.
    Warning,
    /// Jobs are lost, or do not run, unless an operator acts.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One fact that an operator should know. Its text says what was found and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// A key cannot be read: most often another program uses it for something else.
    Unreadable {
        /// What.
        what: String,
        /// What the storage said.
        problem: String,
    },
    /// The server may drop jobs when its memory is full.
    EvictingServer {
        /// By which policy.
        policy: String,
    },
    /// The server could not write to its disk.
    DiskFails,
    /// The server keeps no log of changes.
    NotAppendOnly,
    /// The clocks of this machine and of the storage differ by more than a second.
    ClockSkew {
        /// By how many milliseconds the storage is ahead.
        ahead_ms: i64,
    },
    /// Other programs move jobs out of the sets that verk uses, by rules of their own.
    OtherMovers {
        /// Whether processes of Sidekiq are registered.
        sidekiq: bool,
        /// Whether nodes of Elixir's Verk are.
        elixir: bool,
    },
    /// Elixir's Verk cuts the dead set, which all programs share.
    DeadSetCut,
    /// This program writes jobs in the [dialect](crate::config::Dialect) of Elixir's Verk, and a
    /// Sidekiq shares the storage.
    VerkDialect,
    /// This program writes [times in milliseconds](crate::config::TimeFormat), and a Sidekiq before
    /// 8 shares the storage.
    MillisecondTimes,
    /// Jobs wait in the sets of the other [`schedule_keys`](crate::Config::schedule_keys), which no
    /// program of this fleet moves.
    JobsElsewhere {
        /// How many.
        jobs: usize,
    },
    /// Jobs whose arguments are no array, in a storage that a Sidekiq shares.
    StringArgs(JobGroup),
    /// Jobs that Ruby cannot read, or cannot write again, in a storage that a Sidekiq shares.
    UnreadableInRuby(JobGroup),
    /// Jobs that Elixir's Verk, which shares the storage, would change when it moves or retries
    /// them.
    ChangedByElixir(JobGroup),
    /// Jobs with times in milliseconds and a Sidekiq before 8, or with times in whole seconds and a
    /// Sidekiq from 8.
    MisreadTimes(JobGroup),
    /// Members of a set that name no queue.
    NoQueue(JobGroup),
    /// Payloads that are no job.
    Malformed(JobGroup),
    /// Jobs in queues that this node runs, of a class that it has no worker for.
    UnknownClass {
        /// The class.
        class: String,
        /// How many were found.
        jobs: usize,
    },
    /// Jobs in progress on a node that is not registered.
    ForeignList {
        /// The name of the list.
        key: String,
        /// How many jobs.
        jobs: usize,
    },
    /// A registered node is dead and still holds jobs.
    DeadNode {
        /// Its id.
        #[serde(serialize_with = "as_text")]
        node: NodeId,
        /// How many jobs it holds, counted up to 100 in each queue.
        jobs: usize,
    },
    /// The dead set is nearly full.
    DeadSetFull {
        /// How many jobs it has.
        jobs: usize,
        /// How many it may have.
        max_dead_jobs: usize,
    },
    /// A queue is paused on all nodes.
    PausedQueue {
        /// The queue.
        queue: QueueName,
        /// How many jobs wait in it.
        jobs: usize,
    },
    /// A unique lock that no time frees, and whose job is in no queue, in no set and on no node.
    LockWithoutJob {
        /// The lock.
        #[serde(serialize_with = "as_text")]
        lock: LockId,
        /// The class of its job; empty if that is not known.
        class: String,
        /// The id of its job.
        #[serde(serialize_with = "as_text")]
        jid: Jid,
        /// How many seconds ago the job took the lock.
        age_s: u64,
    },
    /// Jobs of a class take unique locks that no time frees, and a program also runs their queue
    /// that does not free them.
    LocksBypassed {
        /// The class.
        class: String,
        /// The queue.
        queue: QueueName,
        /// Whether a process of Sidekiq runs the queue.
        sidekiq: bool,
        /// Whether a node of Elixir's Verk does.
        elixir: bool,
    },
    /// A live node of verk runs a queue whose jobs have unique locks, and is of a version that does
    /// not free them.
    OldNode {
        /// Its id.
        #[serde(serialize_with = "as_text")]
        node: NodeId,
        /// The library and its version; empty if the node does not say it.
        version: String,
        /// One of the queues.
        queue: QueueName,
    },
    /// An entry of the timetable cannot run.
    CronDamaged {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Entries of the timetable that can run are late: no node takes their runs.
    CronLate {
        /// How many.
        entries: usize,
        /// The name of the one that is due for the longest time.
        example: String,
        /// For how many seconds it is due.
        late_s: u64,
    },
    /// A worker declared an entry of the timetable, and no live node does. It is not reported while
    /// no node lives.
    CronOrphaned {
        /// Its name.
        name: String,
        /// Whether it is paused. verk pauses it after a day.
        paused: bool,
    },
    /// Live nodes declare an entry of the timetable differently.
    CronDisagrees {
        /// Its name.
        name: String,
        /// Whether one of them declares it as it is stored.
        stored: bool,
    },
    /// An entry of the timetable enqueues jobs that no live process can run. It is not reported
    /// while no process lives.
    CronNobodyRuns {
        /// Its name.
        name: String,
        /// The queue of its jobs.
        queue: QueueName,
        /// Their class.
        class: String,
    },
}

/// Jobs of one place that have something in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JobGroup {
    /// The queue or set that has the jobs.
    #[serde(serialize_with = "as_text")]
    pub place: Source,
    /// How many of the checked jobs they are.
    pub jobs: usize,
    /// One of them; `None` for payloads that are no job.
    #[serde(serialize_with = "as_optional_text")]
    pub example: Option<Jid>,
}

impl Finding {
    /// How bad it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Unreadable { .. }
            | Self::EvictingServer { .. }
            | Self::DiskFails
            | Self::VerkDialect
            | Self::StringArgs(_)
            | Self::UnreadableInRuby(_)
            | Self::CronDamaged { .. }
            | Self::OtherMovers {
                sidekiq: true,
                elixir: true,
            } => Severity::Error,
            Self::NotAppendOnly
            | Self::ClockSkew { .. }
            | Self::MillisecondTimes
            | Self::JobsElsewhere { .. }
            | Self::ChangedByElixir(_)
            | Self::MisreadTimes(_)
            | Self::NoQueue(_)
            | Self::Malformed(_)
            | Self::UnknownClass { .. }
            | Self::ForeignList { .. }
            | Self::DeadNode { .. }
            | Self::DeadSetFull { .. }
            | Self::LockWithoutJob { .. }
            | Self::LocksBypassed { .. }
            | Self::OldNode { .. }
            | Self::CronLate { .. }
            | Self::CronOrphaned { paused: false, .. }
            | Self::CronDisagrees { stored: false, .. }
            | Self::CronNobodyRuns { .. }
            | Self::OtherMovers { elixir: true, .. } => Severity::Warning,
            Self::PausedQueue { jobs, .. } if *jobs > 0 => Severity::Warning,
            // Its configuration cannot be read here.
            Self::DeadSetCut
            | Self::PausedQueue { .. }
            | Self::CronOrphaned { .. }
            // So it is during a deploy.
            | Self::CronDisagrees { .. }
            | Self::OtherMovers { .. } => Severity::Notice,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { what, problem } => write!(
                f,
                "{what} cannot be read ({problem}): see which program put something else there, and rename or delete that key"
            ),
            Self::EvictingServer { policy } => write!(
                f,
                "the server drops keys when its memory is full, and jobs with them (maxmemory-policy {policy}): set maxmemory-policy to noeviction"
            ),
            Self::DiskFails => f.write_str(
                "the server could not write to its disk: look into its log, and make room; until then a crash loses jobs",
            ),
            Self::NotAppendOnly => f.write_str(
                "the server keeps no append-only file, so a crash loses the jobs since its last snapshot: set appendonly to yes, or have replicas",
            ),
            Self::ClockSkew { ahead_ms } => {
                let (by, how) = (ahead_ms.unsigned_abs(), if *ahead_ms < 0 { "behind" } else { "ahead of" });
                write!(
                    f,
                    "the clock of the storage is {by} ms {how} the one of this machine: let both follow NTP; other programs judge due times by their own"
                )
            }
            Self::OtherMovers { sidekiq: true, elixir: true } => f.write_str(
                "Sidekiq and Elixir's Verk both move jobs out of `schedule` and `retry`: Sidekiq destroys jobs of Elixir's Verk, and that one changes jobs of Sidekiq; give them databases or prefixes of their own, and set schedule_keys to own here",
            ),
            Self::OtherMovers { elixir: true, .. } => f.write_str(
                "Elixir's Verk moves jobs out of `schedule` and `retry`, and changes them on the way: set schedule_keys to own",
            ),
            Self::OtherMovers { .. } => f.write_str(
                "Sidekiq moves jobs out of `schedule` and `retry` as well, and loses the one that it moves when it crashes: set schedule_keys to own, unless Sidekiq Web has to show them",
            ),
            Self::DeadSetCut => f.write_str(
                "Elixir's Verk cuts the dead set, which all programs share, to 100 jobs by default: raise max_dead_jobs in its configuration",
            ),
            Self::VerkDialect => f.write_str(
                "this program writes its jobs as Elixir's Verk does, and Sidekiq, which is here, cannot run them, and destroys those that it moves: set dialect to sidekiq, which Elixir's Verk reads too",
            ),
            Self::MillisecondTimes => f.write_str(
                "this program writes times in milliseconds, which a Sidekiq before 8, which is here, takes for seconds: set time_format to seconds",
            ),
            Self::JobsElsewhere { jobs } => write!(
                f,
                "{jobs} {} the sets of the other schedule_keys, and no program that is registered moves them: run a node with that setting until they are gone",
                wait_in(*jobs)
            ),
            Self::StringArgs(jobs) => write!(
                f,
                "{jobs} with arguments that are no array, which Sidekiq cannot run, and destroys when it moves them: convert them (Doctor::convert_string_args), and keep Elixir's Verk off queues and sets of Sidekiq"
            ),
            Self::UnreadableInRuby(jobs) => write!(
                f,
                "{jobs} that Ruby cannot read or write again (a number beyond a float, half of a surrogate pair, or more than 100 levels), so Sidekiq destroys them when it moves them: keep them out of its queues, set schedule_keys to own, and fix the program that enqueues them"
            ),
            Self::ChangedByElixir(jobs) => write!(
                f,
                "{jobs} that Elixir's Verk changes when it moves or retries them: it drops keys that it does not know, rounds numbers, and turns [] into {{}}; give these classes queues that no Elixir node runs, and set schedule_keys to own"
            ),
            Self::MisreadTimes(jobs) => write!(
                f,
                "{jobs} with times that a Sidekiq of this fleet misreads (milliseconds before Sidekiq 8, whole seconds since): its pages and latencies show wrong dates; run one version of Sidekiq"
            ),
            Self::NoQueue(jobs) => write!(
                f,
                "{jobs} without a queue: verk moves them to the dead set when they are due, an Elixir node stops at the first; delete them, and fix the program that enqueues them"
            ),
            Self::Malformed(jobs) => write!(
                f,
                "{jobs} with a payload that is not a job: they go to the dead set when their turn comes; fix the program that enqueues them"
            ),
            Self::UnknownClass { class, jobs } => write!(
                f,
                "{jobs} {} of class {class:?} in queues that this node runs, and no worker here has it: link the crate that has the worker, or give the class a queue of its own",
                if *jobs == 1 { "job" } else { "jobs" }
            ),
            Self::ForeignList { key, jobs } => write!(
                f,
                "{jobs} {} {key}, of a node that is not registered, so nobody restores them: if it is a node of Elixir's Verk with a fixed id, start it again; if it never comes back, move them to their queue by hand",
                wait_in(*jobs)
            ),
            Self::DeadNode { node, jobs } => write!(
                f,
                "node {node} is dead and holds {jobs} {}: a running node restores them within a few heartbeats; if none runs, start one",
                if *jobs == 1 { "job" } else { "jobs" }
            ),
            Self::DeadSetFull { jobs, max_dead_jobs } => write!(
                f,
                "the dead set has {jobs} of at most {max_dead_jobs} jobs, the oldest go first: look through them, requeue or delete what you can, or raise max_dead_jobs"
            ),
            Self::PausedQueue { queue, jobs } => write!(
                f,
                "queue {queue} is paused on all nodes, and {jobs} {} it: resume it (Admin::resume_queue_everywhere) if nobody needs the pause any more",
                wait_in(*jobs)
            ),
            Self::LockWithoutJob { lock, class, jid, age_s } => write!(
                f,
                "job {jid} of class {class:?} has held unique lock {lock} for {}, and is nowhere: another program deleted or ran it; a node frees the lock soon after an enqueue meets it, or release it (verk locks release, or Admin::release_lock)",
                seconds(*age_s)
            ),
            Self::LocksBypassed { class, queue, sidekiq, elixir } => write!(
                f,
                "jobs of class {class:?} hold unique locks, and {}, which also runs queue {queue}, does not free the lock of a job that it ran: give the class until = done_or(..), so that a time frees it, and a periodic job overlap = allow; or use a queue that only verk runs",
                match (sidekiq, elixir) {
                    (true, true) => "each of Sidekiq and Elixir's Verk",
                    (false, true) => "Elixir's Verk",
                    _ => "Sidekiq",
                }
            ),
            Self::OldNode { node, version, queue } => write!(
                f,
                "node {node} ({}) is too old to free the unique locks of jobs that it runs, such as of queue {queue}: upgrade its program",
                if version.is_empty() { "an old version" } else { version }
            ),
            Self::CronDamaged { name, problem } => write!(
                f,
                "the entry {name:?} of the timetable cannot run ({problem}): store it again, or remove it (verk cron rm, or Timetable::remove)"
            ),
            Self::CronLate { entries, example, late_s } => write!(
                f,
                "{entries} {} late, and no node takes the runs: {example:?} was due {} ago; start a node with the feature cron, or see in the logs of the nodes why the storage refuses the runs",
                if *entries == 1 { "entry of the timetable is" } else { "entries of the timetable are" },
                seconds(*late_s)
            ),
            Self::CronOrphaned { name, paused } => write!(
                f,
                "no live node declares the entry {name:?} of the timetable any more, {}: start the program that declares it, or remove it (verk cron rm, or Timetable::remove)",
                if *paused { "and it is paused" } else { "and a day later it is paused" }
            ),
            Self::CronDisagrees { name, stored: true } => write!(
                f,
                "live nodes declare the entry {name:?} of the timetable in more than one way: they run different versions of the program; if that is no deploy, stop the old one"
            ),
            Self::CronDisagrees { name, stored: false } => write!(
                f,
                "the entry {name:?} of the timetable is not stored as live nodes declare it: a newer version of the program, or a call, has replaced it; restart these nodes with the program that you want"
            ),
            Self::CronNobodyRuns { name, queue, class } => write!(
                f,
                "no live process that runs queue {queue} has a worker for {class:?}, which the entry {name:?} of the timetable enqueues: start one that has, or remove the entry (verk cron rm, or Timetable::remove)"
            ),
        }
    }
}

/// A time as people read it.
fn seconds(seconds: u64) -> impl fmt::Display {
    humantime::format_duration(Duration::from_secs(seconds))
}

impl fmt::Display for JobGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jobs = if self.jobs == 1 { "job" } else { "jobs" };
        write!(f, "{} {jobs} in {}", self.jobs, self.place)?;
        match &self.example {
            Some(jid) => write!(f, " (such as {jid})"),
            None => Ok(()),
        }
    }
}

fn wait_in(jobs: usize) -> &'static str {
    if jobs == 1 {
        "job waits in"
    } else {
        "jobs wait in"
    }
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_optional_text<S: Serializer>(
    value: &Option<impl fmt::Display>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
