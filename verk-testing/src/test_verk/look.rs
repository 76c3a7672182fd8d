//! The assertions of a test about stored jobs.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use verk_core::{
    Job, Worker,
    job::{ArgsError, ArgsReader},
    storage::JobSet,
    time::{Clock, from_unix_seconds},
};

use super::TestVerk;
use crate::conformance::ScoredJob;

/// When a job is expected to run: a time, or how long from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScheduledFor {
    /// At this time.
    At(SystemTime),
    /// After this time, by the test's clock.
    In(Duration),
}

impl From<SystemTime> for ScheduledFor {
    fn from(at: SystemTime) -> Self {
        Self::At(at)
    }
}

impl From<Duration> for ScheduledFor {
    fn from(after: Duration) -> Self {
        Self::In(after)
    }
}

/// How much the time of a job may differ from what is expected: what the rounding of a score takes.
const TOLERANCE: Duration = Duration::from_millis(1);

/// Enqueued jobs, as one of the assertions sees them.
struct Stored {
    payload: Bytes,
    /// When it is due, if it is in the `schedule` set.
    at: Option<SystemTime>,
}

/// # Looking at jobs
///
/// A job is *enqueued* while it waits in a queue or in the `schedule` set, and not any more after
/// it ran.
impl TestVerk {
    /// Asserts that a job of this class that `matches` is enqueued.
    ///
    /// # Panics
    ///
    /// If not, with the class and the arguments of every job that is enqueued.
    #[track_caller]
    pub fn assert_enqueued<W: Worker>(&self, matches: impl Fn(&W) -> bool) {
        let stored = self.enqueued();
        if !stored.iter().any(|stored| is(&stored.payload, &matches)) {
            panic!(
                "no {} that matches is enqueued; {}",
                W::CLASS,
                self.list(&stored)
            );
        }
    }

    /// Asserts that no job of this class that `matches` is enqueued.
    ///
    /// # Panics
    ///
    /// If there is one, with the class and the arguments of every job that is enqueued.
    #[track_caller]
    pub fn refute_enqueued<W: Worker>(&self, matches: impl Fn(&W) -> bool) {
        let stored = self.enqueued();
        if stored.iter().any(|stored| is(&stored.payload, &matches)) {
            panic!(
                "a {} that matches is enqueued; {}",
                W::CLASS,
                self.list(&stored)
            );
        }
    }

    /// Asserts that a job of this class that `matches` is in the `schedule` set, for this time: a
    /// `SystemTime`, or a `Duration` from now.
    ///
    /// # Panics
    ///
    /// If not, with every job that is scheduled.
    #[track_caller]
    pub fn assert_scheduled<W: Worker>(
        &self,
        matches: impl Fn(&W) -> bool,
        when: impl Into<ScheduledFor>,
    ) {
        let when = when.into();
        let expected = match when {
            ScheduledFor::At(at) => at,
            ScheduledFor::In(after) => self.clock().now() + after,
        };
        let scheduled = self.scheduled();
        let found = scheduled.iter().any(|stored| {
            stored.at.is_some_and(|at| near(at, expected)) && is(&stored.payload, &matches)
        });
        if !found {
            panic!(
                "no {} that matches is scheduled {}; {}",
                W::CLASS,
                self.relative(expected),
                self.list(&scheduled)
            );
        }
    }

    /// Asserts that an entry of the timetable has enqueued so many jobs since the test began.
    ///
    /// ```
    /// use std::time::Duration;
    /// use verk_core::cron::Cron;
    /// use verk_testing::TestVerk;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), verk_core::cron::CronError> {
    /// let verk = TestVerk::new();
    /// let daily = Cron::new("30 2 * * *").tz("Europe/Berlin").class("Report", ["all"]);
    /// verk.verk().cron().upsert("report", daily).await?;
    ///
    /// verk.advance(Duration::from_secs(7 * 86_400)).await;
    /// verk.assert_ticks("report", 7);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If it has enqueued another number, or there is no such entry.
    #[cfg(feature = "cron")]
    #[track_caller]
    pub fn assert_ticks(&self, name: &str, expected: u64) {
        let Some(runs) = self.storage().cron_runs(name) else {
            panic!("the timetable has no entry {name:?}");
        };
        assert!(
            runs == expected,
            "{name:?} has enqueued {runs} jobs, not {expected}"
        );
    }

    /// Returns the enqueued jobs of this class: those in queues, in order, then those in the
    /// `schedule` set, by time.
    ///
    /// # Panics
    ///
    /// When the arguments of one do not have the right shape.
    #[must_use]
    #[track_caller]
    pub fn all_enqueued<W: Worker>(&self) -> Vec<W> {
        decode_all(self.enqueued().into_iter().map(|stored| stored.payload))
    }

    /// Returns the jobs of this class in the `schedule` set, by time.
    ///
    /// # Panics
    ///
    /// As [`all_enqueued`](Self::all_enqueued).
    #[must_use]
    #[track_caller]
    pub fn all_scheduled<W: Worker>(&self) -> Vec<W> {
        decode_all(self.members(JobSet::Schedule))
    }

    /// Returns the jobs of this class that failed and wait in the `retry` set, by time.
    ///
    /// # Panics
    ///
    /// As [`all_enqueued`](Self::all_enqueued).
    #[must_use]
    #[track_caller]
    pub fn all_retrying<W: Worker>(&self) -> Vec<W> {
        decode_all(self.members(JobSet::Retry))
    }

    /// Returns the jobs of this class in the `dead` set, by time.
    ///
    /// # Panics
    ///
    /// As [`all_enqueued`](Self::all_enqueued).
    #[must_use]
    #[track_caller]
    pub fn all_dead<W: Worker>(&self) -> Vec<W> {
        decode_all(self.members(JobSet::Dead))
    }

    /// Returns the jobs of this class whose runs succeeded, in the order in which the runs ended.
    ///
    /// # Panics
    ///
    /// As [`all_enqueued`](Self::all_enqueued).
    #[must_use]
    #[track_caller]
    pub fn all_finished<W: Worker>(&self) -> Vec<W> {
        let mut jobs = Vec::new();
        for job in self.engine.ledger.finished() {
            match decode_job(&job) {
                Some(Ok(worker)) => jobs.push(worker),
                Some(Err(error)) => panic!("{} {}: {error}", job.class(), job.args()),
                None => {}
            }
        }
        jobs
    }

    /// Returns the jobs of this class whose runs failed, in the order in which the runs ended: once
    /// for each failed run, whatever came next. [`Drained::errors`](crate::Drained::errors) has
    /// their errors. A job whose arguments do not decode is left out, because its worker was not
    /// called.
    #[must_use]
    pub fn all_failed<W: Worker>(&self) -> Vec<W> {
        let failed = self.engine.ledger.failed();
        let decoded = failed.iter().filter_map(|job| decode_job(job));
        decoded.filter_map(Result::ok).collect()
    }

    /// Asserts that a job of this class that `matches` holds a [unique](verk_core::Unique) lock:
    /// it waits, runs, or died and keeps its lock.
    ///
    /// # Panics
    ///
    /// If not, with the class and the arguments of every job that holds a lock.
    #[track_caller]
    pub fn assert_locked<W: Worker>(&self, matches: impl Fn(&W) -> bool) {
        let holders = self.storage().lock_holders();
        if !holders.iter().any(|payload| is(payload, &matches)) {
            let holders: Vec<String> = holders.iter().map(describe).collect();
            panic!(
                "no {} that matches holds a lock; these do: {holders:?}",
                W::CLASS
            );
        }
    }

    /// Asserts that no job of this class that `matches` holds a [unique](verk_core::Unique) lock.
    ///
    /// # Panics
    ///
    /// If one does.
    #[track_caller]
    pub fn refute_locked<W: Worker>(&self, matches: impl Fn(&W) -> bool) {
        let holders = self.storage().lock_holders();
        if let Some(holder) = holders.iter().find(|payload| is(payload, &matches)) {
            panic!("this job holds a lock: {}", describe(holder));
        }
    }

    fn members(&self, set: JobSet) -> impl Iterator<Item = Bytes> {
        let members = self.storage().members(set);
        members.into_iter().map(|member| member.job)
    }

    fn enqueued(&self) -> Vec<Stored> {
        let waiting = self.storage().waiting().into_iter();
        waiting
            .map(|(_, payload)| Stored { payload, at: None })
            .chain(self.scheduled())
            .collect()
    }

    fn scheduled(&self) -> Vec<Stored> {
        let stored = |ScoredJob { score, job }| Stored {
            payload: job,
            at: Some(from_unix_seconds(score)),
        };
        let members = self.storage().members(JobSet::Schedule);
        members.into_iter().map(stored).collect()
    }

    fn list(&self, stored: &[Stored]) -> String {
        let ended = self.totals().ended();
        let mut text = match stored.len() {
            0 => "nothing is".to_owned(),
            1 => "this is:".to_owned(),
            count => format!("these {count} are:"),
        };
        for stored in stored {
            text.push_str("\n  ");
            text.push_str(&describe(&stored.payload));
            if let Some(at) = stored.at {
                text.push_str(", ");
                text.push_str(&self.relative(at));
            }
        }
        if ended > 0 {
            text.push_str(&format!("\n({ended} runs ended before)"));
        }
        text
    }

    fn relative(&self, at: SystemTime) -> String {
        match at.duration_since(self.clock().now()) {
            Ok(after) => format!("in {after:?}"),
            Err(before) => format!("{:?} ago", before.duration()),
        }
    }
}

/// One job, for a message.
pub(super) fn describe(payload: &Bytes) -> String {
    match Job::decode(payload.clone()) {
        Ok(job) => {
            let queue = job.queue().map_or("none", |queue| queue.as_str());
            format!("{} {} in queue {queue}", job.class(), job.args())
        }
        Err(reason) => format!("{} ({reason})", String::from_utf8_lossy(payload)),
    }
}

fn near(at: SystemTime, expected: SystemTime) -> bool {
    let difference = at
        .duration_since(expected)
        .unwrap_or_else(|before| before.duration());
    difference < TOLERANCE
}

fn is<W: Worker>(payload: &Bytes, matches: &impl Fn(&W) -> bool) -> bool {
    decode::<W>(payload).is_some_and(|job| job.is_ok_and(|job| matches(&job)))
}

/// The job, if it is of this class.
fn decode<W: Worker>(payload: &Bytes) -> Option<Result<W, ArgsError>> {
    decode_job(&Job::decode(payload.clone()).ok()?)
}

/// As [`decode`].
fn decode_job<W: Worker>(job: &Job) -> Option<Result<W, ArgsError>> {
    (job.class() == W::CLASS).then(|| {
        let mut args = ArgsReader::new(job.args())?;
        let worker = W::decode_args(&mut args)?;
        args.finish()?;
        Ok(worker)
    })
}

#[track_caller]
fn decode_all<W: Worker>(payloads: impl Iterator<Item = Bytes>) -> Vec<W> {
    let mut jobs = Vec::new();
    for payload in payloads {
        match decode(&payload) {
            Some(Ok(job)) => jobs.push(job),
            Some(Err(error)) => panic!("{}: {error}", describe(&payload)),
            None => {}
        }
    }
    jobs
}
