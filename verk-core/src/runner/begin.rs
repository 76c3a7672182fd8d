//! What happens to the storage when a job starts: nothing for most jobs.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    log,
    outcome::Outcome,
    storage::{Effect, Inprogress, Settled},
    test_seam::RunFuture,
    worker::{WorkerEntry, run_state::RunState, workforce::Workforce},
};

/// When a job starts again whose start could not be stored.
const AGAIN: Duration = Duration::from_secs(1);

/// The work of a run, after the effects of its start.
pub(super) fn after(
    effects: Vec<Effect>,
    inprogress: Inprogress,
    held: Bytes,
    workforce: Arc<Workforce>,
    worker: WorkerEntry,
) -> impl FnOnce(Arc<RunState>) -> RunFuture + Send + 'static {
    move |run| {
        Box::pin(async move {
            let storage = &workforce.services.storage;
            match storage.begin(&inprogress, &held, &effects).await {
                Settled::Failed(error) => {
                    log::warn!(queue = %run.queue, jid = %run.job.jid(), error = %error, "the start of a job could not be stored, starting it again later");
                    Ok(Outcome::Snooze(AGAIN))
                }
                Settled::NotHeld => {
                    run.lose();
                    Ok(Outcome::Done)
                }
                _ => workforce.perform(worker, run).await,
            }
        })
    }
}
