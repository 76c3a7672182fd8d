//! What every part of a node works with: [`Services`].

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::sync::Notify;

use crate::{
    config::Config,
    events::{EventSender, tally::Tallies},
    health::monitor::Monitor,
    storage::Storage,
    test_seam::TestParts,
    time::{alarm::ScheduleWake, clock::Clock, server_time::ServerTime},
};

/// What every part of a node works with. It knows none of them.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Config,
    pub(crate) events: EventSender,
    pub(crate) tallies: Arc<Tallies>,
    pub(crate) wake: ScheduleWake,
    /// Notified when a fetch finds its queue paused for all nodes, and this node does not know.
    pub(crate) found_paused: Notify,
    pub(crate) server_time: Arc<ServerTime>,
    pub(crate) monitor: Monitor,
    /// Present in a test: see [`VerkBuilder::for_test`](crate::VerkBuilder::for_test).
    pub(crate) test: Option<TestParts>,
}

impl Services {
    /// The time of day of the storage, as far as this node knows. All due times are judged by it.
    pub(crate) fn now(&self) -> SystemTime {
        self.at(self.clock.instant())
    }

    /// As [`Self::now`], for a moment that the clock told just now.
    pub(crate) fn at(&self, instant: Instant) -> SystemTime {
        self.server_time.at(instant, &*self.clock)
    }
}
