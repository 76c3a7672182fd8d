//! When two jobs are the same, and what follows: [`Unique`].

use std::time::Duration;

/// Makes a job unique: while one job holds the lock, no second one with the same arguments is
/// stored.
///
/// `#[verk::worker(unique(..))]` has the same options.
///
/// ```
/// use std::time::Duration;
/// use verk_core::{OnConflict, Unique, Until};
///
/// // At most one job for each first argument until it is done or dead; a newer one replaces it.
/// const BY_USER: Unique = Unique::new().by(&[0]).on_conflict(OnConflict::Replace);
///
/// // At most one job in an hour.
/// const HOURLY: Unique = Unique::new().throttle(Duration::from_secs(3600));
/// # assert_ne!(BY_USER, HOURLY);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unique {
    pub(crate) by: By,
    pub(crate) until: Until,
    pub(crate) on_conflict: OnConflict,
    pub(crate) hold_when_dead: Option<Duration>,
    pub(crate) across_queues: bool,
    pub(crate) debounce: Option<Duration>,
    pub(crate) max_wait: Option<Duration>,
}

/// Which arguments make two jobs the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    All,
    /// Those at these places, from 0.
    Places(&'static [usize]),
}

/// Until when a job holds its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until it starts for the first time. This costs a round trip before each run.
    Start,
    /// Until it succeeds, is discarded or deleted, or dies. The default.
    Done,
    /// For a time, counted from the enqueue, whatever happens to the job. A deletion frees it, too.
    Time(Duration),
    /// As [`Done`](Self::Done), but for this time at most, counted from the enqueue. For a class
    /// that other programs run, too, because they do not free the lock.
    DoneOr(Duration),
}

/// What an enqueue does while another job holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Stores nothing, and returns the job that holds the lock. The default.
    Skip,
    /// Fails, and stores nothing.
    Error,
    /// Discards the other job and takes its place, if that job is in the `schedule` or `retry` set,
    /// or among the newest 10 000 of its queue. It does not replace a running or dead job: as
    /// `Skip`.
    Replace,
    /// Waits until the other job is done if that job is in its queue or runs, and replaces a job
    /// that waited before. A job in a set is replaced as with `Replace`. So the newest arguments
    /// always run, and two jobs never run at once.
    ///
    /// No job waits for a lock that has a time, as with [`Until::Time`] and [`Until::DoneOr`]: then
    /// as `Skip`.
    KeepLast,
}

impl Unique {
    /// One job for all arguments, until it is done; others are skipped.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            by: By::All,
            until: Until::Done,
            on_conflict: OnConflict::Skip,
            hold_when_dead: None,
            across_queues: false,
            debounce: None,
            max_wait: None,
        }
    }

    /// Compares only the arguments at these places, the first is 0. With none of them, all jobs of
    /// the class are the same. Defaults to all arguments.
    #[must_use]
    pub const fn by(mut self, places: &'static [usize]) -> Self {
        self.by = By::Places(places);
        self
    }

    /// Sets until when a job holds its lock. Defaults to [`Until::Done`].
    #[must_use]
    pub const fn until(mut self, until: Until) -> Self {
        self.until = until;
        self
    }

    /// Sets what an enqueue does while another job holds the lock. Defaults to
    /// [`OnConflict::Skip`].
    #[must_use]
    pub const fn on_conflict(mut self, on_conflict: OnConflict) -> Self {
        self.on_conflict = on_conflict;
        self
    }

    /// A job that died keeps its lock for this time. By default, death frees it.
    #[must_use]
    pub const fn hold_when_dead(mut self, lasts: Duration) -> Self {
        self.hold_when_dead = Some(lasts);
        self
    }

    /// Jobs in different queues can be the same, too. By default, each queue has its own locks.
    #[must_use]
    pub const fn across_queues(mut self) -> Self {
        self.across_queues = true;
        self
    }

    /// Runs the job this long after the last enqueue: it waits in the `schedule` set, and each
    /// further enqueue replaces it and starts the wait again. A job that is due is free: the next
    /// enqueue starts a new wait, so the newest arguments always run.
    ///
    /// An endless stream delays it forever, unless there is a [`max_wait`](Self::max_wait).
    #[must_use]
    pub const fn debounce(mut self, wait: Duration) -> Self {
        self.debounce = Some(wait);
        self
    }

    /// Sets how long after the first enqueue a debounced job runs at the latest.
    #[must_use]
    pub const fn max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = Some(max_wait);
        self
    }

    /// Stores at most one job in this time: the first. The same as [`Until::Time`] and
    /// [`OnConflict::Skip`].
    #[must_use]
    pub const fn throttle(self, time: Duration) -> Self {
        self.until(Until::Time(time)).on_conflict(OnConflict::Skip)
    }
}

impl Default for Unique {
    fn default() -> Self {
        Self::new()
    }
}
