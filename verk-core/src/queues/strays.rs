//! Runs the jobs of this node's queues in the cells in which they are: [`StrayManager`].

use std::{sync::Arc, time::Duration};

use futures_util::{
    future::{join, try_join_all},
    stream::{FuturesUnordered, StreamExt as _},
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::StorageError,
    names::QueueName,
    queues::all::AllQueues,
    services::Essentials,
    storage::{Source, Storage},
};

/// How long it waits for permits that others have.
const STEP: Duration = Duration::from_millis(100);

/// Runs jobs where they are, because no step crosses two cells. A job is a *stray* if its queue
/// lies in another cell: a failed job went to a `retry_queue`, an operator moved it to another
/// queue, or the fleet had other cells when it was stored. The permits of a queue that lies in
/// several cells go where its jobs are.
///
/// Every `poll_interval`, the manager reads the names of the queues of each cell. A queue of this
/// node that has jobs in another cell runs there too, with a part of its permits, until it has no
/// more.
#[derive(Debug)]
pub(crate) struct StrayManager {
    essentials: Arc<Essentials>,
    queues: AllQueues,
    stop: CancellationToken,
}

impl StrayManager {
    pub(crate) fn new(
        essentials: Arc<Essentials>,
        queues: AllQueues,
        stop: CancellationToken,
    ) -> Self {
        Self {
            essentials,
            queues,
            stop,
        }
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(&self) {
        let clock = &self.essentials.clock;
        let pause = self.essentials.config.poll_interval;
        let looks = async {
            // The queues with jobs in each cell. What a cell that does not answer had stays.
            let mut with_jobs = vec![Vec::new(); self.essentials.cells.count()];
            loop {
                let next = clock.instant_in(pause);
                let ask = clock.timeout(pause, self.essentials.cells.ask_a_cell());
                join(ask, self.look(&mut with_jobs)).await;
                // Permits are free when the managers have seen that they have fewer, and jobs end.
                while !self.run_where_jobs_are(&with_jobs) && clock.instant() < next {
                    clock.sleep(STEP.min(pause)).await;
                }
                clock.sleep_until(next).await;
            }
        };
        tokio::select! {
            // It changes no storage.
            () = self.stop.cancelled() => {}
            () = looks => {}
        }
    }

    /// Runs each queue where it has jobs, as far as permits are free. Returns whether all are.
    fn run_where_jobs_are(&self, with_jobs: &[Vec<QueueName>]) -> bool {
        let reached = self.queues.names().into_iter().map(|queue| {
            let cells = with_jobs.iter().enumerate();
            let cells = cells.filter(|(_, queues)| queues.contains(&queue));
            let cells: Vec<usize> = cells.map(|(cell, _)| cell).collect();
            self.queues.run_in(&queue, &cells)
        });
        reached.fold(true, |all, one| all & one)
    }

    /// Finds out in which cells besides their own the queues of this node have jobs; of a queue
    /// that lies in several, in which of them too. A cell that is slow delays no other: queues run
    /// where another one has jobs as soon as that one has answered.
    async fn look(&self, with_jobs: &mut [Vec<QueueName>]) {
        let clock = &self.essentials.clock;
        let cells = self.essentials.cells.storages().iter().enumerate();
        let mut looks: FuturesUnordered<_> = cells
            .map(async |(cell, storage)| {
                let known = self.queues.to_look_for(cell);
                let strays = strays(&**storage, &known);
                let found = clock.timeout(self.essentials.config.poll_interval, strays);
                (cell, found.await)
            })
            .collect();
        while let Some((cell, found)) = looks.next().await {
            // The heartbeat in a cell says that it does not answer.
            if let Some(Ok(found)) = found {
                with_jobs[cell] = found;
                self.run_where_jobs_are(with_jobs);
            }
        }
    }
}

/// Which of these queues have jobs in a storage.
async fn strays(
    storage: &dyn Storage,
    queues: &[QueueName],
) -> Result<Vec<QueueName>, StorageError> {
    let known = storage.queues().await?;
    let there = queues.iter().filter(|queue| known.contains(queue));
    let with_jobs = try_join_all(there.map(async |queue| {
        let jobs = storage.len(&Source::Queue(queue.clone())).await?;
        Ok::<_, StorageError>((jobs > 0).then(|| queue.clone()))
    }));
    Ok(with_jobs.await?.into_iter().flatten().collect())
}
