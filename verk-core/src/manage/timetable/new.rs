//! An entry of the timetable that a program stores while it runs: [`Cron`].

use std::time::Duration;

use serde::Serialize;
use verk_cron::Schedule;

use super::CronError;
use crate::{
    client::new_job::{IntoJob, NewJob, When},
    effects::unique::Unique,
    error::EnqueueError,
    job::{InvalidJob, Job},
    names::QueueName,
    timetable::{
        definition::Policies,
        periodic::{CatchUp, Overlap, Periodic},
    },
};

/// A periodic job, for [`Timetable::upsert`](super::Timetable::upsert): when it is due, and what
/// it enqueues.
///
/// ```
/// use std::time::Duration;
/// use verk_core::cron::{CatchUp, Cron};
///
/// // A class of another program, which runs in its own processes.
/// let entry = Cron::new("0 7 * * MON-FRI")
///     .tz("Europe/Berlin")
///     .class("Reports::Daily", ("all", 7))
///     .queue("reports")
///     .catch_up(CatchUp::All)
///     .within(Duration::from_secs(6 * 3600));
/// # drop(entry);
/// ```
#[derive(Debug)]
#[must_use = "`Timetable::upsert` stores it"]
pub struct Cron {
    timing: Timing,
    zone: Option<String>,
    policies: Policies,
    overlap: Option<Overlap>,
    job: Option<NewJob>,
    /// Whether other programs may run the class, which free no lock.
    is_foreign: bool,
    queue: Option<String>,
}

#[derive(Debug)]
enum Timing {
    Expression(String),
    Text(String),
    Period(Duration),
}

impl Cron {
    /// Is due by a cron expression, in UTC unless it has a [zone](Self::tz). The crate `verk-cron`
    /// has the form of expressions, and the rule for each change of the clocks.
    pub fn new(expression: &str) -> Self {
        Self::at(Timing::Expression(expression.to_owned()))
    }

    /// Is due once a period, such as `"10m"` or `"1h 30m"`, from 1 second to 366 days. It is due
    /// for the first time one period after it was stored.
    pub fn every(period: &str) -> Self {
        Self::at(Timing::Text(period.to_owned()))
    }

    /// As [`every`](Self::every), with a number.
    pub fn period(period: Duration) -> Self {
        Self::at(Timing::Period(period))
    }

    fn at(timing: Timing) -> Self {
        Self {
            timing,
            zone: None,
            policies: Policies {
                overlap: Overlap::default(),
                catch_up: CatchUp::default(),
                within: Periodic::WITHIN,
                splay: Duration::ZERO,
            },
            overlap: None,
            job: None,
            is_foreign: false,
            queue: None,
        }
    }

    /// Sets the time zone of the expression, by its name in the IANA database.
    pub fn tz(mut self, zone: &str) -> Self {
        self.zone = Some(zone.to_owned());
        self
    }

    /// Sets the job that each run enqueues, with its options: a job struct, or one with options of
    /// the call site. It has no time of its own.
    pub fn job(mut self, job: impl IntoJob) -> Self {
        self.job = Some(job.into_job());
        self.is_foreign = false;
        self
    }

    /// Sets the class and the arguments that each run enqueues, for a class of any program. `args`
    /// becomes a JSON array: pass a tuple, an array, or `serde_json::json!([..])`.
    pub fn class(self, class: &str, args: impl Serialize) -> Self {
        let job = || -> Result<Job, EnqueueError> {
            let args = serde_json::to_string(&args).map_err(|_| InvalidJob::ValueNotJson)?;
            Ok(Job::new(class, QueueName::new("default")?, args)?)
        };
        let job = NewJob {
            job: job(),
            when: When::Now,
            unique: None,
        };
        Self {
            is_foreign: true,
            ..self.job(job)
        }
    }

    /// Puts the jobs into this queue.
    pub fn queue(mut self, queue: &str) -> Self {
        self.queue = Some(queue.to_owned());
        self
    }

    /// Sets what happens while the job of an earlier run waits or runs.
    ///
    /// Defaults to [`Overlap::Skip`] for a [job](Self::job), and to [`Overlap::Allow`] for a
    /// [class](Self::class) or with [`CatchUp::All`]. Only verk notes that a job has ended: if
    /// Sidekiq runs the class, each second run or more would be skipped with another policy.
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = Some(overlap);
        self
    }

    /// Sets which runs are made up for that no node took in time.
    pub fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.policies.catch_up = catch_up;
        self
    }

    /// Sets how late a run may be that is made up for. Defaults to an hour.
    pub fn within(mut self, within: Duration) -> Self {
        self.policies.within = within;
        self
    }

    /// Enqueues each job up to this much later: each run at a time of its own, the same on every
    /// node.
    pub fn splay(mut self, splay: Duration) -> Self {
        self.policies.splay = splay;
        self
    }

    /// When it is due, what it enqueues, whether that is unique, and its policies.
    pub(super) fn parts(self) -> Result<Parts, CronError> {
        let schedule = match self.timing {
            Timing::Expression(text) => {
                Schedule::cron(&text, self.zone.as_deref().unwrap_or("UTC"))?
            }
            Timing::Text(text) => Schedule::every(parse(&text)?)?,
            Timing::Period(period) => Schedule::every(period)?,
        };
        let NewJob { job, when, unique } = self.job.ok_or(CronError::NoJob)?;
        if !matches!(when, When::Now) {
            return Err(CronError::HasTime);
        }
        let mut job = job?;
        if let Some(queue) = self.queue {
            job.set_queue(QueueName::new(&queue).map_err(EnqueueError::from)?);
        }
        let default = match self.policies.catch_up {
            CatchUp::All => Overlap::Allow,
            _ if self.is_foreign => Overlap::Allow,
            _ => Overlap::default(),
        };
        let policies = Policies {
            overlap: self.overlap.unwrap_or(default),
            ..self.policies
        };
        Ok(Parts {
            schedule,
            job,
            unique,
            policies,
        })
    }
}

/// What a [`Cron`] says.
pub(super) struct Parts {
    pub(super) schedule: Schedule,
    pub(super) job: Job,
    pub(super) unique: Option<Box<Unique>>,
    pub(super) policies: Policies,
}

/// A text that is no duration is reported as the period that it is not.
fn parse(text: &str) -> Result<Duration, CronError> {
    humantime::parse_duration(text).map_err(|error| CronError::Period {
        text: text.chars().take(64).collect(),
        reason: error.to_string(),
    })
}
