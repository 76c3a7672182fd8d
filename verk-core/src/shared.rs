//! What all managers of one Verk share.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::sync::Notify;

use crate::{
    client::Client,
    config::Config,
    events::EventSender,
    health::monitor::Monitor,
    queues::Queues,
    stats::counters::LiveCounters,
    storage::Storage,
    test_seam::TestParts,
    time::{alarm::ScheduleWake, clock::Clock, server_time::ServerTime},
    worker::{context::StateMap, middleware::ServerStack, registry::Registry},
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
    pub(crate) server_time: Arc<ServerTime>,
    pub(crate) monitor: Monitor,
    /// What was counted since this Verk was built.
    pub(crate) live: LiveCounters,
    /// Present in a test: see [`VerkBuilder::for_test`](crate::VerkBuilder::for_test).
    pub(crate) test: Option<TestParts>,
}

impl Shared {
    /// The time of day of the storage, as far as this node knows. All due times are judged by it.
    pub(crate) fn now(&self) -> SystemTime {
        self.at(self.clock.instant())
    }

    /// As [`Self::now`], for a moment that the clock told just now.
    pub(crate) fn at(&self, instant: Instant) -> SystemTime {
        self.server_time.at(instant, &*self.clock)
    }
}
