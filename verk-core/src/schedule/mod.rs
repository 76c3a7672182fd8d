//! Moves jobs that are due from `schedule` and `retry` to their queues.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Applied, StorageError},
    events::event::{Event, EventKind},
    job::Job,
    log,
    names::{NodeId, QueueName},
    services::Services,
    storage::{
        Due, DueSet, Lease, MAX_BATCH_JOBS, Page, Promotion, PromotionTarget, SchedulePoll, Settled,
    },
    time::{backoff::pause_before_retry, clock::time_after},
};

/// How often the dead set is cut to its limits, beside what each death cuts. Unless deaths have
/// stopped, or another program fills the set, there is nothing to cut.
const TRIM_EVERY: Duration = Duration::from_secs(60);

/// How many members that cannot be moved one look passes over.
const MAX_STUCK: usize = 100 * MAX_BATCH_JOBS;

/// Sleeps until the next job is due, and moves it, if this node has the lease to do so for all.
///
/// The lease lasts for `poll_interval`, and whoever holds it looks, and renews it, twice as often:
/// so it knows of every job in time that was stored more than `poll_interval` before it is due, and
/// another node takes over within `poll_interval`. A job that this node stored later than that is
/// moved by this node itself, with the lease or without.
#[derive(Debug)]
pub(crate) struct ScheduleManager {
    services: Arc<Services>,
    node: NodeId,
    stop: CancellationToken,
    /// Until when this node moves jobs without the lease, because it stored some of them.
    moves_until: Option<SystemTime>,
    /// Whether this node cuts the dead set, while it sleeps.
    trims: bool,
    /// When the dead set is to be cut next.
    trim_at: Instant,
}

impl ScheduleManager {
    pub(crate) fn new(services: Arc<Services>, node: NodeId, stop: CancellationToken) -> Self {
        Self {
            trim_at: services.clock.instant(),
            services,
            node,
            stop,
            moves_until: None,
            trims: false,
        }
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(&mut self) {
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            let until = match self.look().await {
                Ok(until) => {
                    failures = 0;
                    self.services.monitor.schedule.well();
                    until
                }
                Err(error) => {
                    failures += 1;
                    let at = self.services.clock.instant();
                    self.services.monitor.schedule.failed(&error, at);
                    log::warn!(
                        error = %error,
                        "cannot look for due jobs, trying again"
                    );
                    self.services.now() + pause_before_retry(failures)
                }
            };
            self.sleep(until).await;
        }
    }

    /// Sleeps until `until`, or until a job is due that this node stored meanwhile. Cuts the dead
    /// set in steps, if that is up to this node: the sleep ends in time whatever there is to cut.
    async fn sleep(&mut self, until: SystemTime) {
        let mut until = until;
        loop {
            // In this order, so that time that passes in between shortens the sleep.
            let instant = self.services.clock.instant();
            let pause = until
                .duration_since(self.services.now())
                .unwrap_or_default();
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.services.clock.sleep_until(instant + pause) => return,
                at = self.services.wake.sooner_than(until) => until = at,
                more = self.trim_dead(), if self.trims => self.trimmed(more),
            }
        }
    }

    /// One step. One that is given up half-way is done or not, and done again.
    async fn trim_dead(&self) -> Result<bool, StorageError> {
        let (now, limits) = (self.services.now(), self.services.config.dead_limits());
        self.services.storage.trim_dead(now, limits).await
    }

    fn trimmed(&mut self, more: Result<bool, StorageError>) {
        self.trims = match more {
            Ok(more) => more,
            Err(error) => {
                log::warn!(
                    error = %error,
                    "cannot cut the dead set to its limits, trying again later"
                );
                false
            }
        };
        if !self.trims {
            self.trim_at = self.services.clock.instant() + TRIM_EVERY;
        }
    }

    /// Moves what is due if that is up to this node; returns when to look again.
    async fn look(&mut self) -> Result<SystemTime, StorageError> {
        let poll_interval = self.services.config.poll_interval;
        // Taken before the look: whatever time the look takes is no part of the sleep.
        let now = self.services.now();
        self.moves_until = self.moves_until.max(self.services.wake.take(now));
        let storage = &self.services.storage;
        let poll = storage.poll_schedule(&self.node, poll_interval).await?;
        self.trims = poll.lease == Lease::Granted && self.services.clock.instant() >= self.trim_at;
        let look_again = match poll.lease {
            Lease::Granted => time_after(now, poll_interval / 2),
            Lease::Held { ttl } => time_after(now, ttl.min(poll_interval)),
        };
        if poll.lease != Lease::Granted && self.moves_until.is_none() {
            return Ok(look_again);
        }
        // A set that cannot be read, or has much to move, holds up no other.
        let (retry, schedule) = tokio::join!(
            self.move_due_of(DueSet::Retry, &poll, look_again),
            self.move_due_of(DueSet::Schedule, &poll, look_again)
        );
        let next = [retry?, schedule?].into_iter().flatten().min();
        let is_ours = poll.lease == Lease::Granted || next <= self.moves_until;
        self.moves_until = self.moves_until.filter(|until| *until > now);
        Ok(match next {
            Some(next) if is_ours => next.min(look_again),
            _ => look_again,
        })
    }

    /// Moves what is due of one set, until there is no more or the time comes to renew the lease;
    /// returns when the next is due.
    async fn move_due_of(
        &self,
        set: DueSet,
        poll: &SchedulePoll,
        until: SystemTime,
    ) -> Result<Option<SystemTime>, StorageError> {
        // Members that cannot be moved stay where they are, at the front: pass over them, so that
        // they hold up nobody.
        let mut stuck = 0;
        let mut refused = HashSet::new();
        let mut next = poll.next(set);
        loop {
            let now = self.services.now();
            if next.is_none_or(|next| next > now) || now >= until || self.stop.is_cancelled() {
                return Ok(next);
            }
            let page = self
                .services
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
            // What is stuck is due all the time, and not counted: it is looked at again with all
            // else.
            next = page.next;
            let members = page.jobs.len();
            let before = stuck;
            let mut promotions: Vec<Promotion> = page
                .jobs
                .into_iter()
                .map(|job| self.promotion(job, now))
                .collect();
            promotions.retain(|promotion| !refused.contains(&queue_of(promotion)));
            stuck += members - promotions.len();
            let results = self.services.storage.promote(set, now, &promotions).await;
            for (promotion, result) in promotions.iter().zip(results) {
                match result {
                    Settled::Done => {}
                    // Another node was faster.
                    Settled::NotHeld => {}
                    Settled::Merged => {
                        log::warn!(
                            ?set,
                            "a member of this set equals one in its target: merged"
                        );
                        self.services.events.send(Event {
                            at: self.services.now(),
                            queue: queue_of(promotion),
                            job: None,
                            what: EventKind::JobMerged,
                        });
                    }
                    Settled::Failed(error) if error.applied() == Applied::Unknown => {
                        self.services.events.send(Event {
                            at: self.services.now(),
                            queue: queue_of(promotion),
                            job: None,
                            what: EventKind::ReplyLost {
                                error: error.clone(),
                            },
                        });
                        return Err(error);
                    }
                    Settled::Failed(error) => {
                        stuck += 1;
                        refused.insert(queue_of(promotion));
                        let jid = Job::decode(promotion.held.clone())
                            .ok()
                            .map(|job| job.jid().to_string());
                        log::error!(
                            ?set,
                            jid,
                            error = %error,
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
                    job.write_as(self.services.config.form());
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
        log::error!(
            reason,
            "a due member is no job that can run: moved to the dead set as it is"
        );
        PromotionTarget::Dead {
            job: Due {
                at: now,
                job: held.clone(),
            },
            limits: self.services.config.dead_limits(),
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
