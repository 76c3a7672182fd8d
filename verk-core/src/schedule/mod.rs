//! Moves due jobs from `schedule` and `retry` to their queues, and takes the runs of the timetable.

pub(crate) mod suspects;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    effects,
    error::{Applied, StorageError},
    events::event::{Event, EventKind},
    job::Job,
    log,
    names::{NodeId, QueueName},
    services::Services,
    storage::{
        DeadLimits, Due, DueSet, Lease, MAX_BATCH_JOBS, Move, MoveTarget, Page, SchedulePoll,
        Settled, Source, Storage,
    },
    time::{backoff::pause_before_retry, clock::time_after},
    timetable::{Declared, Keeper},
};

use self::suspects::{Ended, Search};

/// How often the dead set is cut to its limits at most, in addition to what each death cuts. Unless
/// deaths have stopped, or another program fills the set, there is nothing to cut, and each poll
/// says so.
const TRIM_EVERY: Duration = Duration::from_secs(60);

/// How many members that cannot be moved one poll skips.
const MAX_STUCK: usize = 100 * MAX_BATCH_JOBS;

/// Sleeps until the next job is due, and moves it, if this node has the lease to move the jobs of
/// all queues. It also takes the runs of the timetable that are due.
///
/// The lease lasts for `poll_interval`, and its holder polls, and renews it, twice in that time. So
/// the holder knows in time of every job that was stored more than `poll_interval` before it is
/// due. Another node takes over within `poll_interval`. If this node stored a job later than that,
/// it moves the job itself, with the lease or without. It takes a run without the lease, too, if
/// the run is late: the holder may stand still, or know no timetable.
#[derive(Debug)]
pub(crate) struct ScheduleManager {
    services: Arc<Services>,
    node: NodeId,
    stop: CancellationToken,
    /// Until when this node moves jobs without the lease, because it stored some of them.
    moves_until: Option<SystemTime>,
    /// Whether this node cuts the dead set, while it sleeps.
    trims: bool,
    /// When the dead set must be cut next.
    trim_at: Instant,
    timetable: Keeper,
    /// The search for the job of a suspect lock, made while it sleeps.
    search: Option<Search>,
}

impl ScheduleManager {
    pub(crate) fn new(
        services: Arc<Services>,
        node: NodeId,
        declared: Arc<Declared>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            timetable: Keeper::new(declared, services.clock.instant()),
            trim_at: services.clock.instant(),
            services,
            node,
            stop,
            moves_until: None,
            trims: false,
            search: None,
        }
    }

    /// Runs until it is stopped.
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
    /// set in steps, if this node has to. The sleep ends in time, however much there is to cut.
    async fn sleep(&mut self, until: SystemTime) {
        let mut until = until;
        let mut search = self.search.take();
        loop {
            // In this order, so that time that passes between the two shortens the sleep.
            let instant = self.services.clock.instant();
            let pause = until
                .duration_since(self.services.now())
                .unwrap_or_default();
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.services.clock.sleep_until(instant + pause) => break,
                at = self.services.wake().sooner_than(until) => until = at,
                more = self.trim_dead(), if self.trims => self.trimmed(more),
                ended = search_step(&mut search, &*self.services.storage), if search.is_some() => {
                    if self.searched(ended) {
                        search = None;
                    }
                }
            }
        }
        self.search = search;
    }

    /// Reports the end of a search. Returns whether it ended.
    fn searched(&self, ended: Result<Option<Ended>, StorageError>) -> bool {
        match ended {
            Ok(None) => false,
            Ok(Some(Ended::Held)) => true,
            Ok(Some(Ended::Freed(lock))) => {
                log::warn!(jid = %lock.jid, class = lock.class, "the job of a unique lock is nowhere: another program deleted or ran it; the lock is free");
                self.services.publish(EventKind::LockRepaired {
                    jid: lock.jid,
                    class: lock.class,
                });
                true
            }
            Err(error) => {
                let at = self.services.clock.instant();
                self.services.monitor.schedule.failed(&error, at);
                true
            }
        }
    }

    /// One step. If it is dropped half-way, it is done or not, and done again.
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

    /// Moves due jobs if this node has to. Returns when to poll again.
    async fn look(&mut self) -> Result<SystemTime, StorageError> {
        let poll_interval = self.services.config.poll_interval;
        // Read before the poll, so that the time of the poll is no part of the sleep.
        let now = self.services.now();
        self.timetable.declare(&self.services).await;
        self.moves_until = self.moves_until.max(self.services.wake().take(now));
        let storage = &self.services.storage;
        let poll = storage.poll_schedule(&self.node, poll_interval).await?;
        self.trims = poll.lease == Lease::Granted
            && self.services.clock.instant() >= self.trim_at
            && exceeds(&poll, self.services.config.dead_limits(), now);
        if poll.lease == Lease::Granted && poll.has_suspects && self.search.is_none() {
            self.search = storage.suspect().await?.map(Search::new);
        }
        let mut pause = pause(poll.lease, poll_interval);
        if let Some(declares_in) = self.timetable.declares_in(self.services.clock.instant()) {
            pause = pause.min(declares_in);
        }
        let look_again = time_after(now, pause);
        let is_late = |due| time_after(due, poll_interval) <= now;
        let moves = poll.lease == Lease::Granted || self.moves_until.is_some();
        if !moves && !poll.cron.is_some_and(is_late) {
            return Ok(look_again);
        }
        if poll.lease == Lease::Granted && poll.cron.is_some() {
            self.timetable.look_for_orphans(&self.services).await;
        }
        let timetable = async {
            match poll.cron {
                Some(due) if due <= self.services.now() => {
                    (self.timetable.take(&self.services, look_again, &self.stop)).await
                }
                next => Ok(next),
            }
        };
        let due_of = async |set| match moves {
            true => self.move_due_of(set, &poll, look_again).await,
            false => Ok(None),
        };
        // A set that cannot be read, or has much to move, delays no other.
        let (cron, retry, schedule) =
            tokio::join!(timetable, due_of(DueSet::Retry), due_of(DueSet::Schedule));
        let next = [cron?, retry?, schedule?].into_iter().flatten().min();
        let is_ours = poll.lease == Lease::Granted || next <= self.moves_until;
        self.moves_until = self.moves_until.filter(|until| *until > now);
        Ok(match next {
            Some(next) if is_ours => next.min(look_again),
            _ => look_again,
        })
    }

    /// Moves the due jobs of one set, until there are no more or the lease must be renewed. Returns
    /// when the next is due.
    async fn move_due_of(
        &self,
        set: DueSet,
        poll: &SchedulePoll,
        until: SystemTime,
    ) -> Result<Option<SystemTime>, StorageError> {
        // Members that cannot be moved stay in their place, at the front. The scan skips them, so
        // that they delay no other job.
        let mut stuck = 0;
        let mut refused = HashSet::new();
        let mut next = poll.next(set);
        let from = Source::Set(set.into());
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
            // Stuck members are due all the time, and do not count: the next poll reads them again
            // with the rest.
            next = page.next;
            let members = page.jobs.len();
            let before = stuck;
            let mut moves: Vec<Move> = page
                .jobs
                .into_iter()
                .map(|job| move_of(job, &from, now, &self.services.config))
                .collect();
            moves.retain(|step| !refused.contains(&queue_of(step)));
            stuck += members - moves.len();
            let storage = &self.services.storage;
            let results = storage.move_jobs(&from, &moves, Some(now)).await;
            for (step, result) in moves.iter().zip(results) {
                match result {
                    Settled::Done => {}
                    // Another node was faster.
                    Settled::NotHeld => {}
                    // A due job leaves no dead set, and no job waits for the lock of one in a set.
                    Settled::Superseded | Settled::Conflict { .. } => {}
                    Settled::Merged => {
                        log::warn!(
                            ?set,
                            "a member of this set equals one in its target: merged"
                        );
                        self.services.events.send(Event {
                            at: self.services.now(),
                            queue: queue_of(step),
                            job: None,
                            what: EventKind::JobMerged,
                        });
                    }
                    Settled::Failed(error) if error.applied() == Applied::Unknown => {
                        self.services.events.send(Event {
                            at: self.services.now(),
                            queue: queue_of(step),
                            job: None,
                            what: EventKind::ReplyLost {
                                error: error.clone(),
                            },
                        });
                        return Err(error);
                    }
                    Settled::Failed(error) => {
                        stuck += 1;
                        refused.insert(queue_of(step));
                        let jid = Job::decode(step.held.clone())
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
                // The storage may have a problem: wait before the next try.
                return Ok(None);
            }
        }
    }
}

/// Whether the dead set is over its limits.
fn exceeds(poll: &SchedulePoll, limits: DeadLimits, now: SystemTime) -> bool {
    let expires = |death| time_after(death, limits.timeout);
    poll.dead > limits.max_jobs || poll.first_death.is_some_and(|death| expires(death) <= now)
}

async fn search_step(
    search: &mut Option<Search>,
    storage: &dyn Storage,
) -> Result<Option<Ended>, StorageError> {
    match search {
        Some(search) => search.step(storage).await,
        None => Ok(Some(Ended::Held)),
    }
}

/// The time until the next poll: the holder of the lease renews it in time, and another node polls
/// when the lease may be free.
fn pause(lease: Lease, poll_interval: Duration) -> Duration {
    match lease {
        Lease::Granted => poll_interval / 2,
        Lease::Held { ttl } => ttl.min(poll_interval),
    }
}

/// The target of a due member: its queue or, if it names none, the `dead` set, byte for byte.
fn move_of(held: Bytes, from: &Source, now: SystemTime, config: &Config) -> Move {
    let mut job = match Job::decode(held.clone()) {
        Ok(job) => job,
        Err(reason) => {
            let to = bury(&held, now, config, &reason.to_string());
            return Move::new(held, to);
        }
    };
    let to = match job.queue().cloned() {
        Some(queue) => {
            job.write_as(config.form());
            job.set_enqueued_at(Some(now));
            MoveTarget::Queue {
                queue,
                job: job.encode(),
            }
        }
        None => bury(&held, now, config, "it names no queue"),
    };
    let effects = effects::of_move(&job, from, &to);
    Move { held, to, effects }
}

fn bury(held: &Bytes, now: SystemTime, config: &Config, reason: &str) -> MoveTarget {
    log::error!(
        reason,
        "a due member is no job that can run: moved to the dead set as it is"
    );
    MoveTarget::Dead {
        job: Due {
            at: now,
            job: held.clone(),
        },
        limits: config.dead_limits(),
    }
}

/// The queue that a due job goes to; `None` for the `dead` set.
fn queue_of(step: &Move) -> Option<QueueName> {
    match &step.to {
        MoveTarget::Queue { queue, .. } => Some(queue.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn move_of(held: &'static str) -> Move {
        let from = Source::Set(DueSet::Retry.into());
        super::move_of(
            Bytes::from_static(held.as_bytes()),
            &from,
            NOW,
            &Config::default(),
        )
    }

    #[test]
    fn a_due_job_goes_to_the_queue_that_it_names() {
        let held = r#"{"class":"Welcome","jid":"1","args":[],"queue":"mailers","retry_count":2}"#;
        let step = move_of(held);
        assert_eq!(step.held, held);
        assert_eq!(queue_of(&step), Some("mailers".parse().unwrap()));
        let MoveTarget::Queue { job, .. } = step.to else {
            panic!("{step:?}");
        };
        let job = Job::decode(job).unwrap();
        assert_eq!(job.enqueued_at(), Some(NOW));
        assert_eq!(job.get("retry_count"), Some("2"), "its failures stay");
    }

    #[test]
    fn a_member_that_cannot_run_is_buried_as_it_is() {
        for held in ["no job", r#"{"class":"Welcome","jid":"1","args":[]}"#] {
            let step = move_of(held);
            assert_eq!(queue_of(&step), None);
            let MoveTarget::Dead { job, limits } = step.to else {
                panic!("{step:?}");
            };
            assert_eq!((job.at, &job.job[..]), (NOW, held.as_bytes()));
            assert_eq!(limits, Config::default().dead_limits());
        }
    }

    #[test]
    fn the_holder_of_the_lease_polls_before_it_ends() {
        let interval = Duration::from_secs(5);
        assert!(pause(Lease::Granted, interval) < interval);
        let ttl = Duration::from_secs(2);
        assert_eq!(pause(Lease::Held { ttl }, interval), ttl);
        assert_eq!(pause(Lease::Held { ttl: 2 * interval }, interval), interval);
    }
}
