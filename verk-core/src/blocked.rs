//! Finds jobs that keep their thread: such a job holds up whatever else waits for that thread.
//!
//! A run only counts its polls, before and after each one. Whether a poll takes long is found by
//! looking at that count twice, from a thread that no job can keep. So a run reads no clock for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{
    clock::{Clock, SystemClock},
    log,
    queues::Run,
    shared::Shared,
};

/// How long a poll takes at least that is reported. One that takes less than twice as long may be missed.
const TOO_LONG: Duration = Duration::from_secs(1);

/// How often a run was polled: odd while it is. Only the task of the run changes it.
#[derive(Debug, Default)]
pub(crate) struct Polls(AtomicU32);

impl Polls {
    /// Counts a poll, which must not panic. Two plain stores: nobody else writes, and whoever reads
    /// needs no order.
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
    /// Looks again. Whether the run is in the same poll as at the last look, which nobody was told yet.
    pub(crate) fn look(&mut self, polls: &Polls) -> bool {
        let polls = polls.0.load(Ordering::Relaxed);
        let is_polled = polls % 2 == 1;
        let is_new = is_polled && polls == self.polls && !self.is_reported;
        self.polls = polls;
        self.is_reported |= is_new;
        is_new
    }
}

/// Looks at what runs, again and again, and warns of each run that keeps its thread, once. Does not end.
pub(crate) async fn watch(shared: Arc<Shared>) {
    // In real time, whatever the clock of a test says: so is the thread kept.
    let clock: &dyn Clock = &SystemClock;
    loop {
        clock.sleep(TOO_LONG).await;
        for Run { job, queue, .. } in shared.queues.blocked() {
            log::warn!(
                target: "verk::job",
                class = job.class(),
                jid = %job.jid(),
                %queue,
                attempt = job.failures().saturating_add(1),
                "a job keeps its thread for over a second without an `.await`, and holds up others: use `tokio::task::spawn_blocking`"
            );
        }
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
