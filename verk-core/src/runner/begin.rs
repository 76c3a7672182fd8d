//! What happens to the storage when a job starts: nothing for most jobs.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    effects,
    job::Job,
    log,
    outcome::Outcome,
    storage::{Effect, Inprogress, Settled},
    test_seam::RunFuture,
    worker::{WorkerEntry, run_state::RunState, workforce::Workforce},
};

/// When a job starts again whose start could not be stored.
const AGAIN: Duration = Duration::from_secs(1);

/// The start of a job that has effects.
pub(super) struct Begin {
    effects: Vec<Effect>,
    inprogress: Inprogress,
    held: Bytes,
}

impl Begin {
    /// `None` for most jobs.
    pub(super) fn of(job: &Job, held: &Bytes, inprogress: &Inprogress) -> Option<Box<Self>> {
        let effect = effects::of_start(job, &inprogress.queue)?;
        Some(Box::new(Self {
            effects: vec![effect],
            inprogress: inprogress.clone(),
            held: held.clone(),
        }))
    }

    /// The work of a run, after the effects of its start.
    pub(super) fn perform(
        self: Box<Self>,
        workforce: Arc<Workforce>,
        worker: WorkerEntry,
        run: Arc<RunState>,
    ) -> RunFuture {
        Box::pin(async move {
            let storage = &workforce.services.storage;
            let begun = storage.begin(&self.inprogress, &self.held, &self.effects);
            match begun.await {
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
