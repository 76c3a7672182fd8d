//! The time of day of the storage, which decides when jobs are due.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::{Mutex, MutexGuard};

use crate::{
    log,
    time::clock::{Clock, rfc3339},
};

/// The time of day of the storage, as the last measurement found it.
#[derive(Debug)]
pub(crate) struct ServerTime {
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Measurement>>,
}

/// One measurement of the storage's time of day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measurement {
    /// The storage's answer, and when it was given.
    server: SystemTime,
    at: Instant,
    /// The time of day here, at that moment.
    here: SystemTime,
}

/// When a request was sent, by both clocks of this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockReading {
    at: Instant,
    here: SystemTime,
}

impl ClockReading {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self {
            at: clock.instant(),
            here: clock.now(),
        }
    }
}

impl ServerTime {
    /// Nothing is measured yet: the time of day is that of `clock`.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            last: Mutex::new(None),
        }
    }

    /// The clock of this node.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Records that the storage just answered a request with the time `server`.
    ///
    /// Returns the time of day here if an operator should know it: the clocks differ by more than a
    /// second, and did not before.
    #[must_use]
    pub(crate) fn measure(&self, server: SystemTime, asked: ClockReading) -> Option<SystemTime> {
        let measured = self
            .confirmed(server, asked)
            .unwrap_or_else(|| Measurement::new(server, asked, self.clock()));
        let before = self.last().replace(measured);
        let was_skewed = before.is_some_and(|before| before.skew_ms().is_some());
        if was_skewed || measured.skew_ms().is_none() {
            return None;
        }
        log::warn!(
            here = %rfc3339(measured.here),
            storage = %rfc3339(server),
            "this machine's clock and the storage's differ by more than a second; due times follow the storage's"
        );
        Some(measured.here)
    }

    /// Keeps the previous estimate if this reply is consistent with it: the server read its clock
    /// between our send and our receive. A slow reply proves no more than that.
    fn confirmed(&self, server: SystemTime, asked: ClockReading) -> Option<Measurement> {
        let last = *self.last();
        let known = last.map_or(asked.here, |last| last.at(asked.at, || asked.here));
        let took = self.clock.instant().saturating_duration_since(asked.at);
        let passed = server.duration_since(known).ok()?;
        (passed <= took).then_some(Measurement {
            server: known,
            at: asked.at,
            here: asked.here,
        })
    }

    /// The time of day of the storage at a moment that the clock has just returned, as far as this
    /// node knows it.
    pub(crate) fn at(&self, instant: Instant) -> SystemTime {
        let (last, here) = (*self.last(), || self.clock.now());
        last.map_or_else(here, |last| last.at(instant, here))
    }

    fn last(&self) -> MutexGuard<'_, Option<Measurement>> {
        self.last.lock()
    }
}

impl Measurement {
    /// For how long a measurement is extrapolated by the monotonic clock, which a jump of the time
    /// of day does not change. An older one is extrapolated by the time of day, which a suspended
    /// machine does not stop.
    const FRESH: Duration = Duration::from_secs(60);

    /// The storage just answered a request with the time `server`.
    pub(crate) fn new(server: SystemTime, asked: ClockReading, clock: &dyn Clock) -> Self {
        let half = clock.instant().saturating_duration_since(asked.at) / 2;
        Self {
            server,
            at: asked.at + half,
            here: asked.here + half,
        }
    }

    /// The time of day of the storage at `instant`, which is `here` for this node.
    fn at(&self, instant: Instant, here: impl FnOnce() -> SystemTime) -> SystemTime {
        let age = instant.saturating_duration_since(self.at);
        if age <= Self::FRESH {
            return self.server + age;
        }
        match here().duration_since(self.here) {
            Ok(passed) => self.server + passed,
            Err(turned_back) => self.server - turned_back.duration(),
        }
    }

    /// By how many milliseconds the storage is ahead of this node, if an operator should know it.
    pub(crate) fn skew_ms(&self) -> Option<i64> {
        let (apart, sign) = match self.server.duration_since(self.here) {
            Ok(ahead) => (ahead, 1),
            Err(behind) => (behind.duration(), -1),
        };
        let ms = i64::try_from(apart.as_millis()).unwrap_or(i64::MAX);
        (apart > SKEW).then_some(sign * ms)
    }
}

/// The largest difference that an operator need not know.
const SKEW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use futures_util::future::BoxFuture;

    use super::*;

    use crate::time::clock::SystemClock;

    /// Both clocks of a node, set by a test.
    #[derive(Debug)]
    struct Clocks {
        start: Instant,
        passed: Mutex<(Duration, SystemTime)>,
    }

    impl Clocks {
        /// Clocks that show 100 seconds, and the time of a storage that was not measured.
        fn new() -> (ServerTime, Arc<Self>) {
            let clocks = Arc::new(Self {
                start: SystemClock.instant(),
                passed: Mutex::new((Duration::ZERO, at(100))),
            });
            (ServerTime::new(Arc::clone(&clocks) as _), clocks)
        }

        fn set(&self, passed: u64, here: SystemTime) {
            *self.passed.lock() = (Duration::from_secs(passed), here);
        }
    }

    impl Clock for Clocks {
        fn now(&self) -> SystemTime {
            self.passed.lock().1
        }

        fn instant(&self) -> Instant {
            self.start + self.passed.lock().0
        }

        fn sleep_until(&self, _: Instant) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn measure(time: &ServerTime, clocks: &Clocks, server: SystemTime) -> bool {
        time.measure(server, ClockReading::now(clocks)).is_some()
    }

    #[test]
    fn time_follows_the_server_in_both_directions() {
        let (time, clocks) = Clocks::new();
        assert_eq!(time.at(clocks.instant()), at(100), "nothing is known");
        for server in [at(103), at(97)] {
            measure(&time, &clocks, server);
            assert_eq!(time.at(clocks.instant()), server);
        }
    }

    #[test]
    fn the_server_answered_half_way() {
        let (time, clocks) = Clocks::new();
        let asked = ClockReading::now(&*clocks);
        clocks.set(4, at(104));
        let _ = time.measure(at(500), asked);
        assert_eq!(time.at(clocks.instant()), at(502));
    }

    #[test]
    fn an_answer_that_took_long_changes_nothing_that_it_agrees_with() {
        let (time, clocks) = Clocks::new();
        let answer = |server, took| {
            let (asked, passed) = (ClockReading::now(&*clocks), clocks.passed.lock().0);
            let passed = passed.as_secs() + took;
            clocks.set(passed, at(100 + passed));
            assert!(time.measure(server, asked).is_none());
            time.at(clocks.instant())
        };
        assert_eq!(answer(at(100), 4), at(104), "as here, at the latest");
        assert_eq!(answer(at(108), 4), at(108), "as here, at the earliest");
        assert_eq!(answer(at(109), 0), at(109), "a second ahead");
        assert_eq!(answer(at(109), 4), at(113), "a second ahead, still");
        assert_eq!(answer(at(112), 2), at(113), "not ahead any more");
    }

    #[test]
    fn a_jump_of_the_clock_between_two_measurements_changes_nothing() {
        let (time, clocks) = Clocks::new();
        measure(&time, &clocks, at(100));
        clocks.set(10, at(20_000));
        assert_eq!(time.at(clocks.instant()), at(110));
    }

    #[test]
    fn an_old_measurement_goes_on_by_the_time_of_day() {
        let (time, clocks) = Clocks::new();
        measure(&time, &clocks, at(200));
        // The machine slept for a day, which the monotonic clock did not count.
        clocks.set(61, at(86_500));
        assert_eq!(time.at(clocks.instant()), at(86_600));
        clocks.set(61, at(90));
        assert_eq!(time.at(clocks.instant()), at(190));
    }

    #[test]
    fn a_skew_is_told_when_it_begins() {
        let (time, clocks) = Clocks::new();
        for (server, told) in [
            (101, false),
            (102, true),
            (105, false),
            (100, false),
            (98, true),
        ] {
            assert_eq!(measure(&time, &clocks, at(server)), told, "{server}");
        }
    }
}
