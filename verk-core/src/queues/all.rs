//! The queues of a node in all its cells: [`AllQueues`].

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    cells::Cells,
    log,
    names::QueueName,
    queues::{
        Queues,
        shares::{next_step, shares},
        status::{QueueFigures, QueueStatus, RunSnapshot, RunningJob},
    },
    time::clock::unix_seconds,
};

/// The queues of one Verk: those of each cell, in the order of the cells. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct AllQueues {
    cells: Cells,
    of_cells: Arc<[Arc<Queues>]>,
    /// How many jobs of each queue may run at once, in all cells together.
    totals: Arc<Mutex<BTreeMap<QueueName, usize>>>,
}

impl AllQueues {
    /// Each queue in its cell.
    pub(crate) fn new(cells: Cells, queues: &BTreeMap<QueueName, usize>) -> Self {
        let mut there = vec![BTreeMap::new(); cells.count()];
        for (queue, &concurrency) in queues {
            let no_jobs = vec![false; cells.count()];
            let shares = shares(concurrency, &cells.all_of(queue), &no_jobs);
            for (cell, share) in shares
                .into_iter()
                .enumerate()
                .filter(|(_, share)| *share > 0)
            {
                there[cell].insert(queue.clone(), share);
            }
        }
        Self {
            of_cells: there
                .iter()
                .map(|there| Arc::new(Queues::new(there)))
                .collect(),
            cells,
            totals: Arc::new(Mutex::new(queues.clone())),
        }
    }

    /// Those of each cell.
    pub(crate) fn of_cells(&self) -> &[Arc<Queues>] {
        &self.of_cells
    }

    pub(crate) fn names(&self) -> Vec<QueueName> {
        self.totals.lock().keys().cloned().collect()
    }

    /// Adds a queue, if the node does not run it yet.
    pub(crate) fn add(&self, name: QueueName, concurrency: usize) {
        let mut totals = self.totals.lock();
        if let Entry::Vacant(total) = totals.entry(name) {
            let name = total.key().clone();
            total.insert(concurrency);
            self.divide(&name, concurrency, &[]);
        }
    }

    /// Removes a queue, and stops its managers. Returns tokens that are cancelled when each of them
    /// has ended, or `None` if the node does not know the queue.
    pub(crate) fn remove(&self, name: &QueueName) -> Option<Vec<CancellationToken>> {
        // Nothing adds the queue, or runs it in another cell, meanwhile.
        let mut totals = self.totals.lock();
        totals.remove(name);
        let ends: Vec<_> = (self.of_cells.iter())
            .filter_map(|cell| cell.remove(name))
            .collect();
        (!ends.is_empty()).then(|| ends.into_iter().flatten().collect())
    }

    /// Pauses or resumes a queue on this node. Returns whether that changes anything, or `None` if
    /// the node does not run the queue.
    pub(crate) fn set_paused(&self, name: &QueueName, paused: bool) -> Option<bool> {
        // The queue does not begin to run in another cell meanwhile, without the pause.
        let _totals = self.totals.lock();
        let changed = self.of_cells.iter();
        let changed = changed.filter_map(|cell| cell.set_paused(name, paused));
        changed.reduce(|one, other| one | other)
    }

    /// Returns whether that changes anything, or `None` if the node does not run the queue.
    pub(crate) fn set_concurrency(&self, name: &QueueName, concurrency: usize) -> Option<bool> {
        let mut totals = self.totals.lock();
        let total = totals.get_mut(name)?;
        let changes = *total != concurrency;
        *total = concurrency;
        self.divide(name, concurrency, &self.lent_to(name));
        Some(changes)
    }

    /// The cells in which a queue does not lie, and runs.
    fn lent_to(&self, name: &QueueName) -> Vec<usize> {
        let homes = self.cells.all_of(name);
        let others = (0..self.cells.count()).filter(|cell| !homes.contains(cell));
        others
            .filter(|cell| self.of_cells[*cell].has(name))
            .collect()
    }

    /// Takes a step towards running a queue in the cells in which it lies, and in others in which
    /// it has jobs. Returns whether that is reached. The caller has the lock of the totals.
    fn divide(&self, name: &QueueName, total: usize, with_jobs: &[usize]) -> bool {
        let homes = self.cells.all_of(name);
        let has_jobs: Vec<bool> = (0..self.cells.count())
            .map(|cell| with_jobs.contains(&cell))
            .collect();
        let wanted = shares(total, &homes, &has_jobs);
        let in_use: Vec<usize> = (self.of_cells.iter())
            .map(|queues| queues.in_use(name))
            .collect();
        let paused = (self.of_cells.iter()).any(|queues| queues.is_paused_here(name));
        let step = next_step(total, &wanted, &in_use);
        let mut is_reached = step == wanted;
        for (cell, (share, in_use)) in step.into_iter().zip(in_use).enumerate() {
            let queues = &self.of_cells[cell];
            if share > 0 || homes.contains(&cell) {
                queues.set_share(name, share, paused);
            } else if queues.has(name) && in_use > 0 {
                queues.set_share(name, 0, paused);
                is_reached = false;
            } else if queues.has(name) {
                queues.remove(name);
            }
        }
        is_reached
    }

    /// The queues of the program of which it matters whether a cell has jobs: all that do not lie
    /// only there.
    pub(crate) fn to_look_for(&self, cell: usize) -> Vec<QueueName> {
        let names = self.names().into_iter();
        names
            .filter(|name| self.cells.all_of(name) != [cell])
            .collect()
    }

    /// Runs a queue where it lies and where it has jobs, as soon as permits are free there. In any
    /// other cell, it runs no more. Returns whether that is so.
    pub(crate) fn run_in(&self, name: &QueueName, with_jobs: &[usize]) -> bool {
        let totals = self.totals.lock();
        let Some(total) = totals.get(name) else {
            return true;
        };
        self.divide(name, *total, with_jobs)
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
        let totals = self.totals.lock();
        let status = |(name, figures): (QueueName, QueueFigures)| QueueStatus {
            concurrency: totals.get(&name).copied().unwrap_or_default(),
            name,
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
