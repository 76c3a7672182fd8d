//! The counts of all cells.

use async_trait::async_trait;

use super::{Fleet, of_a_node, sums};
use crate::{
    error::StorageError,
    names::{NodeId, QueueName},
    storage::{
        DayStats, ExecutionStep, Histogram, Minute, StatsReport, StatsStore, StoredExecutions,
        StoredStats,
    },
    time::calendar::Day,
};

/// Nodes report to one cell each, so every count is the sum of those of the cells.
#[async_trait]
impl StatsStore for Fleet {
    async fn record_stats(
        &self,
        _node: &NodeId,
        _sequence: u64,
        _report: &StatsReport,
    ) -> Result<bool, StorageError> {
        of_a_node("record statistics")
    }

    /// If a queue has jobs in several cells, its oldest is that which was enqueued first.
    async fn stats(&self, queues: &[QueueName]) -> Result<StoredStats, StorageError> {
        let all = self.all(|cell| cell.stats(queues)).await?;
        Ok(all.into_iter().reduce(sums::stats).unwrap_or_default())
    }

    async fn day_stats(&self, days: &[Day]) -> Result<Vec<DayStats>, StorageError> {
        Ok(sums::each(
            self.all(|cell| cell.day_stats(days)).await?,
            |sum, more| {
                sum.processed = sum.processed.saturating_add(more.processed);
                sum.failed = sum.failed.saturating_add(more.failed);
            },
        ))
    }

    async fn executions(
        &self,
        step: ExecutionStep,
        times: &[Minute],
        class: Option<&str>,
    ) -> Result<Vec<StoredExecutions>, StorageError> {
        let all = self.all(|cell| cell.executions(step, times, class)).await?;
        Ok(sums::each(all, sums::executions))
    }

    async fn histograms(
        &self,
        class: &str,
        minutes: &[Minute],
    ) -> Result<Vec<Histogram>, StorageError> {
        let all = self.all(|cell| cell.histograms(class, minutes)).await?;
        Ok(sums::each(all, |sum, more| {
            for (bucket, more) in sum.iter_mut().zip(more) {
                *bucket = bucket.saturating_add(more);
            }
        }))
    }
}
