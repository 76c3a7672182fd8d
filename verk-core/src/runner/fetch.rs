//! What a fetch asks for, and whether it settles a batch on the way.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{QueueManager, outcomes::settlements};
use crate::{
    runner::{
        lanes::{Activity, Exchange, Fetch, Lane},
        prefetch::Demand,
        settle::Pending,
    },
    storage::{DequeueRequest, MAX_BATCH_BYTES, MAX_BATCH_JOBS, QueueConnection},
};

/// The least size of a second batch, unless fewer jobs are possible: the cost of a trip is then
/// small for each job.
const WORTH_A_TRIP: usize = 32;

impl QueueManager {
    /// Asks for as many jobs as may start, and for a few that start when others end. Settles in the
    /// same trip what is ready. If nothing is ready, the fetch waits for a job.
    pub(super) fn fetch(&mut self) {
        let Some(request) = self.request(1) else {
            return;
        };
        let Some(mut queue) = self.lanes.first.take_idle() else {
            return;
        };
        self.has_one_short = false;
        self.lanes.interrupt = request.interrupt.clone();
        let batch = self.batch_on_the_way();
        if batch.is_empty() && self.prefetch.is_empty() && self.workers.free() > 0 {
            let name = self.queue().clone();
            self.lanes.first = Lane::Fetching {
                demand: demand(&request),
                reply: Box::pin(async move {
                    let result = queue.dequeue(request).await;
                    (queue, result.map(|found| Fetch::read(found, &name)))
                }),
            };
            return;
        }
        // Without prefetched jobs, or without outcomes to settle, the exchange need not be sent at
        // once.
        let has_time = self.prefetch.is_empty() || batch.is_empty();
        self.lanes.first = self.exchange(queue, batch, request);
        if !has_time || self.most_of_two().is_some() {
            self.lanes.first.send();
        }
    }

    /// Sends a second batch while the first is on its way, when jobs end before the next reply.
    pub(super) fn fetch_beside(&mut self) {
        self.take_ended();
        let Some(most) = self.most_of_two() else {
            return;
        };
        match self.lanes.second.activity() {
            Activity::Closed => self.lanes.second = self.open(),
            Activity::Idle => {
                if let Some(request) = self.request(most.min(WORTH_A_TRIP))
                    && let Some(queue) = self.lanes.second.take_idle()
                {
                    let batch = self.batch_on_the_way();
                    self.lanes.second = self.exchange(queue, batch, request);
                    self.lanes.second.send();
                }
            }
            _ => {}
        }
    }

    /// How many jobs each batch fetches at most, if two are on their way at once.
    pub(super) fn most_of_two(&self) -> Option<usize> {
        let concurrency = self.wanted.concurrency;
        self.prefetch.most_of_two(concurrency, self.lanes.demand())
    }

    /// What to ask the queue for; `None` if that is fewer than `at_least` jobs.
    fn request(&self, at_least: usize) -> Option<DequeueRequest> {
        let (concurrency, free) = (self.wanted.concurrency, self.workers.free());
        let on_their_way = self.lanes.demand();
        let mut max_jobs = self.prefetch.room(concurrency, free, on_their_way);
        if max_jobs < at_least || !self.may_fetch() {
            return None;
        }
        let mut max_bytes = self.prefetch.room_bytes(on_their_way);
        if let Some(most) = self.most_of_two() {
            max_jobs = max_jobs.min(most);
            max_bytes = max_bytes.min(MAX_BATCH_BYTES / 2);
        }
        let unstarted = self.prefetch.len() + on_their_way.jobs + max_jobs;
        Some(DequeueRequest {
            max_jobs,
            max_bytes,
            prefetched: unstarted.saturating_sub(free),
            wait: self.services.config.fetch_wait(),
            interrupt: CancellationToken::new(),
        })
    }

    /// What is settled in the same trip as the next fetch.
    fn batch_on_the_way(&mut self) -> Vec<Pending> {
        // A job that goes back to the queue must also reach other nodes, and a hand-back may be
        // larger than a batch: it is settled in a trip of its own.
        if self.lanes.settling.is_some() || self.outbox.has_requeue() {
            return Vec::new();
        }
        self.take_batch()
    }

    fn exchange(
        &self,
        mut queue: Box<dyn QueueConnection>,
        batch: Vec<Pending>,
        request: DequeueRequest,
    ) -> Lane {
        let settlements = settlements(&batch);
        let (clock, name) = (Arc::clone(&self.services.clock), self.queue().clone());
        Lane::Exchanging {
            batch,
            demand: demand(&request),
            is_answered: false,
            reply: Box::pin(async move {
                let sent_at = clock.instant();
                let (settled, dequeued) = queue.settle_and_dequeue(&settlements, &request).await;
                Exchange {
                    queue,
                    settled,
                    took: clock.instant().saturating_duration_since(sent_at),
                    fetch: dequeued.map(|found| Fetch::read(found, &name)),
                }
            }),
        }
    }

    fn may_fetch(&self) -> bool {
        let most_unsettled = MAX_BATCH_JOBS.max(self.wanted.concurrency);
        self.is_open()
            && self.outbox.len() <= most_unsettled
            && self.registration.may_fetch(&*self.services.clock)
    }
}

/// What a request may return: no backend returns more than a batch.
fn demand(request: &DequeueRequest) -> Demand {
    Demand {
        jobs: request.max_jobs.min(MAX_BATCH_JOBS),
        bytes: request.max_bytes,
    }
}
