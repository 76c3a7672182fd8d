//! Runs the jobs of this node's queues in the cells in which they are: [`StrayManager`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::{join_all, try_join_all};
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
        let looks = async {
            loop {
                let next = clock.instant_in(self.essentials.config.poll_interval);
                let cells_of = self.look().await;
                // Permits are free when the managers have seen that they have fewer, and jobs end.
                while !self.run_where_jobs_are(&cells_of) && clock.instant() < next {
                    clock
                        .sleep(STEP.min(self.essentials.config.poll_interval))
                        .await;
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

    fn run_where_jobs_are(&self, cells_of: &BTreeMap<QueueName, Vec<usize>>) -> bool {
        let reached = cells_of
            .iter()
            .map(|(queue, cells)| self.queues.run_in(queue, cells));
        reached.fold(true, |all, one| all & one)
    }

    /// In which cells besides their own the queues of this node have jobs; of a queue that lies in
    /// several, in which of them too. What a cell that does not answer had stays as it is.
    async fn look(&self) -> BTreeMap<QueueName, Vec<usize>> {
        let cells = self.essentials.cells.storages().iter().enumerate();
        let found = cells.map(async |(cell, storage)| {
            let known = self.queues.to_look_for(cell);
            strays(&**storage, &known).await.unwrap_or_else(|_| {
                // The heartbeat in that cell says so.
                let runs_here = known.into_iter().filter(|(_, runs_here)| *runs_here);
                runs_here.map(|(queue, _)| queue).collect()
            })
        });
        let found = join_all(found).await;
        let mut cells_of: BTreeMap<QueueName, Vec<usize>> = BTreeMap::new();
        for queue in self.queues.names() {
            cells_of.insert(queue, Vec::new());
        }
        for (cell, strays) in found.into_iter().enumerate() {
            for queue in strays {
                cells_of.entry(queue).or_default().push(cell);
            }
        }
        cells_of
    }
}

/// Which of these queues have jobs in a storage.
async fn strays(
    storage: &dyn Storage,
    queues: &[(QueueName, bool)],
) -> Result<Vec<QueueName>, StorageError> {
    let known = storage.queues().await?;
    let there = queues.iter().filter(|(queue, _)| known.contains(queue));
    let with_jobs = try_join_all(there.map(async |(queue, _)| {
        let jobs = storage.len(&Source::Queue(queue.clone())).await?;
        Ok::<_, StorageError>((jobs > 0).then(|| queue.clone()))
    }));
    Ok(with_jobs.await?.into_iter().flatten().collect())
}
