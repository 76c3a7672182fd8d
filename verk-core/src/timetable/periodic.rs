//! What a worker says about its periodic jobs: [`Periodic`]. It is data: `verk-cron` reads the
//! expression, and it is compiled without it, too.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::job::args::ArgsError;

/// A job that is enqueued again and again: an entry of the timetable that a worker declares.
///
/// `#[verk::worker(cron(..))]` has the same options, and checks the expression and the zone.
///
/// ```
/// use std::time::Duration;
/// use verk_core::cron::{Overlap, Periodic};
///
/// const DAILY: Periodic = Periodic::cron("report", "0 7 * * MON-FRI", "Europe/Berlin", || Ok("[]".to_owned()))
///     .overlap(Overlap::Allow)
///     .splay(Duration::from_secs(30));
/// # let _ = DAILY;
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Periodic {
    /// The name of the entry, which no other entry of the timetable has.
    pub name: &'static str,
    /// When it is due.
    pub timing: Timing,
    /// What happens when it is due while its last job waits or runs.
    pub overlap: Overlap,
    /// What happens after a time when no node was there.
    pub catch_up: CatchUp,
    /// How late a job may be. What was due before is missed: it is counted, and not enqueued.
    pub within: Duration,
    /// The jobs are enqueued up to this much later, each entry at a time of its own.
    pub splay: Duration,
    /// The arguments of its jobs, as a JSON array.
    pub args: fn() -> Result<String, ArgsError>,
}

/// When a periodic job is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// By a cron expression.
    Cron {
        /// The expression.
        expression: &'static str,
        /// The time zone, by its name in the IANA database.
        zone: &'static str,
    },
    /// Once a period, counted from the first declaration.
    Every(Duration),
}

/// What happens when an entry is due while the job of an earlier run waits or runs.
///
/// A job waits from the run that enqueues it, for its splay and in its queue. It counts until its
/// first run ends. After a failure or a snooze it does not count any more, and so it does not while
/// it is dead.
///
/// A class that is [unique](crate::Unique) has its own lock instead: a run that meets it does what
/// `on_conflict` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The run is skipped: it is counted, with the event
    /// [`CronSkipped`](crate::EventKind::CronSkipped). The default.
    #[default]
    Skip,
    /// Each run enqueues its job. Needed for [`CatchUp::All`].
    Allow,
    /// The job waits until the earlier one is done, and then goes to its queue. While one waits,
    /// further runs are skipped.
    QueueOne,
}

/// Which of the ticks that no node was there for are made up for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// None.
    None,
    /// The last one, whose job learns [how many](super::tick::Tick::missed) there were. The
    /// default.
    #[default]
    Last,
    /// Each, which needs [`Overlap::Allow`].
    All,
}

impl Periodic {
    /// The longest delay without [`within`](Self::within): an hour.
    pub const WITHIN: Duration = Duration::from_secs(3_600);

    /// An entry that is due by a cron expression. The crate `verk-cron` has its form.
    #[must_use]
    pub const fn cron(
        name: &'static str,
        expression: &'static str,
        zone: &'static str,
        args: fn() -> Result<String, ArgsError>,
    ) -> Self {
        Self::at(name, Timing::Cron { expression, zone }, args)
    }

    /// An entry that is due once a period of 1 second to 366 days, in whole seconds.
    #[must_use]
    pub const fn every(
        name: &'static str,
        period: Duration,
        args: fn() -> Result<String, ArgsError>,
    ) -> Self {
        Self::at(name, Timing::Every(period), args)
    }

    const fn at(
        name: &'static str,
        timing: Timing,
        args: fn() -> Result<String, ArgsError>,
    ) -> Self {
        Self {
            name,
            timing,
            overlap: Overlap::Skip,
            catch_up: CatchUp::Last,
            within: Self::WITHIN,
            splay: Duration::ZERO,
            args,
        }
    }

    /// Sets what happens while the last job waits or runs.
    #[must_use]
    pub const fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// Sets what is made up for.
    #[must_use]
    pub const fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.catch_up = catch_up;
        self
    }

    /// Sets how late a job may be.
    #[must_use]
    pub const fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Sets by how much jobs are spread.
    #[must_use]
    pub const fn splay(mut self, splay: Duration) -> Self {
        self.splay = splay;
        self
    }
}
