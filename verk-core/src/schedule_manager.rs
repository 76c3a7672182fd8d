//! Moves jobs that are due from `schedule` and `retry` to their queues.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::time_after,
    error::{Applied, StorageError},
    event::Event,
    job::Job,
    names::QueueName,
    shared::{Shared, pause_before_retry},
    storage::{Due, DueSet, MAX_BATCH_JOBS, Page, Promotion, PromotionTarget, Settled},
};

/// How many members that cannot be moved one look passes over.
const MAX_STUCK: usize = 100 * MAX_BATCH_JOBS;

/// Sleeps until the next job is due, or `poll_interval`, whichever is sooner.
#[derive(Debug)]
pub(crate) struct ScheduleManager {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl ScheduleManager {
    pub(crate) fn new(shared: Arc<Shared>, stop: CancellationToken) -> Self {
        Self { shared, stop }
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(&self) {
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            self.shared.wake.clear();
            // Taken before the look: whatever time the look takes is no part of the sleep.
            let now = self.shared.now();
            let until = match self.move_due().await {
                Ok(next) => {
                    failures = 0;
                    let poll = time_after(now, self.shared.config.poll_interval);
                    next.map_or(poll, |next| next.min(poll))
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot look for due jobs, trying again"
                    );
                    self.shared.now() + pause_before_retry(failures)
                }
            };
            self.sleep(until).await;
        }
    }

    /// Sleeps until `until`, or until this node schedules something sooner.
    async fn sleep(&self, until: SystemTime) {
        let mut until = until;
        loop {
            // In this order, so that time that passes in between shortens the sleep.
            let instant = self.shared.clock.instant();
            let pause = until.duration_since(self.shared.now()).unwrap_or_default();
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.shared.clock.sleep_until(instant + pause) => return,
                at = self.shared.wake.sooner_than(until) => until = at,
            }
        }
    }

    /// Moves all that is due; returns when the next job will be.
    async fn move_due(&self) -> Result<Option<SystemTime>, StorageError> {
        // A set that cannot be read, or has much to move, holds up no other.
        let (retry, schedule) = tokio::join!(
            self.move_due_of(DueSet::Retry),
            self.move_due_of(DueSet::Schedule)
        );
        Ok([retry?, schedule?].into_iter().flatten().min())
    }

    async fn move_due_of(&self, set: DueSet) -> Result<Option<SystemTime>, StorageError> {
        // Members that cannot be moved stay where they are, at the front: pass over them, so that they hold up nobody.
        let mut stuck = 0;
        let mut refused = HashSet::new();
        loop {
            let now = self.shared.now();
            let page = self
                .shared
                .storage
                .due(
                    set,
                    now,
                    Page {
                        offset: stuck,
                        limit: MAX_BATCH_JOBS,
                    },
                )
                .await?;
            if page.jobs.is_empty() || self.stop.is_cancelled() {
                // What is stuck is due all the time: look again after `poll_interval`.
                return Ok(page.next);
            }
            let members = page.jobs.len();
            let before = stuck;
            let mut promotions: Vec<Promotion> = page
                .jobs
                .into_iter()
                .map(|job| self.promotion(job, now))
                .collect();
            promotions.retain(|promotion| !refused.contains(&queue_of(promotion)));
            stuck += members - promotions.len();
            let results = self.shared.storage.promote(set, now, &promotions).await;
            for (promotion, result) in promotions.iter().zip(results) {
                match result {
                    Settled::Done => {}
                    // Another node was faster.
                    Settled::NotHeld => {}
                    Settled::Merged => {
                        tracing::warn!(
                            ?set,
                            "a member of this set equals one in its target: merged"
                        );
                        self.shared.events.send(Event::JobMerged {
                            job: None,
                            queue: queue_of(promotion),
                            at: self.shared.now(),
                        });
                    }
                    Settled::Failed(error) if error.applied() == Applied::Unknown => {
                        self.shared.events.send(Event::ReplyLost {
                            queue: queue_of(promotion),
                            at: self.shared.now(),
                            error: error.clone(),
                        });
                        return Err(error);
                    }
                    Settled::Failed(error) => {
                        stuck += 1;
                        refused.insert(queue_of(promotion));
                        let jid = Job::decode(promotion.held.clone())
                            .ok()
                            .map(|job| job.jid().to_string());
                        tracing::error!(
                            ?set,
                            jid,
                            error = &error as &dyn std::error::Error,
                            "a due job could not be moved and stays where it is"
                        );
                    }
                }
            }
            if stuck - before == members && stuck >= MAX_STUCK {
                // The storage may be ill. Not so fast.
                return Ok(None);
            }
        }
    }

    /// Where a due member goes: to its queue or, if it names none, to the `dead` set as it is.
    fn promotion(&self, held: Bytes, now: SystemTime) -> Promotion {
        let to = match Job::decode(held.clone()) {
            Ok(mut job) => match job.queue().cloned() {
                Some(queue) => {
                    job.set_enqueued_at(Some(now));
                    PromotionTarget::Queue {
                        queue,
                        job: job.encode(),
                    }
                }
                None => self.bury(&held, now, "it names no queue"),
            },
            Err(reason) => self.bury(&held, now, &reason.to_string()),
        };
        Promotion { held, to }
    }

    fn bury(&self, held: &Bytes, now: SystemTime, reason: &str) -> PromotionTarget {
        tracing::error!(
            reason,
            "a due member is no job that can run: moved to the dead set as it is"
        );
        PromotionTarget::Dead {
            job: Due {
                at: now,
                job: held.clone(),
            },
            limits: self.shared.config.dead_limits(),
        }
    }
}

/// The queue that a promotion goes to; `None` for the `dead` set.
fn queue_of(promotion: &Promotion) -> Option<QueueName> {
    match &promotion.to {
        PromotionTarget::Queue { queue, .. } => Some(queue.clone()),
        PromotionTarget::Dead { .. } => None,
    }
}

/// Lets whoever stores a job for later in this process wake the schedule manager in time.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScheduleWake(Arc<Wake>);

#[derive(Debug, Default)]
struct Wake {
    /// The earliest time that was stored since the last look.
    earliest: Mutex<Option<SystemTime>>,
    changed: Notify,
}

impl ScheduleWake {
    /// A job was stored that is due at this time.
    pub(crate) fn due_at(&self, at: SystemTime) {
        let mut earliest = self
            .0
            .earliest
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if earliest.is_none_or(|earliest| at < earliest) {
            *earliest = Some(at);
            self.0.changed.notify_one();
        }
    }

    /// Waits for a time that is sooner than `planned`.
    async fn sooner_than(&self, planned: SystemTime) -> SystemTime {
        loop {
            let changed = self.0.changed.notified();
            let earliest = *self
                .0
                .earliest
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            match earliest {
                Some(at) if at < planned => return at,
                _ => changed.await,
            }
        }
    }

    /// Forgets what was stored: the sets are about to be read.
    fn clear(&self) {
        *self
            .0
            .earliest
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }
}
