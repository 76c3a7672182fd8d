//! The services that every part of a node uses: [`Services`].

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

/// The services that every part of a node uses. They know none of the parts.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Config,
    pub(crate) events: EventSender,
    pub(crate) tallies: Arc<Tallies>,
    pub(crate) wake: ScheduleWake,
    /// Notified when a fetch finds its queue paused for all nodes, and this node does not know it
    /// yet.
    pub(crate) found_paused: Notify,
    pub(crate) server_time: Arc<ServerTime>,
    pub(crate) monitor: Monitor,
    /// Present in a test: see [`VerkBuilder::for_test`](crate::VerkBuilder::for_test).
    pub(crate) test: Option<TestParts>,
}

impl Services {
    /// The time of day of the storage, as far as this node knows it. It decides when jobs are due.
    pub(crate) fn now(&self) -> SystemTime {
        self.at(self.clock.instant())
    }

    /// As [`Self::now`], for a moment that the clock has just returned.
    pub(crate) fn at(&self, instant: Instant) -> SystemTime {
        self.server_time.at(instant, &*self.clock)
    }
}
