//! The queues of a node in all its cells: [`AllQueues`].

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::{
    cells::Cells,
    log,
    names::QueueName,
    queues::{
        Queues,
        status::{QueueFigures, QueueStatus, RunSnapshot, RunningJob},
    },
    time::clock::unix_seconds,
};

/// The queues of one Verk: those of each cell, in the order of the cells. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct AllQueues {
    cells: Cells,
    of_cells: Arc<[Arc<Queues>]>,
}

impl AllQueues {
    /// Each queue in its cell.
    pub(crate) fn new(cells: Cells, queues: &BTreeMap<QueueName, usize>) -> Self {
        let of_cell = |cell| {
            let lies_there = queues.iter().filter(|(queue, _)| cells.of(queue) == cell);
            let there = lies_there.map(|(queue, concurrency)| (queue.clone(), *concurrency));
            Arc::new(Queues::new(&there.collect()))
        };
        Self {
            of_cells: (0..cells.count()).map(of_cell).collect(),
            cells,
        }
    }

    /// Those of each cell.
    pub(crate) fn of_cells(&self) -> &[Arc<Queues>] {
        &self.of_cells
    }

    /// Those of the cell in which this queue lies.
    fn home(&self, queue: &QueueName) -> &Queues {
        &self.of_cells[self.cells.of(queue)]
    }

    pub(crate) fn names(&self) -> Vec<QueueName> {
        let mut names: Vec<_> = self.of_cells.iter().flat_map(|cell| cell.names()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Adds a queue, if the node does not run it yet.
    pub(crate) fn add(&self, name: QueueName, concurrency: usize) {
        self.home(&name).add(name.clone(), concurrency);
    }

    /// Removes a queue, and stops its managers. Returns tokens that are cancelled when each of them
    /// has ended, or `None` if the node does not know the queue.
    pub(crate) fn remove(&self, name: &QueueName) -> Option<Vec<CancellationToken>> {
        let ends: Vec<_> = (self.of_cells.iter())
            .filter_map(|cell| cell.remove(name))
            .collect();
        (!ends.is_empty()).then(|| ends.into_iter().flatten().collect())
    }

    /// Pauses or resumes a queue on this node. Returns whether that changes anything, or `None` if
    /// the node does not run the queue.
    pub(crate) fn set_paused(&self, name: &QueueName, paused: bool) -> Option<bool> {
        let changed = self.of_cells.iter();
        let changed = changed.filter_map(|cell| cell.set_paused(name, paused));
        changed.reduce(|one, other| one | other)
    }

    /// Returns whether that changes anything, or `None` if the node does not run the queue.
    pub(crate) fn set_concurrency(&self, name: &QueueName, concurrency: usize) -> Option<bool> {
        self.home(name).set_concurrency(name, concurrency)
    }

    /// Pauses all queues until the process ends. Returns whether that changes anything.
    pub(crate) fn quiet(&self) -> bool {
        let mut changed = false;
        for cell in &*self.of_cells {
            changed |= cell.quiet();
        }
        changed
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.of_cells.iter().all(|cell| cell.is_quiet())
    }

    pub(crate) async fn until_quiet(&self) {
        join_all(self.of_cells.iter().map(|cell| cell.until_quiet())).await;
    }

    pub(crate) fn statuses(&self) -> Vec<QueueStatus> {
        let mut all: BTreeMap<QueueName, QueueFigures> = BTreeMap::new();
        for (name, figures) in self.of_cells.iter().flat_map(|cell| cell.figures()) {
            all.entry(name)
                .and_modify(|known| known.add(&figures))
                .or_insert(figures);
        }
        let status = |(name, figures): (QueueName, QueueFigures)| QueueStatus {
            name,
            concurrency: figures.concurrency,
            running: figures.running,
            status: figures.status(),
            paused_everywhere: figures.paused_everywhere,
        };
        all.into_iter().map(status).collect()
    }

    /// What runs now, the oldest run first.
    pub(crate) fn runs(&self) -> Vec<RunSnapshot> {
        let mut runs: Vec<_> = self.of_cells.iter().flat_map(|cell| cell.runs()).collect();
        runs.sort_by_key(|run| run.started_at);
        runs
    }

    pub(crate) fn running_jobs(&self) -> Vec<RunningJob> {
        let public = |RunSnapshot {
                          job,
                          queue,
                          started_at,
                      }: RunSnapshot| RunningJob {
            class: job.class().to_owned(),
            jid: job.jid().clone(),
            queue,
            started_at,
        };
        self.runs().into_iter().map(public).collect()
    }

    /// Logs what runs now, as Sidekiq logs its threads.
    pub(crate) fn log_running_jobs(&self) {
        let runs = self.runs();
        log::info!(count = runs.len(), "running jobs");
        for RunSnapshot {
            job,
            queue,
            started_at,
        } in runs
        {
            let started_at = unix_seconds(started_at);
            log::info!(class = job.class(), jid = %job.jid(), %queue, started_at, "runs");
        }
    }
}
