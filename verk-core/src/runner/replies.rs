//! What follows from a reply: jobs that start, outcomes that are stored, the list of what this node
//! holds.

use std::time::Duration;

use bytes::Bytes;

use super::{QueueManager, RECONCILE_EVERY};
use crate::{
    error::{Applied, StorageError},
    log,
    runner::{
        lanes::{Exchange, Fetch, Lane, Reply},
        payload::Payload,
        prefetch::Demand,
        reconcile::compare,
    },
    storage::{QueueConnection, Settled},
    time::backoff::pause_before_retry,
};

/// How long a queue that was found paused is not fetched from, if no announcement of the pause
/// arrives.
const PAUSED_AGAIN: Duration = Duration::from_millis(500);

impl QueueManager {
    /// Takes a reply of the first lane. The reply of the second lane, if one is on its way, comes
    /// after this one.
    pub(super) fn replied(&mut self, reply: Reply) {
        // No job starts after a pause, not even one that was on its way.
        self.look_at_what_is_wanted();
        match reply {
            Reply::Opened(result) => self.lanes.first = self.opened(result),
            Reply::Exchanged {
                exchange,
                batch,
                demand,
            } => {
                let Exchange {
                    queue,
                    settled,
                    fetch,
                    took,
                } = exchange;
                self.lanes.first = Lane::Idle(queue);
                if self.lanes.second.activity().may_bring_jobs() {
                    std::mem::swap(&mut self.lanes.first, &mut self.lanes.second);
                }
                self.prefetch.trip_took(took);
                if batch.is_empty() {
                    self.fetched(fetch, demand);
                } else {
                    self.took_over(fetch, demand);
                    if settled.iter().all(|one| matches!(one, Settled::Done)) {
                        self.stored = (batch, took);
                    } else {
                        self.settled(batch, settled, took);
                    }
                }
            }
            Reply::Fetched {
                queue,
                fetch,
                demand,
            } => {
                self.lanes.first = Lane::Idle(queue);
                self.fetched(fetch, demand);
                self.has_one_short = self.prefetched_one_short();
            }
            Reply::Read(list) => {
                self.lanes.first = Lane::Idle(list.queue);
                if let Some(queue) = list.second {
                    self.lanes.second = Lane::Idle(queue);
                }
                match list.payloads {
                    // The answer may be old, as with a fetch. If the node no longer knows whose the
                    // jobs are, the list is read again.
                    Ok(payloads) if self.knows_whose_it_is() => self.reconcile(payloads),
                    Ok(_) => {}
                    Err(error) => self.pause_fetching(&error),
                }
            }
        }
    }

    /// The state of a lane after its connection was opened, or could not be opened.
    pub(super) fn opened(
        &mut self,
        result: Result<Box<dyn QueueConnection>, StorageError>,
    ) -> Lane {
        match result {
            Ok(queue) => {
                self.fetch_failures = 0;
                self.handle.set_connected();
                Lane::Idle(queue)
            }
            Err(error) => {
                self.pause_fetching(&error);
                Lane::Closed
            }
        }
    }

    fn fetched(&mut self, fetch: Result<Fetch, StorageError>, demand: Demand) {
        if let Err(error) = &fetch
            && error.applied() == Applied::Unknown
        {
            self.reply_lost(error);
        }
        self.took_over(fetch, demand);
    }

    /// As [`Self::fetched`], when the settlements of the same trip have reported a lost reply.
    fn took_over(&mut self, fetch: Result<Fetch, StorageError>, demand: Demand) {
        match fetch {
            Ok(Fetch::Jobs(payloads))
                if !payloads.is_empty() && !self.registration.may_fetch(&*self.services.clock) =>
            {
                // The answer may be old: by now these jobs may have been given to another node.
                self.fetch_failures = 0;
                self.must_reconcile = true;
            }
            Ok(Fetch::Jobs(payloads)) => {
                self.fetch_failures = 0;
                self.handle.set_connected();
                let now = self.services.clock.instant();
                self.prefetch.fetched(demand.jobs, payloads, now);
            }
            Ok(Fetch::Paused(payloads)) => {
                self.fetch_failures = 0;
                for payload in payloads {
                    self.hand_back(payload);
                }
                if !self.wanted.paused {
                    // The announcement of the pause is on its way, or it was lost.
                    self.fetch_at = self.services.clock.instant() + PAUSED_AGAIN;
                    self.services.found_paused.notify_one();
                }
            }
            Ok(Fetch::NodeGone) => self.registration.lose(),
            Err(error) => {
                self.must_reconcile |= error.applied() == Applied::Unknown;
                self.pause_fetching(&error);
            }
        }
    }

    /// Whether one job was prefetched, may start, and most likely ends within a trip.
    fn prefetched_one_short(&self) -> bool {
        let mut jobs = self.prefetch.jobs();
        let (Some(Payload { job: Ok(job), .. }), None) = (jobs.next(), jobs.next()) else {
            return false;
        };
        let class = self.workforce.registry.registered(job.class());
        self.workers.free() > 0 && class.is_some_and(|class| class.recent.ends_within_a_trip())
    }

    fn pause_fetching(&mut self, error: &StorageError) {
        self.fetch_failures += 1;
        self.handle.set_failing(error);
        // After a lost reply, the list is read at once.
        if error.applied() == Applied::NotApplied || self.fetch_failures > 1 {
            self.fetch_at = self.services.clock.instant() + pause_before_retry(self.fetch_failures);
        }
        log::warn!(queue = %self.inprogress.queue, error = %error, "cannot fetch jobs, trying again");
    }

    /// Compares the `inprogress` list with the jobs that this node works on.
    fn reconcile(&mut self, list: Vec<Bytes>) {
        self.must_reconcile = false;
        self.reconcile_at =
            self.services.clock.instant() + self.services.config.heartbeat * RECONCILE_EVERY;
        // Of equal payloads, those whose settle may have been applied are the most likely to be
        // gone.
        self.outbox.put_unknown_first();
        let mut held: Vec<Bytes> = self.outbox.held().chain(self.workers.held()).collect();
        let (pending, begun) = (self.outbox.len(), held.len());
        held.extend(self.prefetch.jobs().map(|payload| payload.held.clone()));
        let differences = compare(list, &held);
        for position in differences.lost.into_iter().rev() {
            if position >= begun {
                // The node that took it logs that. Here it never began.
                self.prefetch.remove(position - begun);
                continue;
            }
            if position >= pending {
                self.workers.lose(position - pending);
                continue;
            }
            match self.outbox.remove(position) {
                // The reply was lost, but the change was applied. If the node was declared dead,
                // nobody knows that: another node may have restored the job.
                Some(applied) if applied.unknown && !self.registration.is_lost() => {
                    self.count(self.report(applied));
                }
                Some(pending) => self.lost(pending.event.job),
                None => {}
            }
        }
        self.outbox.none_is_stored();
        // The list begins with the job that was fetched last.
        for stray in differences.strays.into_iter().rev() {
            log::warn!(queue = %self.inprogress.queue, "found a job in progress that nobody here works on: a reply was lost");
            if self.is_open() && !self.registration.is_lost() && self.workers.free() > 0 {
                let payload = Payload::read(stray, &self.inprogress.queue);
                self.accept(payload);
            } else {
                self.hand_back(stray);
            }
        }
    }
}
