//! How other parts reach the manager of a queue, and the state that it shows.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use slab::Slab;
use tokio_util::sync::CancellationToken;

use crate::{
    error::StorageError,
    queues::{
        Queues,
        row::{Row, Rows},
        run::Run,
        status::RunSnapshot,
    },
    storage::Inprogress,
};

/// How other parts reach one manager. While `Queues` has it, no other manager works on the same
/// list.
#[derive(Debug)]
pub(crate) struct ManagerHandle {
    pub(crate) inprogress: Inprogress,
    /// Cancelled when the queue is removed.
    pub(crate) removed: CancellationToken,
    /// Cancelled when the manager has ended.
    pub(crate) ended: CancellationToken,
    pub(crate) state: Mutex<ManagerState>,
    pub(crate) rows: Arc<Rows>,
}

/// The state that a manager shows, and its running jobs.
#[derive(Debug, Default)]
pub(crate) struct ManagerState {
    /// The running jobs, each in the place that its start returned.
    pub(crate) running: Slab<Run>,
    pub(crate) paused: bool,
    /// How many jobs the manager lets run at once.
    pub(crate) limit: usize,
    /// The last row of short runs.
    pub(crate) row: Option<Arc<Row>>,
    /// The result of the last fetch; `None` before the first connection.
    pub(crate) connected: Option<Result<(), String>>,
}

impl ManagerHandle {
    pub(crate) fn inprogress(&self) -> &Inprogress {
        &self.inprogress
    }

    /// Waits until the queue is removed.
    pub(crate) async fn removed(&self) {
        self.removed.cancelled().await;
    }

    /// A job starts. Returns the place that it has until it is finished.
    pub(crate) fn started(&self, running: Run) -> usize {
        self.state().running.insert(running)
    }

    pub(crate) fn finished(&self, place: usize) -> Option<Run> {
        self.state().running.try_remove(place)
    }

    /// How many jobs run.
    pub(crate) fn count(&self) -> usize {
        self.state().running.len()
    }

    /// Something of each job that runs, in the order in which they started.
    pub(crate) fn running<T>(&self, of: impl Fn(&Run) -> T) -> Vec<T> {
        let shown = self.state();
        let mut running: Vec<&Run> = shown.running.iter().map(|(_, running)| running).collect();
        running.sort_by_key(|running| running.number);
        running.into_iter().map(of).collect()
    }

    pub(crate) fn snapshot(&self, running: &Run) -> RunSnapshot {
        RunSnapshot {
            job: Arc::clone(&running.state.job),
            queue: self.inprogress.queue.clone(),
            started_at: running.started_at,
        }
    }

    pub(crate) fn blocked(&self) -> Vec<RunSnapshot> {
        let mut shown = self.state();
        let all = shown.running.iter_mut();
        let blocked =
            all.filter_map(|(_, running)| running.keeps_its_thread().then_some(&*running));
        blocked.map(|running| self.snapshot(running)).collect()
    }

    /// A row of short runs begins.
    pub(crate) fn begin_row(&self, row: Arc<Row>) {
        self.state().row = Some(row);
        self.rows.begin();
    }

    pub(crate) fn part_row_blocked(&self) {
        let row = self.state().row.clone();
        if let Some(row) = row {
            row.part_if_blocked();
        }
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.state().paused = paused;
    }

    pub(crate) fn set_limit(&self, limit: usize) {
        self.state().limit = limit;
    }

    /// The storage answered.
    pub(crate) fn set_connected(&self) {
        self.state().connected = Some(Ok(()));
    }

    /// The storage did not answer, or refused.
    pub(crate) fn set_failing(&self, error: &StorageError) {
        self.state().connected = Some(Err(error.to_string()));
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, ManagerState> {
        self.state.lock()
    }
}

/// Held while a manager works. Dropping it reports that the manager has ended, and that another one
/// may work on its list.
#[derive(Debug)]
pub(crate) struct ManagerGuard {
    pub(crate) handle: Arc<ManagerHandle>,
    pub(crate) queues: Arc<Queues>,
}

impl Drop for ManagerGuard {
    fn drop(&mut self) {
        self.queues.state.send_if_modified(|state| {
            state
                .managers
                .retain(|manager| !Arc::ptr_eq(manager, &self.handle));
            false
        });
        self.handle.ended.cancel();
    }
}
