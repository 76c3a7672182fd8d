//! How a user reads the state of a node: its statistics, events, health.

use crate::{
    events::Events,
    health::{Health, Reason},
    stats::{self, LiveStats},
    verk::Verk,
};

impl Verk {
    /// Returns what this node processed since it was built, and how much runs now. It sends nothing
    /// to the storage.
    ///
    /// [`Admin::stats`](crate::manage::Admin::stats) has the lifetime totals of all programs.
    #[must_use]
    pub fn live_stats(&self) -> LiveStats {
        stats::live(&self.inner.parts.live, &self.inner.parts.queues)
    }

    /// Subscribes to the events from now on, all or selected ones.
    pub fn events(&self) -> Events {
        self.services().events.subscribe()
    }

    /// Returns the health of this node, for probes. It sends nothing to the storage: the parts of
    /// the node have noted what they saw last.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use verk_core::{health::Reason, Verk};
    /// # use verk_testing::MemoryStorage;
    ///
    /// let verk = Verk::builder().storage(MemoryStorage::default()).queue("default", 25).build().await?;
    /// let health = verk.health();
    /// assert!(health.live && !health.ready);
    /// assert_eq!(health.reasons, [Reason::NotStarted]);
    /// # verk.shutdown().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn health(&self) -> Health {
        let services = self.services();
        let heartbeat = services.config.heartbeat;
        let waits = self.inner.registration.lock().is_some();
        let mut reasons = Vec::new();
        if self.inner.stop.is_cancelled() {
            reasons.push(Reason::Stopping);
        } else if waits {
            reasons.push(Reason::NotStarted);
            reasons.extend(services.monitor.of_node(&*services.clock, heartbeat));
        } else if !services.config.queues.is_empty() {
            if self.inner.supervisor.is_empty() {
                reasons.push(Reason::SupervisorEnded);
            }
            reasons.extend(services.monitor.of_node(&*services.clock, heartbeat));
            reasons.extend(self.inner.parts.queues.reasons());
        }
        reasons.extend(
            services
                .monitor
                .of_parts(services.clock.instant(), heartbeat),
        );
        Health::new(reasons)
    }
}
