//! How often a run is polled, and whether it keeps its thread.
//!
//! A run only counts its polls, before and after each one. A thread that no job can block reads
//! that count twice, and so finds a poll that takes long. So a run reads no clock for it.

use std::sync::atomic::{AtomicU32, Ordering};

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
}
