//! What a user reads of a node and of its storage: statistics, health, events.

use std::sync::PoisonError;

use crate::{
    error::StorageError,
    events::Events,
    health::{Health, Reason},
    node::foreign,
    stats::{self, LiveStats, Stats},
    storage::{DayStats, ForeignList},
    time::calendar::Day,
    verk::Verk,
};

impl Verk {
    /// What was processed so far, by queue and in all, and what waits: read from the storage in few round trips.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// let verk = Verk::builder().storage(MemoryStorage::default()).queue("default", 25).build().await?;
    /// let stats = verk.stats().await?;
    /// assert_eq!((stats.processed, stats.failed, stats.enqueued()), (0, 0, 0));
    /// for queue in &stats.queues {
    ///     println!("{}: {} wait, the oldest for {:?}", queue.queue, queue.enqueued, queue.latency);
    /// }
    /// # verk.shutdown().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails, or a counter is no number.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn stats(&self) -> Result<Stats, StorageError> {
        stats::read(self.services(), &self.inner.parts.queues).await
    }

    /// What this node processed since it was built, and how much runs now. Asks nobody.
    ///
    /// [`stats`](Self::stats) has the lifetime totals of all programs.
    #[must_use]
    pub fn live_stats(&self) -> LiveStats {
        stats::live(&self.inner.parts.live, &self.inner.parts.queues)
    }

    /// What was processed on one day.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn stats_of_day(&self, day: Day) -> Result<DayStats, StorageError> {
        let stats = self.storage().day_stats(&[day]).await?;
        Ok(stats
            .into_iter()
            .next()
            .unwrap_or_else(|| DayStats::new(day, 0, 0)))
    }

    /// What was processed on the last `days` days: today (in UTC) first, no day left out. They are kept for 5 years.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn stats_history(&self, days: usize) -> Result<Vec<DayStats>, StorageError> {
        let services = self.services();
        stats::history(&*services.storage, services.now(), days).await
    }

    /// The `inprogress` lists of nodes that are not registered, by name: those of an Elixir Verk with a fixed node id that is down, or strays.
    /// Nobody restores their jobs, since nobody knows whether that node lives. A node that starts warns of them once.
    ///
    /// Looks through all keys of the storage, in small steps.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// for list in verk.foreign_lists().await? {
    ///     println!("{} holds {} jobs", list.key, list.jobs);
    /// }
    /// assert!(verk.foreign_lists().await?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn foreign_lists(&self) -> Result<Vec<ForeignList>, StorageError> {
        let (lists, _) = foreign::read(&**self.storage(), usize::MAX).await?;
        Ok(lists)
    }

    /// What happens from now on: all of it, or what is selected.
    pub fn events(&self) -> Events {
        self.services().events.subscribe()
    }

    /// How this node is, for the probes of whatever runs the process. Asks nobody: what the parts of the node saw last is
    /// enough.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use verk_core::{Reason, Verk};
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
        let registration = self.inner.registration.lock();
        let waits = registration
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
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
