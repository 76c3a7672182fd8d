//! How often a run is polled, and whether it keeps its thread.
//!
//! A run only counts its polls, before and after each one. A thread that no job can block reads
//! that count twice, and so finds a poll that takes long. So a run reads no clock for it.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// How often a run was polled: odd during a poll. Only the task of the run changes it.
#[derive(Debug, Default)]
pub(crate) struct Polls(AtomicU32);

impl Polls {
    /// Counts a poll, which must not panic. These are two plain stores: nothing else writes, and
    /// readers need no order.
    pub(crate) fn during<T>(&self, poll: impl FnOnce() -> T) -> T {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(1), Ordering::Relaxed);
        let polled = poll();
        self.0.store(before.wrapping_add(2), Ordering::Relaxed);
        polled
    }
}

/// How long the recent runs of a class kept their thread: a moving average, in nanoseconds; 0 while
/// none ran. Threads that write at the same time may lose a time, which the next ones make up for.
#[derive(Debug, Default)]
pub(crate) struct PollTime(AtomicU32);

impl PollTime {
    /// A poll that takes longer is not worth holding up others: a task of its own costs less than a
    /// tenth of it.
    const SHORT: Duration = Duration::from_micros(20);

    /// A request takes about so long, at least. One job after a pause takes longer than one of
    /// many: its code and its data are in no cache.
    const TRIP: Duration = Duration::from_micros(100);

    /// The weight of the last time is one divided by this.
    const MEMORY: u32 = 8;

    /// A run took so long; if it waited, with the time that it waited.
    pub(crate) fn took(&self, took: Duration) {
        let took = u32::try_from(took.as_nanos()).unwrap_or(u32::MAX).max(1);
        let average = match self.0.load(Ordering::Relaxed) {
            0 => took,
            average => average - average / Self::MEMORY + took / Self::MEMORY,
        };
        self.0.store(average.max(1), Ordering::Relaxed);
    }

    /// Whether runs of the class end at once.
    pub(crate) fn is_short(&self) -> bool {
        self.is_at_most(Self::SHORT)
    }

    /// Whether runs of the class end while a request goes to the storage and back.
    pub(crate) fn ends_within_a_trip(&self) -> bool {
        self.is_at_most(Self::TRIP)
    }

    fn is_at_most(&self, most: Duration) -> bool {
        let average = self.0.load(Ordering::Relaxed);
        average > 0 && Duration::from_nanos(average.into()) <= most
    }
}

/// What was seen of a run's polls.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    polls: u32,
    is_reported: bool,
}

impl Seen {
    /// Reads the count again. Returns whether the run is in the same poll as at the last call, if
    /// that is not yet reported.
    pub(crate) fn look(&mut self, polls: &Polls) -> bool {
        let polls = polls.0.load(Ordering::Relaxed);
        let is_polled = polls % 2 == 1;
        let is_new = is_polled && polls == self.polls && !self.is_reported;
        self.polls = polls;
        self.is_reported |= is_new;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_that_is_seen_twice_is_reported_once() {
        let (polls, mut seen) = (Polls::default(), Seen::default());
        assert!(!seen.look(&polls), "it was not polled yet");
        polls.during(|| {
            assert!(!seen.look(&polls), "it may have begun just now");
            assert!(seen.look(&polls));
            assert!(!seen.look(&polls));
        });
        polls.during(|| {
            assert!(!seen.look(&polls));
            assert!(!seen.look(&polls), "once for each run");
        });
    }

    #[test]
    fn a_run_that_waits_or_is_polled_often_is_not_reported() {
        let (polls, mut seen) = (Polls::default(), Seen::default());
        for _ in 0..3 {
            polls.during(|| assert!(!seen.look(&polls)));
            assert!(!seen.look(&polls), "it waits");
            assert!(!seen.look(&polls), "it waits");
        }
    }

    #[test]
    fn a_class_is_short_while_its_recent_runs_were() {
        let (recent, us) = (PollTime::default(), Duration::from_micros);
        assert!(!recent.is_short(), "none ran yet");
        recent.took(us(2));
        assert!(recent.is_short());
        // The system took the thread away once.
        recent.took(us(4_000));
        assert!(!recent.is_short());
        (0..30).for_each(|_| recent.took(us(2)));
        assert!(recent.is_short());
        (0..30).for_each(|_| recent.took(us(25)));
        assert!(!recent.is_short());
        recent.took(Duration::MAX);
        assert!(!recent.is_short());
        (0..200).for_each(|_| recent.took(Duration::ZERO));
        assert!(recent.is_short(), "as with a clock that stands still");
    }
}
