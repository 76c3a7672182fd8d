//! What all managers of one Verk share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::sync::Notify;

use crate::{
    client::Client, clock::Clock, config::Config, context::StateMap, event::Event,
    events::EventSender, health::Monitor, middleware::ServerStack, queues::Queues,
    registry::Registry, schedule_manager::ScheduleWake, storage::Storage, test_seam::TestParts,
};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Config,
    /// The queues to run: those of the configuration, and what became of them.
    pub(crate) queues: Arc<Queues>,
    pub(crate) registry: Registry,
    pub(crate) state: Arc<StateMap>,
    pub(crate) middleware: ServerStack,
    pub(crate) client: Client,
    pub(crate) events: EventSender,
    pub(crate) wake: ScheduleWake,
    /// Notified when a fetch finds its queue paused for all nodes, and this node does not know.
    pub(crate) found_paused: Notify,
    pub(crate) offset: Arc<ServerOffset>,
    pub(crate) monitor: Monitor,
    /// Present in a test: see [`VerkBuilder::for_test`](crate::VerkBuilder::for_test).
    pub(crate) test: Option<TestParts>,
}

impl Shared {
    /// The time of day of the storage, as far as this node knows. All due times are judged by it.
    pub(crate) fn now(&self) -> SystemTime {
        self.offset.correct(self.clock.now())
    }
}

/// By how much the storage's clock is ahead of this node's.
#[derive(Debug, Default)]
pub(crate) struct ServerOffset(AtomicI64);

impl ServerOffset {
    /// A difference that is worth an operator's attention.
    const SKEW: Duration = Duration::from_secs(1);

    /// Records that the storage said `server` to a question that was sent and answered at these times of this node.
    ///
    /// Returns what is worth an operator's attention: that they differ by more than a second, and did not before.
    #[must_use]
    pub(crate) fn measure(
        &self,
        server: SystemTime,
        sent: SystemTime,
        answered: SystemTime,
    ) -> Option<Event> {
        let here = sent + answered.duration_since(sent).unwrap_or_default() / 2;
        let micros = match server.duration_since(here) {
            Ok(ahead) => micros(ahead),
            Err(error) => -micros(error.duration()),
        };
        let before = self.0.swap(micros, Ordering::Relaxed);
        let skewed = |micros: i64| Duration::from_micros(micros.unsigned_abs()) > Self::SKEW;
        if !skewed(micros) || skewed(before) {
            return None;
        }
        tracing::warn!(
            offset_us = micros,
            "this machine's clock and the storage's differ by more than a second; due times follow the storage's"
        );
        Some(Event::ClockSkewed {
            here,
            storage: server,
        })
    }

    pub(crate) fn correct(&self, local: SystemTime) -> SystemTime {
        let micros = self.0.load(Ordering::Relaxed);
        let offset = Duration::from_micros(micros.unsigned_abs());
        if micros < 0 {
            local - offset
        } else {
            local + offset
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The pause before the n-th try (from 1) of something that failed: 100 ms, doubled each time, at most 5 s.
pub(crate) fn pause_before_retry(tries: u32) -> Duration {
    Duration::from_millis(100)
        .saturating_mul(1 << tries.saturating_sub(1).min(6))
        .min(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn time_follows_the_server_in_both_directions() {
        let (early, late) = (
            UNIX_EPOCH + Duration::from_secs(10),
            UNIX_EPOCH + Duration::from_secs(13),
        );
        let offset = ServerOffset::default();
        let _ = offset.measure(late, early, early);
        assert_eq!(offset.correct(early), late);
        let _ = offset.measure(early, late, late);
        assert_eq!(offset.correct(late), early);
    }

    #[test]
    fn a_skew_is_told_when_it_begins() {
        let time = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let offset = ServerOffset::default();
        for (server, told) in [
            (11_000, false),
            (11_001, true),
            (15_000, false),
            (10_500, false),
            (8_999, true),
        ] {
            let event = offset.measure(time(server), time(9_000), time(11_000));
            assert_eq!(event.is_some(), told, "{server}");
        }
    }
}
