//! Outcomes that wait to be stored. Pure.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;

use crate::{
    runner::settle::Pending,
    storage::{MAX_BATCH_BYTES, MAX_BATCH_JOBS},
};

/// The outcomes of one queue that wait to be stored. Their jobs are still in `inprogress`.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pending: VecDeque<Pending>,
    /// The empty vector of a stored batch, kept for the next batch.
    spare: Vec<Pending>,
}

impl Outbox {
    pub(super) fn push(&mut self, pending: Pending) {
        self.pending.push_back(pending);
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether an outcome hands its job back to the queue.
    pub(super) fn has_requeue(&self) -> bool {
        self.pending.iter().any(Pending::is_requeue)
    }

    /// When the next outcome becomes ready that is not ready at `now`.
    pub(super) fn ready_after(&self, now: Instant) -> Option<Instant> {
        let times = self.pending.iter().filter_map(|pending| pending.not_before);
        times.filter(|ready| *ready > now).min()
    }

    /// Takes what is ready at `now`, oldest first, within the limits of a batch; and everything
    /// that goes back to the queue, unless `holds_requeues`.
    pub(super) fn take_batch(&mut self, now: Instant, holds_requeues: bool) -> Vec<Pending> {
        let (mut jobs, mut bytes) = (0, 0);
        let most = self.pending.len();
        let mut batch = std::mem::take(&mut self.spare);
        // What is not taken goes to the back, and is in order again after the loop.
        for _ in 0..most {
            let Some(pending) = self.pending.pop_front() else {
                break;
            };
            let requeue = pending.is_requeue();
            let waits =
                pending.not_before.is_some_and(|at| at > now) || (holds_requeues && requeue);
            let size = pending.settlement.size();
            let fits = jobs < MAX_BATCH_JOBS && (jobs == 0 || bytes + size <= MAX_BATCH_BYTES);
            if !waits && requeue {
                batch.push(pending);
            } else if !waits && fits {
                jobs += 1;
                bytes += size;
                batch.push(pending);
            } else {
                self.pending.push_back(pending);
            }
        }
        // A stable sort allocates even if there is nothing to sort, and most often there is
        // nothing.
        if !batch.is_sorted_by_key(|pending| pending.number) {
            batch.sort_by_key(|pending| pending.number);
        }
        batch
    }

    /// Takes back the vector of a stored batch.
    pub(super) fn reuse(&mut self, mut batch: Vec<Pending>) {
        batch.clear();
        self.spare = batch;
    }

    /// Puts the outcomes first that were sent and may or may not be stored.
    pub(super) fn put_unknown_first(&mut self) {
        self.pending
            .make_contiguous()
            .sort_by_key(|pending| (!pending.unknown, pending.number));
    }

    /// The payloads as they were fetched, in the order of [`Self::remove`].
    pub(super) fn held(&self) -> impl Iterator<Item = Bytes> {
        let held = |pending: &Pending| pending.settlement.held.clone();
        self.pending.iter().map(held)
    }

    /// Takes out the outcome at this position.
    pub(super) fn remove(&mut self, position: usize) -> Option<Pending> {
        self.pending.remove(position)
    }

    /// The list was read: none of the outcomes that are left here is stored.
    pub(super) fn none_is_stored(&mut self) {
        for pending in &mut self.pending {
            pending.unknown = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::{
        events::event::{Event, EventKind},
        outcome::Ending,
        storage::Target,
        time::clock::{Clock, SystemClock},
    };

    const LATER: Duration = Duration::from_secs(1);

    fn pending(number: u64, held: impl Into<Bytes>) -> Pending {
        let event = Event {
            at: SystemTime::UNIX_EPOCH,
            queue: None,
            job: None,
            what: EventKind::JobMerged,
        };
        let mut pending = Pending::new(held.into(), Target::Ack, Ending::Done, event);
        pending.number = number;
        pending
    }

    fn requeue(number: u64) -> Pending {
        let queue = "default".parse().unwrap();
        let mut pending = Pending::hand_back(None, Bytes::new(), &queue, SystemTime::UNIX_EPOCH);
        pending.number = number;
        pending
    }

    fn outbox(all: impl IntoIterator<Item = Pending>) -> Outbox {
        let mut outbox = Outbox::default();
        all.into_iter().for_each(|pending| outbox.push(pending));
        outbox
    }

    fn numbers(batch: &[Pending]) -> Vec<u64> {
        batch.iter().map(|pending| pending.number).collect()
    }

    #[test]
    fn a_batch_has_the_oldest_first() {
        let mut outbox = outbox([3, 1, 2].map(|number| pending(number, "job")));
        let batch = outbox.take_batch(SystemClock.instant(), false);
        assert_eq!(numbers(&batch), [1, 2, 3]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_batch_has_bounded_jobs_and_bytes() {
        let now = SystemClock.instant();
        let most = MAX_BATCH_JOBS as u64;
        let mut outbox = outbox((0..most + 2).map(|number| pending(number, "job")));
        assert_eq!(outbox.take_batch(now, false).len(), MAX_BATCH_JOBS);
        assert_eq!(numbers(&outbox.take_batch(now, false)), [most, most + 1]);

        let long = vec![b' '; MAX_BATCH_BYTES];
        outbox.push(pending(0, long.clone()));
        outbox.push(pending(1, "job"));
        outbox.push(pending(2, long));
        assert_eq!(
            numbers(&outbox.take_batch(now, false)),
            [0],
            "alone, it fits"
        );
        assert_eq!(numbers(&outbox.take_batch(now, false)), [1]);
        assert_eq!(numbers(&outbox.take_batch(now, false)), [2]);
    }

    #[test]
    fn all_that_goes_back_to_the_queue_goes_at_once() {
        let now = SystemClock.instant();
        let many = 2 * MAX_BATCH_JOBS as u64;
        let mut outbox = outbox((0..many).map(requeue));
        outbox.push(pending(many, "job"));
        assert!(outbox.has_requeue());
        assert_eq!(numbers(&outbox.take_batch(now, true)), [many]);
        let batch = outbox.take_batch(now, false);
        assert_eq!(numbers(&batch), (0..many).collect::<Vec<_>>());
    }

    #[test]
    fn what_could_not_be_stored_waits_for_its_next_try() {
        let now = SystemClock.instant();
        let mut failed = pending(0, "job");
        failed.not_before = Some(now + LATER);
        let mut outbox = outbox([failed, pending(1, "job")]);
        assert_eq!(outbox.ready_after(now), Some(now + LATER));
        assert_eq!(numbers(&outbox.take_batch(now, false)), [1]);
        assert_eq!(outbox.ready_after(now + LATER), None);
        assert_eq!(numbers(&outbox.take_batch(now + LATER, false)), [0]);
    }

    #[test]
    fn what_may_be_stored_is_compared_first() {
        let mut sent = pending(2, "sent");
        sent.unknown = true;
        let mut outbox = outbox([pending(1, "waits"), sent]);
        outbox.put_unknown_first();
        assert_eq!(outbox.held().collect::<Vec<_>>(), ["sent", "waits"]);
        assert_eq!(outbox.remove(0).map(|sent| sent.number), Some(2));
        outbox.none_is_stored();
        assert!(outbox.pending.iter().all(|pending| !pending.unknown));
    }
}
