//! The cells, the queues, and what lies where: [`Plan`].

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use verk_core::{
    EnqueueExt, QueueName, Verk, VerkBuilder, cells::Cells, client::NewJob, storage::Storage,
};
use verk_testing::{MemoryStorage, VirtualClock};

use crate::worker::Errand;

/// One storage of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) storage: MemoryStorage,
    /// How often it restarted.
    restarts: Arc<AtomicU64>,
}

impl Cell {
    pub(crate) fn restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// The name of the server, another one after a restart.
    pub(crate) fn server(&self) -> String {
        self.restarts.load(Ordering::Relaxed).to_string()
    }
}

/// Which queues there are, and where.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    cells: Cells,
    /// The name of each queue, and how many of its jobs a process runs at once.
    queues: Vec<(QueueName, usize)>,
    /// The queue that lies in several cells.
    spread: Option<QueueName>,
}

/// In how many cells the queue lies that lies in several.
const SPREAD: usize = 2;

impl Plan {
    /// One queue in one cell; or one in each cell, one that runs one job at once, and one that lies
    /// in two cells.
    pub(crate) fn new(cells: &[Cell]) -> Self {
        let count = cells.len();
        let cells: Cells = cells.iter().map(|cell| cell.storage.clone()).collect();
        if count == 1 {
            return Self {
                cells,
                queues: vec![(name("default"), 20)],
                spread: None,
            };
        }
        let named = |number: usize| name(&format!("queue-{number}"));
        let in_cell = |cell: usize| (0..).map(named).find(|queue| cells.of(queue) == cell);
        let mut queues: Vec<_> = (0..count)
            .filter_map(|cell| Some((in_cell(cell)?, 8)))
            .collect();
        queues.push((name("narrow"), 1));
        queues.push((name("hot"), 6));
        Self {
            cells,
            queues,
            spread: Some(name("hot")),
        }
    }

    pub(crate) fn cells(&self) -> usize {
        self.cells.count()
    }

    /// All cells as one storage, for an operator.
    pub(crate) fn view(&self) -> Arc<dyn Storage> {
        self.cells.view()
    }

    /// A queue, by any number.
    pub(crate) fn queue(&self, number: u64) -> &QueueName {
        let number = usize::try_from(number).unwrap_or_default();
        &self.queues[number % self.queues.len()].0
    }

    /// How many jobs of a queue a process runs at once.
    pub(crate) fn at_once(&self, queue: &QueueName) -> usize {
        let known = self.queues.iter().find(|(name, _)| name == queue);
        known.expect("a queue of the plan").1
    }

    /// The periodic jobs: one in each cell, with its queue.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (String, &QueueName)> {
        let in_cells = self.queues.iter().take(self.cells()).enumerate();
        in_cells.map(|(cell, (queue, _))| (format!("beat-{cell}"), queue))
    }

    /// Whether a queue lies elsewhere. One that lies in several cells does not.
    pub(crate) fn is_stray(&self, queue: &QueueName, cell: usize) -> bool {
        self.spread.as_ref() != Some(queue) && self.cells.of(queue) != cell
    }

    /// A program that uses these storages, one for each cell.
    pub(crate) fn builder<S: Storage>(&self, storages: impl IntoIterator<Item = S>) -> VerkBuilder {
        let builder = Verk::builder().cells(storages.into_iter().collect());
        match &self.spread {
            None => builder,
            Some(queue) => builder.spread_queue(queue.as_str(), SPREAD),
        }
    }

    /// A node that runs all queues.
    pub(crate) fn node<S: Storage>(&self, storages: impl IntoIterator<Item = S>) -> VerkBuilder {
        let builder = self.builder(storages);
        let queues = self.queues.iter();
        queues.fold(builder, |builder, (queue, at_once)| {
            builder.queue(queue.as_str(), *at_once)
        })
    }

    /// In which cell a job is stored by a program that does not know the others, if it is.
    pub(crate) fn cell_of_stray(&self, errand: Errand) -> Option<usize> {
        let is_stray = self.cells() > 1 && errand.0.is_multiple_of(5) && errand.policy().is_none();
        is_stray.then_some(errand.0 / 5 % self.cells())
    }

    /// An errand in its queue. Some of several cells go to a queue in another cell when they fail.
    pub(crate) fn job(&self, errand: Errand) -> NewJob {
        let number = errand.0;
        // The last six bits say what the errand does.
        let any = number / 64 * 5 + number;
        let place = match any % 16 {
            cell @ 0..12 => cell / 4,
            12 => 3,
            _ => 4,
        };
        let queue = &self.queues[place % self.queues.len()].0;
        let mut job = errand.queue(queue.as_str());
        if self.cells() == 1 {
            return job;
        }
        if number.is_multiple_of(3) {
            let other = (number / 3 + place + 1) % self.queues.len();
            job = job.retry_queue(self.queues[other].0.as_str());
        }
        if number.is_multiple_of(4) {
            job = job.partition_key(&(number % 28).to_string());
        }
        job
    }
}

fn name(name: &str) -> QueueName {
    name.parse().expect("a name")
}

/// So many new storages on one clock.
pub(crate) fn new_cells(count: usize, clock: &VirtualClock) -> Vec<Cell> {
    let cell = |_| Cell {
        storage: MemoryStorage::new(Arc::new(clock.clone())),
        restarts: Arc::default(),
    };
    (0..count).map(cell).collect()
}
