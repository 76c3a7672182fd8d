//! Enqueues, and the jobs that nodes hold.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join_all;

use super::{Fleet, joined, of_a_node, step_of_a_node};
use crate::{
    error::StorageError,
    names::{NodeId, QueueName},
    storage::{
        DeadLimits, Due, DuePage, DueSet, DueStore, HeldCount, Inprogress, JobStore, Page,
        QueueConnection, SchedulePoll, Settled, Settlement,
    },
};

#[async_trait]
impl JobStore for Fleet {
    async fn enqueue(&self, queue: &QueueName, jobs: &[Bytes]) -> Result<(), StorageError> {
        let cell = self.cells.of(queue);
        self.at(cell, |cell| cell.enqueue(queue, jobs)).await
    }

    /// Each job goes to the cell of its queue, all or none in each cell, and one cell after
    /// another. It ends at the first error, which is `NotApplied` only if no cell stored a job.
    async fn schedule(&self, jobs: &[Due]) -> Result<usize, StorageError> {
        let mut by_cell: BTreeMap<usize, Vec<Due>> = BTreeMap::new();
        for due in jobs {
            let cell = self.of_payload(&due.job);
            by_cell.entry(cell).or_default().push(due.clone());
        }
        let mut answers = Vec::with_capacity(by_cell.len());
        for (cell, jobs) in by_cell {
            let merged = self.at(cell, |cell| cell.schedule(&jobs)).await;
            let is_failed = merged.is_err();
            answers.push(merged);
            if is_failed {
                break;
            }
        }
        Ok(joined(answers)?.into_iter().sum())
    }

    async fn open_queue(
        &self,
        _inprogress: &Inprogress,
    ) -> Result<Box<dyn QueueConnection>, StorageError> {
        of_a_node("open a queue")
    }

    async fn settle(&self, _inprogress: &Inprogress, settlements: &[Settlement]) -> Vec<Settled> {
        vec![Settled::Failed(step_of_a_node("settle a job")); settlements.len()]
    }

    async fn inprogress(
        &self,
        inprogress: &Inprogress,
        page: Page,
    ) -> Result<Vec<Bytes>, StorageError> {
        let Page { mut offset, limit } = page;
        let homes = self.homes(&inprogress.node);
        for (number, &home) in homes.iter().enumerate() {
            let page = Page { offset, limit };
            let jobs = self.at(home, |cell| cell.inprogress(inprogress, page));
            let jobs = jobs.await?;
            if !jobs.is_empty() || number + 1 == homes.len() {
                return Ok(jobs);
            }
            if offset > 0 {
                let list = std::slice::from_ref(inprogress);
                let counts = self.at(home, |cell| cell.held_counts(list)).await?;
                let count = counts.first().map_or(0, |count| count.jobs);
                offset = offset.saturating_sub(count);
            }
        }
        Ok(Vec::new())
    }

    async fn prefetched(&self, inprogress: &Inprogress) -> Result<usize, StorageError> {
        let all = self.all(|cell| cell.prefetched(inprogress)).await?;
        Ok(all.into_iter().sum())
    }

    /// Each cell counts the lists of the nodes that are registered in it.
    async fn held_counts(&self, lists: &[Inprogress]) -> Result<Vec<HeldCount>, StorageError> {
        let mut by_cell = vec![Vec::new(); self.count()];
        for (number, list) in lists.iter().enumerate() {
            for home in self.homes(&list.node) {
                by_cell[home].push(number);
            }
        }
        let asked = by_cell.into_iter().enumerate();
        let asked = asked.filter(|(_, numbers)| !numbers.is_empty());
        let asked = asked.map(async |(cell, numbers)| {
            let some: Vec<Inprogress> = numbers.iter().map(|&list| lists[list].clone()).collect();
            let counts = self.at(cell, |cell| cell.held_counts(&some)).await?;
            Ok::<_, StorageError>((numbers, counts))
        });
        let mut all = vec![HeldCount::default(); lists.len()];
        for (numbers, counts) in try_join_all(asked).await? {
            for (number, count) in numbers.into_iter().zip(counts) {
                all[number].jobs += count.jobs;
                all[number].prefetched += count.prefetched;
            }
        }
        Ok(all)
    }
}

impl Fleet {
    /// The cells in which a node may hold jobs: those in which it is registered, if that is known.
    pub(super) fn homes(&self, node: &NodeId) -> Vec<usize> {
        let homes = self.homes.lock();
        let known = homes.get(node).cloned();
        known.unwrap_or_else(|| (0..self.count()).collect())
    }
}

/// Only nodes move due jobs.
#[async_trait]
impl DueStore for Fleet {
    async fn due(
        &self,
        _set: DueSet,
        _now: SystemTime,
        _page: Page,
    ) -> Result<DuePage, StorageError> {
        of_a_node("read due jobs")
    }

    async fn poll_schedule(
        &self,
        _node: &NodeId,
        _ttl: Duration,
    ) -> Result<SchedulePoll, StorageError> {
        of_a_node("take the lease on due jobs")
    }

    async fn trim_dead(&self, _now: SystemTime, _limits: DeadLimits) -> Result<bool, StorageError> {
        of_a_node("cut the dead set")
    }
}
