//! The outcomes of runs: settled in batches, published once they are stored.

use std::{sync::Arc, time::Duration};

use super::QueueManager;
use crate::{
    error::{Applied, StorageError},
    events::event::{Event, EventKind},
    job::Job,
    log,
    outcome::Ending,
    runner::{ended_run::EndedRun, lanes::SettleCall, settle::Pending},
    stats::counters::counts_of,
    storage::{Counts, Settled, Settlement, Target},
    time::backoff::pause_before_retry,
};

impl QueueManager {
    /// Takes a run that has ended, and decides its outcome.
    pub(super) fn ended(&mut self, run: EndedRun) {
        // By now this node may hold the same payload again, so the outcome of a lost run is not
        // stored.
        if run.lost {
            self.lost(Some(run.job));
            return;
        }
        let pending = self.rules().conclude(run);
        if let Some(took) = pending.took {
            self.prefetch.run_took(took);
        }
        self.outbox.push(pending);
    }

    /// Takes all runs that have ended by now.
    pub(super) fn take_ended(&mut self) {
        while let Some(run) = self.workers.try_finished() {
            self.ended(run);
        }
    }

    /// Sends a batch without a fetch.
    pub(super) fn settle_alone(&mut self) {
        let batch = self.take_batch();
        if batch.is_empty() {
            return;
        }
        let settlements = settlements(&batch);
        let (storage, inprogress) = (Arc::clone(&self.services.storage), self.inprogress.clone());
        self.lanes.settling = Some(SettleCall {
            batch,
            sent_at: self.services.clock.instant(),
            reply: Box::pin(async move { storage.settle(&inprogress, &settlements).await }),
        });
    }

    /// Handles the results of the batch that was sent without a fetch.
    pub(super) fn settled_alone(&mut self, results: Vec<Settled>) {
        let Some(SettleCall { batch, sent_at, .. }) = self.lanes.settling.take() else {
            return;
        };
        let now = self.services.clock.instant();
        self.settled(batch, results, now.saturating_duration_since(sent_at));
    }

    /// Takes what is ready to be settled.
    pub(super) fn take_batch(&mut self) -> Vec<Pending> {
        let now = self.services.clock.instant();
        // The jobs that are handed back return to the queue in the order in which they were
        // fetched. So they wait until all of them are here, and are sent in one call.
        let holds_requeues =
            !self.workers.is_idle() && self.hand_back_at.is_some_and(|until| now < until);
        self.outbox.take_batch(now, holds_requeues)
    }

    /// Publishes the events of a settled batch, after the next request was sent.
    pub(super) fn tell_stored(&mut self) {
        let (mut stored, took) = std::mem::take(&mut self.stored);
        if stored.is_empty() {
            return;
        }
        self.tell_batch(stored.len(), took);
        let mut counts = Counts::default();
        for pending in stored.drain(..) {
            counts.add(self.report(pending));
        }
        self.count(counts);
        self.outbox.reuse(stored);
    }

    pub(super) fn tell_batch(&self, jobs: usize, took: Duration) {
        self.publish(None, EventKind::BatchSettled { jobs, took });
    }

    /// Handles the results of a batch that was sent.
    pub(super) fn settled(&mut self, batch: Vec<Pending>, results: Vec<Settled>, took: Duration) {
        let now = self.services.clock.instant();
        let mut counts = Counts::default();
        let mut reply_lost = None;
        self.tell_batch(results.len(), took);
        for (mut pending, result) in batch.into_iter().zip(results) {
            match result {
                Settled::Done => counts.add(self.report(pending)),
                Settled::Merged => {
                    log::warn!(queue = %self.inprogress.queue, "a job equals a member of the set that it went to: merged");
                    self.publish(pending.event.job.clone(), EventKind::JobMerged);
                    counts.add(self.report(pending));
                }
                Settled::Superseded => {
                    pending.supersede();
                    counts.add(self.report(pending));
                }
                // A job that runs took its lock long ago, so nothing stands in its way.
                Settled::NotHeld | Settled::Conflict { .. } => self.lost(pending.event.job),
                Settled::Failed(error) => {
                    pending.failures += 1;
                    pending.not_before = Some(now + pause_before_retry(pending.failures));
                    log::warn!(queue = %self.inprogress.queue, error = %error, "the outcome of a job could not be stored, trying again");
                    if error.applied() == Applied::Unknown {
                        pending.unknown = true;
                        self.must_reconcile = true;
                        reply_lost.get_or_insert(error);
                    }
                    self.outbox.push(pending);
                }
            }
        }
        self.count(counts);
        // One line for everything that was sent in the same request.
        if let Some(error) = &reply_lost {
            self.reply_lost(error);
        }
    }

    pub(super) fn reply_lost(&self, error: &StorageError) {
        let error = error.clone();
        self.publish(None, EventKind::ReplyLost { error });
    }

    /// Publishes an outcome that is now stored. Returns what it adds to the counters.
    pub(super) fn report(&self, pending: Pending) -> Counts {
        if let Target::Retry(due) | Target::Schedule(due) = &pending.settlement.to {
            self.services.due_somewhere(due.at, self.services.now());
        }
        let (queue, job) = (&self.inprogress.queue, pending.event.job.as_deref());
        self.services.tallies.ended(queue, job, pending.ending);
        let counts = counts_of(pending.ending);
        if let (Some(counts), Some(took), Some(job)) = (counts, pending.took, job) {
            self.counters
                .add_execution(job, counts, took, || self.services.now());
        }
        self.services.events.send(pending.event);
        counts.unwrap_or_default()
    }

    pub(super) fn count(&self, counts: Counts) {
        if counts != Counts::default() {
            self.counters.add(counts, self.services.now());
        }
    }

    pub(super) fn lost(&self, job: Option<Arc<Job>>) {
        log::warn!(queue = %self.inprogress.queue, "the outcome of a job has no effect: the job does not belong to this node any more");
        let queue = &self.inprogress.queue;
        self.services
            .tallies
            .ended(queue, job.as_deref(), Ending::Lost);
        self.publish(job, EventKind::JobLost);
    }

    /// Publishes an event of the queue, or of a job of it.
    pub(super) fn publish(&self, job: Option<Arc<Job>>, what: EventKind) {
        self.services.events.send(Event {
            at: self.services.now(),
            queue: Some(self.inprogress.queue.clone()),
            job,
            what,
        });
    }
}

/// The settlements to send for a batch.
pub(super) fn settlements(batch: &[Pending]) -> Vec<Settlement> {
    let settlements = batch.iter().map(|pending| pending.settlement.clone());
    settlements.collect()
}
