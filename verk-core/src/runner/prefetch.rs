//! Jobs that a node fetches before it has a permit for them, so that permits do not wait for the
//! network. Pure.
//!
//! A node prefetches as many jobs as end within a round trip: none if the jobs are long or the
//! queue is nearly empty. Prefetched jobs are in `inprogress`, and go back to their queue if they
//! would have to wait.

use std::{
    collections::VecDeque,
    ops::Add,
    time::{Duration, Instant},
};

use crate::{
    runner::payload::Payload,
    storage::{MAX_BATCH_BYTES, MAX_BATCH_JOBS},
};

/// The most jobs of one queue that wait in a node for permits. There are never more of them than
/// permits.
const MAX_PREFETCHED: usize = 64;

/// The same while the storage is [far](Prefetch::is_far). Then there may be four times as many as
/// permits.
const MAX_PREFETCHED_FROM_FAR: usize = 256;
const TIMES_FROM_FAR: usize = 4;

/// The storage is far if a round trip takes so many times as long as a job. With as many jobs ahead
/// as permits, a queue has nothing to do for most of such a trip.
const FAR: u32 = 16;

/// How long the first of them waits for a permit. Then all go back to the queue, where other nodes
/// find them.
const PATIENCE: Duration = Duration::from_millis(100);

/// The jobs of one queue that wait in this node, and how many more should wait.
#[derive(Debug)]
pub(crate) struct Prefetch {
    /// Oldest first.
    jobs: VecDeque<Payload>,
    bytes: usize,
    /// Since when the first of them is the first.
    first_since: Instant,
    /// Whether the queue returned as many jobs as it was asked for the last time.
    has_more: bool,
    /// How long a round trip takes.
    trip: Average,
    /// How long a job runs.
    run: Average,
}

impl Prefetch {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            jobs: VecDeque::new(),
            bytes: 0,
            first_since: now,
            has_more: false,
            trip: Average::default(),
            run: Average::default(),
        }
    }

    pub(crate) fn trip_took(&mut self, took: Duration) {
        self.trip.add(took);
    }

    pub(crate) fn run_took(&mut self, took: Duration) {
        self.run.add(took);
    }

    /// The queue was asked for this many jobs and returned these, oldest first.
    pub(crate) fn fetched(&mut self, asked_for: usize, jobs: Vec<Payload>, now: Instant) {
        self.has_more = jobs.len() >= asked_for;
        for job in jobs {
            self.push(job, now);
        }
    }

    /// How many more jobs to fetch for a queue that runs `concurrency` at once and has permits for
    /// `free` more, while `on_their_way` is already asked for.
    pub(crate) fn room(&self, concurrency: usize, free: usize, on_their_way: Demand) -> usize {
        (free + self.ahead(concurrency, on_their_way))
            .saturating_sub(self.jobs.len() + on_their_way.jobs)
    }

    /// How many jobs to fetch before there are permits for them.
    fn ahead(&self, concurrency: usize, on_their_way: Demand) -> usize {
        if !self.has_more || self.room_bytes(on_their_way) == 0 {
            return 0;
        }
        self.trip
            .times(concurrency, &self.run)
            .min(self.most_ahead(concurrency))
    }

    /// The most jobs that may wait for this many permits.
    fn most_ahead(&self, concurrency: usize) -> usize {
        if self.is_far() {
            let most = concurrency.saturating_mul(TIMES_FROM_FAR);
            most.min(MAX_PREFETCHED_FROM_FAR)
        } else {
            concurrency.min(MAX_PREFETCHED)
        }
    }

    /// Whether many jobs could run one after the other during a round trip.
    fn is_far(&self) -> bool {
        let times = self.trip.0.zip(self.run.0);
        times.is_some_and(|(trip, run)| trip > run.saturating_mul(FAR))
    }

    /// The most jobs of each batch, if jobs end so fast that two batches should be on their way at
    /// once. With one permit there is only one batch, so that its jobs start in the order of the
    /// queue.
    pub(crate) fn most_of_two(&self, concurrency: usize, on_their_way: Demand) -> Option<usize> {
        let most_ahead = self.most_ahead(concurrency);
        let is_short = concurrency > 1 && self.ahead(concurrency, on_their_way) == most_ahead;
        is_short.then(|| (concurrency + most_ahead).div_ceil(2).min(MAX_BATCH_JOBS))
    }

    /// How many more payload bytes may wait, while `on_their_way` is already asked for.
    pub(crate) fn room_bytes(&self, on_their_way: Demand) -> usize {
        MAX_BATCH_BYTES
            .saturating_sub(self.bytes)
            .saturating_sub(on_their_way.bytes)
    }

    fn push(&mut self, job: Payload, now: Instant) {
        if self.jobs.is_empty() {
            self.first_since = now;
        }
        self.bytes += job.held.len();
        self.jobs.push_back(job);
    }

    /// Takes the oldest job, which is to start now.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Payload> {
        let job = self.jobs.pop_front()?;
        self.bytes -= job.held.len();
        self.first_since = now;
        Some(job)
    }

    /// Takes out a job that no longer belongs to this node, by its place in [`Self::jobs`].
    pub(crate) fn remove(&mut self, position: usize) {
        if let Some(job) = self.jobs.remove(position) {
            self.bytes -= job.held.len();
        }
    }

    /// Takes all jobs, oldest first: they are not to start here.
    pub(crate) fn take_all(&mut self) -> VecDeque<Payload> {
        self.has_more = false;
        self.bytes = 0;
        std::mem::take(&mut self.jobs)
    }

    /// When the jobs have waited too long.
    pub(crate) fn patient_until(&self) -> Option<Instant> {
        (!self.jobs.is_empty()).then(|| self.first_since + PATIENCE)
    }

    pub(crate) fn jobs(&self) -> impl ExactSizeIterator<Item = &Payload> {
        self.jobs.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

/// How many jobs a queue is asked for at most, and how many bytes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) jobs: usize,
    pub(crate) bytes: usize,
}

impl Add for Demand {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            jobs: self.jobs + other.jobs,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// A moving average of how long something takes.
#[derive(Clone, Copy, Debug, Default)]
struct Average(Option<Duration>);

impl Average {
    /// The weight of the last time is one divided by this.
    const MEMORY: u32 = 8;

    fn add(&mut self, took: Duration) {
        self.0 = Some(match self.0 {
            None => took,
            Some(average) => (average * (Self::MEMORY - 1) + took) / Self::MEMORY,
        });
    }

    /// How many of `each` fit into this time if `at_once` run side by side; none while either time
    /// is unknown.
    fn times(self, at_once: usize, each: &Self) -> usize {
        let (Some(time), Some(each)) = (self.0, each.0) else {
            return 0;
        };
        let times = (time.as_nanos() * at_once as u128) / each.as_nanos().max(1);
        usize::try_from(times).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::time::clock::{Clock, SystemClock};

    const TRIP: Duration = Duration::from_millis(2);
    /// Jobs that are short, but not so short that the storage is far.
    const NEAR: Duration = Duration::from_micros(125);
    const NONE: Demand = Demand { jobs: 0, bytes: 0 };

    fn prefetch(run: Duration) -> (Prefetch, Instant) {
        let now = SystemClock.instant();
        let mut prefetch = Prefetch::new(now);
        prefetch.fetched(0, Vec::new(), now);
        prefetch.trip_took(TRIP);
        prefetch.run_took(run);
        (prefetch, now)
    }

    fn payload(held: Bytes) -> Payload {
        Payload::read(held, &"default".parse().unwrap())
    }

    #[test]
    fn as_many_wait_as_end_within_a_trip() {
        for (run, concurrency, room) in [
            (NEAR, 25, 25),
            (NEAR, 2000, MAX_PREFETCHED),
            (Duration::ZERO, 25, 100),
            (Duration::from_micros(10), 25, 100),
            (Duration::from_micros(10), 1, 4),
            (Duration::from_micros(10), 2000, MAX_PREFETCHED_FROM_FAR),
            (Duration::from_millis(10), 25, 5),
            (Duration::from_millis(100), 25, 0),
            (Duration::from_millis(100), 2000, 40),
            (Duration::from_secs(3600), 2000, 0),
        ] {
            let (prefetch, _) = prefetch(run);
            assert_eq!(prefetch.room(concurrency, 0, NONE), room, "{run:?}");
            assert_eq!(prefetch.room(concurrency, 7, NONE), room + 7, "{run:?}");
        }
    }

    #[test]
    fn what_is_not_known_yet_has_no_room() {
        let now = SystemClock.instant();
        let mut prefetch = Prefetch::new(now);
        prefetch.fetched(0, Vec::new(), now);
        assert_eq!(prefetch.room(25, 0, NONE), 0);
        prefetch.trip_took(TRIP);
        assert_eq!(prefetch.room(25, 0, NONE), 0);
        prefetch.run_took(NEAR);
        assert_eq!(prefetch.room(25, 0, NONE), 25);
        prefetch.fetched(1, Vec::new(), now);
        assert_eq!(prefetch.room(25, 0, NONE), 0, "the queue is nearly empty");
    }

    #[test]
    fn room_is_bounded_by_jobs_and_bytes() {
        let (mut prefetch, now) = prefetch(NEAR);
        prefetch.push(payload(Bytes::from_static(b"job")), now);
        assert_eq!(
            (prefetch.room(25, 0, NONE), prefetch.room(25, 5, NONE)),
            (24, 29)
        );
        let long = Bytes::from(vec![0; MAX_BATCH_BYTES - 3]);
        prefetch.push(payload(long), now);
        assert_eq!(
            (prefetch.room(25, 0, NONE), prefetch.room_bytes(NONE)),
            (0, 0)
        );
        assert_eq!(prefetch.pop(now).unwrap().held.len(), 3);
        assert_eq!(
            (prefetch.room(25, 0, NONE), prefetch.room_bytes(NONE)),
            (24, 3)
        );
        prefetch.remove(0);
        assert_eq!(
            (prefetch.room(25, 0, NONE), prefetch.is_empty()),
            (25, true)
        );
    }

    #[test]
    fn what_is_on_its_way_has_its_room() {
        let (prefetch, _) = prefetch(NEAR);
        let half = Demand {
            jobs: 25,
            bytes: MAX_BATCH_BYTES / 2,
        };
        assert_eq!(prefetch.room(25, 0, half), 0);
        assert_eq!(prefetch.room(25, 25, half), 25);
        assert_eq!(prefetch.room_bytes(half), MAX_BATCH_BYTES / 2);
        assert_eq!(prefetch.room_bytes(half + half), 0);
        assert_eq!(prefetch.room(25, 25, half + half), 0, "no bytes are left");
    }

    #[test]
    fn two_batches_are_on_their_way_while_jobs_are_short() {
        for (run, concurrency, half) in [
            (NEAR, 25, Some(25)),
            (TRIP, 25, Some(25)),
            (2 * TRIP, 25, None),
            (NEAR, 2, Some(2)),
            (NEAR, 1, None),
            (NEAR, 100, Some(82)),
            (NEAR, 2000, Some(MAX_BATCH_JOBS)),
            (Duration::ZERO, 25, Some(63)),
            (Duration::ZERO, 1, None),
            (Duration::ZERO, 100, Some(MAX_BATCH_JOBS)),
        ] {
            let (mut prefetch, now) = prefetch(run);
            assert_eq!(prefetch.most_of_two(concurrency, NONE), half, "{run:?}");
            prefetch.fetched(1, Vec::new(), now);
            assert_eq!(
                prefetch.most_of_two(concurrency, NONE),
                None,
                "the queue is nearly empty"
            );
        }
    }

    #[test]
    fn patience_counts_from_the_last_start() {
        let (mut prefetch, now) = prefetch(Duration::ZERO);
        assert_eq!(prefetch.patient_until(), None);
        for _ in 0..2 {
            prefetch.push(payload(Bytes::new()), now);
        }
        assert_eq!(prefetch.patient_until(), Some(now + PATIENCE));
        prefetch.pop(now + TRIP);
        assert_eq!(prefetch.patient_until(), Some(now + TRIP + PATIENCE));
        assert_eq!(prefetch.take_all().len(), 1);
        assert_eq!(prefetch.patient_until(), None);
        assert_eq!(
            prefetch.room(25, 0, NONE),
            0,
            "until the queue shows that it has more"
        );
    }

    #[test]
    fn times_follow_what_happens() {
        let (mut prefetch, _) = prefetch(Duration::from_secs(1));
        assert_eq!(prefetch.room(25, 0, NONE), 0);
        (0..200).for_each(|_| prefetch.run_took(NEAR));
        assert_eq!(prefetch.room(25, 0, NONE), 25);
        (0..100).for_each(|_| prefetch.run_took(NEAR / 2));
        assert_eq!(prefetch.room(25, 0, NONE), 100, "the storage is far");
    }
}
