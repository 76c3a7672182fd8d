//! The statistics of all programs together, and the waiting jobs.

use super::Admin;
use crate::{
    error::StorageError,
    stats::{self, Stats},
    storage::DayStats,
    time::calendar::Day,
};

/// # Statistics
impl Admin {
    /// Reads what was processed so far, by queue and in total, and what waits, in few round trips.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// let verk = Verk::builder().storage(MemoryStorage::default()).queue("default", 25).build().await?;
    /// let stats = verk.admin().stats().await?;
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
        stats::read(self.storage(), self.now(), self.queues_of_node()).await
    }

    /// Reads how many runs ended, and failed, on one day.
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

    /// Reads the statistics of the last `days` days: today (in UTC) first, with every day. They are
    /// kept for 5 years.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn stats_history(&self, days: usize) -> Result<Vec<DayStats>, StorageError> {
        stats::history(self.storage(), self.now(), days).await
    }
}
