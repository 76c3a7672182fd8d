//! What a fetch asks for, and whether it settles a batch on the way.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{QueueManager, outcomes::settlements};
use crate::{
    runner::{
        connection::{Connection, Exchanged, Fetched},
        settle::Pending,
    },
    storage::{DequeueRequest, MAX_BATCH_BYTES, MAX_BATCH_JOBS, QueueConnection},
};

/// How many jobs a second batch has, at least, or as many as there may be: what a trip costs beside them is little.
const WORTH_A_TRIP: usize = 32;

impl QueueManager {
    /// Asks for as many jobs as may start, and a few that start when others end. Settles on the way what is ready; without that, waits
    /// for a job.
    pub(super) fn fetch(
        &mut self,
        mut queue: Box<dyn QueueConnection>,
        interrupt: &mut CancellationToken,
    ) -> Connection {
        let Some(request) = self.request(1) else {
            return Connection::Idle(queue);
        };
        *interrupt = request.interrupt.clone();
        let batch = self.batch_on_the_way();
        if batch.is_empty() && self.prefetch.is_empty() && self.workers.free() > 0 {
            let name = self.queue().clone();
            return Connection::Fetching(Box::pin(async move {
                let result = queue.dequeue(request).await;
                (queue, result.map(|found| Fetched::read(found, &name)))
            }));
        }
        self.exchange(queue, batch, request)
    }

    /// Sends another batch beside the one that is on its way, when jobs end before the next reply.
    pub(super) async fn start_beside(&mut self, second: &mut Connection) {
        if second.is_exchanging() || self.most_of_two().is_none() {
            return;
        }
        // The jobs of the last batch, if they take no longer.
        tokio::task::yield_now().await;
        self.all_finished();
        let Some(most) = self.most_of_two() else {
            return;
        };
        if self.must_reconcile || self.services.clock.instant() < self.fetch_at {
            return;
        }
        match second {
            Connection::Closed => *second = self.open(),
            Connection::Idle(_) => {
                if let Some(request) = self.request(most.min(WORTH_A_TRIP))
                    && let Some(queue) = second.take_idle()
                {
                    let batch = self.batch_on_the_way();
                    *second = self.exchange(queue, batch, request).spawn();
                }
            }
            _ => {}
        }
    }

    /// How many jobs each batch fetches at most, if two are on their way at once.
    pub(super) fn most_of_two(&self) -> Option<usize> {
        self.prefetch.most_of_two(self.wanted.concurrency)
    }

    /// What to ask the queue for, if that is `at_least` so many jobs.
    fn request(&mut self, at_least: usize) -> Option<DequeueRequest> {
        let (concurrency, free) = (self.wanted.concurrency, self.workers.free());
        let mut max_jobs = self.prefetch.room(concurrency, free);
        if max_jobs < at_least || !self.may_fetch() {
            return None;
        }
        let mut max_bytes = self.prefetch.room_bytes();
        if let Some(most) = self.most_of_two() {
            max_jobs = max_jobs.min(most);
            max_bytes = max_bytes.min(MAX_BATCH_BYTES / 2);
        }
        let unstarted = self.prefetch.len() + self.prefetch.on_their_way() + max_jobs;
        self.prefetch
            .asks_for(max_jobs.min(MAX_BATCH_JOBS), max_bytes);
        Some(DequeueRequest {
            max_jobs,
            max_bytes,
            prefetched: unstarted.saturating_sub(free),
            wait: self.services.config.fetch_wait(),
            interrupt: CancellationToken::new(),
        })
    }

    /// What is settled together with the next look for jobs.
    fn batch_on_the_way(&mut self) -> Vec<Pending> {
        // What goes back to the queue is for others as well, and may be more than a batch: it is settled by itself.
        if !self.settling.is_empty() || self.pending.iter().any(Pending::is_requeue) {
            return Vec::new();
        }
        self.take_batch()
    }

    fn exchange(
        &mut self,
        mut queue: Box<dyn QueueConnection>,
        batch: Vec<Pending>,
        request: DequeueRequest,
    ) -> Connection {
        let settlements = settlements(&batch);
        self.exchanging.push_back(batch);
        let (clock, name) = (Arc::clone(&self.services.clock), self.queue().clone());
        Connection::Exchanging(Box::pin(async move {
            let sent_at = clock.instant();
            let (settled, dequeued) = queue.settle_and_dequeue(&settlements, &request).await;
            Exchanged {
                queue,
                settled,
                took: clock.instant().saturating_duration_since(sent_at),
                fetched: dequeued.map(|found| Fetched::read(found, &name)),
            }
        }))
    }

    /// Whether the newest exchange settles something.
    pub(super) fn settles_on_the_way(&self) -> bool {
        self.exchanging
            .back()
            .is_some_and(|batch| !batch.is_empty())
    }

    fn may_fetch(&self) -> bool {
        let most_unsettled = MAX_BATCH_JOBS.max(self.wanted.concurrency);
        self.is_open()
            && self.pending.len() <= most_unsettled
            && self.registration.may_fetch(&*self.services.clock)
    }
}
