//! The queues of the fleet: [`QueueOverview`].

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use super::{Admin, Pause, Process};
use crate::{
    error::StorageError,
    names::{NodeId, QueueName},
    stats::{self, Stats},
    storage::{HeldCount, Inprogress, Node},
};

/// # Queues
impl Admin {
    /// Reads the state of every known queue, by name: what waits, what runs and where, and who
    /// paused it. Known queues are those of [`stats`](Self::stats), those that a node runs, and
    /// those that are paused.
    ///
    /// It takes a few round trips, each for about 100 queues or processes, and reads no job but the
    /// oldest of each queue. It is no snapshot: jobs move meanwhile.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{Job, Verk};
    /// # use verk_testing::MemoryStorage;
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// # verk.enqueue(Job::new("Welcome", "mailers".parse()?, r#"["ada"]"#.to_owned())?).await?;
    /// let admin = verk.admin();
    /// admin.pause_queue_everywhere("mailers").await?;
    /// for queue in admin.queues().await? {
    ///     println!("{}: {} of {} run, {} wait", queue.queue, queue.running, queue.concurrency, queue.enqueued);
    ///     assert_eq!((queue.enqueued, queue.running, queue.nodes), (1, 0, 0));
    ///     assert!(queue.paused.is_some());
    /// }
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
    pub async fn queues(&self) -> Result<Vec<QueueOverview>, StorageError> {
        Ok(self.overview().await?.queues)
    }

    /// Reads the totals, the state of every known queue and the processes: for a page or a terminal
    /// that shows all of them. [`stats`](Self::stats), [`queues`](Self::queues) and
    /// [`processes`](Self::processes) would read the same keys more than once.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{Job, Verk};
    /// # use verk_testing::MemoryStorage;
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// # verk.enqueue(Job::new("Welcome", "mailers".parse()?, r#"["ada"]"#.to_owned())?).await?;
    /// let overview = verk.admin().overview().await?;
    /// assert_eq!((overview.stats.enqueued(), overview.queues.len()), (1, 1));
    /// assert_eq!((overview.stats.dead, overview.processes.len()), (0, 0));
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
    pub async fn overview(&self) -> Result<Overview, StorageError> {
        let storage = self.storage();
        let nodes = storage.nodes().await?;
        let processes = self.processes_among(&nodes).await?;
        let pauses = self.pauses().await?;
        let lists = lists(&nodes);
        let held = storage.held_counts(&lists).await?;

        let mut more = self.queues_of_node();
        more.extend(pauses.iter().map(|pause| pause.queue.clone()));
        more.extend(lists.iter().map(|list| list.queue.clone()));
        let stats = stats::read(storage, self.now(), more).await?;
        let mut queues: BTreeMap<QueueName, QueueOverview> = BTreeMap::new();
        for stats in &stats.queues {
            let overview = QueueOverview {
                enqueued: stats.enqueued,
                latency: stats.latency,
                processed: stats.processed,
                failed: stats.failed,
                ..QueueOverview::new(stats.queue.clone())
            };
            queues.insert(stats.queue.clone(), overview);
        }
        for pause in pauses {
            if let Some(queue) = queues.get_mut(&pause.queue) {
                queue.paused = Some(pause);
            }
        }
        let alive: HashSet<&NodeId> = (nodes.iter())
            .filter_map(|node| node.alive.then_some(&node.id))
            .collect();
        for (list, count) in lists.iter().zip(held) {
            if let Some(queue) = queues.get_mut(&list.queue) {
                queue.add_held(alive.contains(&list.node), count);
            }
        }
        for process in processes.iter().filter(|process| !process.quiet) {
            for of_process in &process.queues {
                if let Some(queue) = queues.get_mut(&of_process.name) {
                    queue.processes += 1;
                    queue.concurrency = queue.concurrency.saturating_add(of_process.concurrency);
                }
            }
        }
        Ok(Overview {
            stats,
            queues: queues.into_values().collect(),
            processes,
        })
    }
}

/// What all programs do together: see [`Admin::overview`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Overview {
    /// The counts of all programs.
    pub stats: Stats,
    /// Every known queue, by name.
    pub queues: Vec<QueueOverview>,
    /// The processes that report themselves, by identity.
    pub processes: Vec<Process>,
}

impl Overview {
    /// The jobs that run in all processes, and how many may run at once, as the processes last
    /// reported them.
    #[must_use]
    pub fn running(&self) -> (usize, usize) {
        let processes = self.processes.iter();
        processes.fold((0, 0), |(busy, permits), process| {
            (
                process.busy.saturating_add(busy),
                process.concurrency.saturating_add(permits),
            )
        })
    }
}

/// The state of one queue, over all nodes and processes: see [`Admin::queues`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueOverview {
    /// The queue.
    pub queue: QueueName,
    /// How many jobs wait in it.
    pub enqueued: usize,
    /// For how long the oldest of them has waited; zero if there is none, or if it has no time.
    pub latency: Duration,
    /// How many runs ended, those that failed included. Only verk and Elixir's Verk count by queue.
    pub processed: u64,
    /// How many runs failed.
    pub failed: u64,
    /// The pause of the queue on all nodes.
    pub paused: Option<Pause>,
    /// How many of its jobs run on nodes that are alive. Sidekiq's processes are no nodes:
    /// [`Admin::running`] shows their jobs.
    pub running: usize,
    /// How many of its jobs nodes that are alive have fetched, to run them next.
    pub prefetched: usize,
    /// How many of its jobs nodes hold that are not alive. Other nodes restore them.
    pub to_restore: usize,
    /// How many of its jobs may run at once, over all [processes](Admin::processes) that run it and
    /// are not quiet. Permits that it [shares](super::ProcessQueue::shared) with other queues count
    /// for each of them.
    pub concurrency: usize,
    /// How many processes run it and are not quiet, those of Sidekiq too.
    pub processes: usize,
    /// How many nodes that are alive have fetched from it.
    pub nodes: usize,
}

impl QueueOverview {
    fn new(queue: QueueName) -> Self {
        Self {
            queue,
            enqueued: 0,
            latency: Duration::ZERO,
            processed: 0,
            failed: 0,
            paused: None,
            running: 0,
            prefetched: 0,
            to_restore: 0,
            concurrency: 0,
            processes: 0,
            nodes: 0,
        }
    }

    /// Adds what one node holds of it.
    fn add_held(&mut self, alive: bool, count: HeldCount) {
        if alive {
            self.nodes += 1;
            self.prefetched += count.prefetched;
            self.running += count.jobs.saturating_sub(count.prefetched);
        } else {
            self.to_restore += count.jobs;
        }
    }
}

/// The lists of jobs in progress of nodes, in their order.
pub(super) fn lists(nodes: &[Node]) -> Vec<Inprogress> {
    let of_node = |node: &Node| {
        let id = node.id.clone();
        let queues = node.queues.clone().into_iter();
        queues.map(move |queue| Inprogress {
            queue,
            node: id.clone(),
        })
    };
    nodes.iter().flat_map(of_node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_node_holds_does_not_run() {
        let mut queue = QueueOverview::new("default".parse().unwrap());
        let count = |jobs, prefetched| HeldCount { jobs, prefetched };
        queue.add_held(true, count(5, 2));
        queue.add_held(true, count(1, 3));
        queue.add_held(false, count(7, 4));
        assert_eq!(
            (queue.running, queue.prefetched, queue.to_restore),
            (3, 5, 7)
        );
        assert_eq!(queue.nodes, 2);
    }
}
