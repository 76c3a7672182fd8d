//! How a user reads the state of a node: its statistics, events, health.

use crate::{
    events::Events,
    health::{Health, Reason, monitor},
    stats::{self, LiveStats},
    verk::{
        Verk,
        parts::{CellParts, Parts},
    },
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
        self.inner.parts.first().services.events.subscribe()
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
        let Parts {
            essentials, cells, ..
        } = &self.inner.parts;
        let heartbeat = essentials.config.heartbeat;
        let now = essentials.clock.instant();
        let waits = self.inner.registrations.lock().is_some();
        let has_queues = !essentials.config.queues.is_empty();
        let stops = self.inner.stop.is_cancelled();
        let mut reasons = Vec::new();
        if stops {
            reasons.push(Reason::Stopping);
        } else if waits {
            reasons.push(Reason::NotStarted);
        } else if has_queues && self.inner.supervisor.is_empty() {
            reasons.push(Reason::SupervisorEnded);
        }
        let of_cell = |cell: &CellParts| {
            let monitor = &cell.services.monitor;
            let mut reasons = Vec::new();
            if !stops && has_queues {
                reasons.extend(monitor.of_node(&*essentials.clock, heartbeat));
                if !waits {
                    reasons.extend(cell.queues.reasons());
                }
            }
            reasons.extend(monitor.of_parts(now));
            reasons
        };
        let enqueue = monitor::of_enqueues(&essentials.enqueues, now, heartbeat);
        Health::new(reasons, enqueue, cells.iter().map(of_cell).collect())
    }
}
