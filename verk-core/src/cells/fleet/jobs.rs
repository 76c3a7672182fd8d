//! Enqueues, and the jobs that nodes hold.

use std::{
    collections::BTreeMap,
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join_all;

use super::{Asked, Fleet, by_cell, joined, of_a_node, picked, step_of_a_node};
use crate::{
    error::StorageError,
    job::Job,
    names::{NodeId, QueueName},
    storage::{
        DeadLimits, Due, DuePage, DueSet, DueStore, HeldCount, Inprogress, JobStore, Page,
        QueueConnection, SchedulePoll, Settled, Settlement,
    },
};

#[async_trait]
impl JobStore for Fleet {
    async fn enqueue(&self, queue: &QueueName, jobs: &[Bytes]) -> Result<(), StorageError> {
        self.cells.ask_now_and_then().await;
        if self.cells.is_spread(queue) {
            return self.enqueue_spread(queue, jobs).await;
        }
        let cell = self.cells.of(queue);
        self.at(cell, |cell| cell.enqueue(queue, jobs)).await
    }

    /// Each job goes to the cell of its queue, all or none in each cell, and one cell after
    /// another. It ends at the first error, which is `NotApplied` only if no cell stored a job.
    async fn schedule(&self, jobs: &[Due]) -> Result<usize, StorageError> {
        self.cells.ask_now_and_then().await;
        let by_cell = by_cell(
            jobs.iter()
                .map(|due| (self.of_payload(&due.job), due.clone())),
        );
        let stores = by_cell.iter();
        let stores = stores.map(|(&cell, jobs)| (cell, self.cell(cell).schedule(jobs)));
        Ok(self.store(stores).await?.into_iter().sum())
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
        let by_home = self
            .by_home(lists.iter().map(|list| &list.node))
            .into_iter();
        let asked = by_home.map(async |(cell, numbers)| {
            let some = picked(lists, &numbers);
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
    /// Stores jobs of a queue that lies in several cells: those with a partition key in the cell of
    /// their partition, the others together in the cell whose turn it is. Each cell stores all of
    /// its jobs or none.
    async fn enqueue_spread(&self, queue: &QueueName, jobs: &[Bytes]) -> Result<(), StorageError> {
        let all = self.cells.all_of(queue);
        let turn = all[self.turns.fetch_add(1, Ordering::Relaxed) % all.len()];
        let cell_of = |payload: &Bytes| {
            let job = Job::decode(payload.clone()).ok();
            let partition = job.and_then(|job| job.partition_key());
            partition.map_or(turn, |key| self.cells.of_partition(queue, &key))
        };
        let by_cell = by_cell(jobs.iter().map(|job| (cell_of(job), job.clone())));
        let stores = by_cell.iter();
        let stores = stores.map(|(&cell, jobs)| (cell, self.cell(cell).enqueue(queue, jobs)));
        self.store(stores).await.map(drop)
    }

    /// Stores jobs in one cell after another. It ends at the first error, which is `NotApplied`
    /// only if no cell stored a job.
    async fn store<'a, T>(
        &self,
        stores: impl Iterator<Item = (usize, Asked<'a, T>)>,
    ) -> Result<Vec<T>, StorageError> {
        let mut answers = Vec::new();
        for (cell, store) in stores {
            let stored = store.await;
            let is_failed = stored.is_err();
            answers.push(stored.map_err(|error| self.name(cell, error)));
            if is_failed {
                break;
            }
        }
        joined(answers)
    }

    /// The numbers of these nodes, by the cells in which they may be.
    pub(super) fn by_home<'a>(
        &self,
        nodes: impl Iterator<Item = &'a NodeId>,
    ) -> BTreeMap<usize, Vec<usize>> {
        by_cell(nodes.enumerate().flat_map(|(number, node)| {
            let homes = self.homes(node).into_iter();
            homes.map(move |home| (home, number))
        }))
    }

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
