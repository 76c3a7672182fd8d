//! A clock that moves only on command: [`VirtualClock`].

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use verk_core::{
    Jid,
    time::{Clock, JobWait, SystemClock},
};

/// A [`Clock`] for tests, which stands still until the test moves it.
///
/// Clones share one time. Any task or thread may wait on it: it needs no runtime, and tokio's own
/// timers stay real.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use verk_core::time::Clock;
/// use verk_testing::VirtualClock;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let clock = VirtualClock::new();
/// let started = clock.now();
/// let nap = clock.sleep_until(clock.instant() + Duration::from_secs(3600));
///
/// // Step to the next time that something waits for.
/// clock.advance_to(clock.next_deadline().unwrap());
/// nap.await;
/// assert_eq!(clock.now(), started + Duration::from_secs(3600));
/// assert_eq!(clock.next_deadline(), None);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct VirtualClock {
    shared: Arc<ClockState>,
}

#[derive(Debug)]
struct ClockState {
    /// The monotonic time at `elapsed` zero.
    origin: Instant,
    time: Mutex<Time>,
    /// Notified when a sleeper comes, and when one of a job leaves.
    sleeper_came: Notify,
}

#[derive(Debug)]
struct Time {
    elapsed: Duration,
    time_of_day: SystemTime,
    /// By deadline (since the origin) and order of arrival; the waker is there once the sleeper was
    /// polled.
    sleepers: BTreeMap<SleeperId, Option<Waker>>,
    /// Those that wait on behalf of a job. A due one stays until it is dropped, because its job has
    /// something to do until then.
    jobs: BTreeMap<SleeperId, JobSleeper>,
    arrivals: u64,
}

type SleeperId = (Duration, u64);

#[derive(Debug)]
struct JobSleeper {
    jid: Jid,
    /// Whether the job asked to sleep; otherwise its time is up then.
    asleep: bool,
}

impl VirtualClock {
    /// The time of day at which a clock made by [`new`](Self::new) stands: 2025-01-01 00:00:00 UTC.
    pub const START: Duration = Duration::from_secs(1_735_689_600);

    /// Makes a clock that stands at [`START`](Self::START).
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(UNIX_EPOCH + Self::START)
    }

    /// Makes a clock that stands at `time_of_day`.
    #[must_use]
    pub fn starting_at(time_of_day: SystemTime) -> Self {
        Self {
            shared: Arc::new(ClockState {
                origin: SystemClock.instant(),
                time: Mutex::new(Time {
                    elapsed: Duration::ZERO,
                    time_of_day,
                    sleepers: BTreeMap::new(),
                    jobs: BTreeMap::new(),
                    arrivals: 0,
                }),
                sleeper_came: Notify::new(),
            }),
        }
    }

    /// Moves the time of day and the monotonic time by `duration`, and wakes all due sleepers.
    ///
    /// A sleeper that wakes and sleeps again until a time that has passed by then wakes at once. To
    /// see each due time separately, step with [`next_deadline`](Self::next_deadline).
    pub fn advance(&self, duration: Duration) {
        let due = {
            let mut time = self.shared.lock();
            time.elapsed += duration;
            time.time_of_day += duration;
            time.take_due()
        };
        due.into_iter().for_each(Waker::wake);
    }

    /// Moves to `deadline`; does nothing if it has passed.
    pub fn advance_to(&self, deadline: Instant) {
        self.advance(deadline.saturating_duration_since(self.instant()));
    }

    /// Sets the time of day, forwards or backwards, as an operator does to correct a clock.
    ///
    /// The monotonic time does not change, so no sleeper wakes. To let time pass, use
    /// [`advance`](Self::advance).
    pub fn set(&self, time_of_day: SystemTime) {
        self.shared.lock().time_of_day = time_of_day;
    }

    /// Returns when the first current sleeper is due; `None` if there is none.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let time = self.shared.lock();
        let (&(deadline, _), _) = time.sleepers.first_key_value()?;
        Some(self.shared.origin + deadline)
    }

    /// When the first running job wakes, or is out of time.
    pub(crate) fn next_job_deadline(&self) -> Option<Instant> {
        let time = self.shared.lock();
        let mut waiting = time.jobs.range((time.elapsed, u64::MAX)..);
        let (&(deadline, _), _) = waiting.next()?;
        Some(self.shared.origin + deadline)
    }

    /// When the first running job that does not sleep is out of time.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let sleeping = self.sleeping_jobs();
        let time = self.shared.lock();
        let mut waiting = time.jobs.range((time.elapsed, u64::MAX)..);
        let awake = |job: &JobSleeper| !job.asleep && !sleeping.contains_key(&job.jid);
        let (&(deadline, _), _) = waiting.find(|(_, job)| awake(job))?;
        Some(self.shared.origin + deadline)
    }

    /// The jobs that do nothing but sleep, and for how much longer.
    pub(crate) fn sleeping_jobs(&self) -> HashMap<Jid, Duration> {
        let time = self.shared.lock();
        let mut sleeping = HashMap::new();
        // The latest deadline first: the earliest deadline of a job stays, and a due one wakes the
        // job.
        for ((deadline, _), sleeper) in time.jobs.iter().rev() {
            if *deadline <= time.elapsed {
                sleeping.remove(&sleeper.jid);
            } else if sleeper.asleep {
                sleeping.insert(sleeper.jid.clone(), *deadline - time.elapsed);
            }
        }
        sleeping
    }

    /// Notified when a sleeper comes, and when one of a job goes.
    pub(crate) fn sleepers_changed(&self) -> &Notify {
        &self.shared.sleeper_came
    }

    /// Returns how many tasks wait for the clock now.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.shared.lock().sleepers.len()
    }

    /// Completes once at least `count` wait.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn wait_for_sleepers(&self, count: usize) {
        loop {
            let mut came = std::pin::pin!(self.shared.sleeper_came.notified());
            came.as_mut().enable();
            if self.sleepers() >= count {
                return;
            }
            came.await;
        }
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> SystemTime {
        self.shared.lock().time_of_day
    }

    fn instant(&self) -> Instant {
        self.shared.origin + self.shared.lock().elapsed
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let deadline = deadline.saturating_duration_since(self.shared.origin);
        Box::pin(Sleep::new(Arc::clone(&self.shared), deadline, None))
    }

    fn sleep_job_until(
        &self,
        deadline: Instant,
        wait: JobWait<'_>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let deadline = deadline.saturating_duration_since(self.shared.origin);
        let (jid, asleep) = match wait {
            JobWait::Sleep(jid) => (jid.clone(), true),
            JobWait::Timeout(jid) => (jid.clone(), false),
        };
        let job = JobSleeper { jid, asleep };
        Box::pin(Sleep::new(Arc::clone(&self.shared), deadline, Some(job)))
    }
}

impl ClockState {
    fn lock(&self) -> MutexGuard<'_, Time> {
        // The time is consistent after every statement, so a panic elsewhere does no harm.
        self.time.lock()
    }
}

impl Time {
    fn take_due(&mut self) -> Vec<Waker> {
        let waiting = self.sleepers.split_off(&(self.elapsed, u64::MAX));
        let due = std::mem::replace(&mut self.sleepers, waiting);
        due.into_values().flatten().collect()
    }
}

/// One wait. It counts from its creation, so that a task that is about to wait is not missed.
#[derive(Debug)]
struct Sleep {
    shared: Arc<ClockState>,
    id: SleeperId,
}

impl Sleep {
    fn new(shared: Arc<ClockState>, deadline: Duration, job: Option<JobSleeper>) -> Self {
        let id = {
            let mut time = shared.lock();
            time.arrivals += 1;
            let id = (deadline, time.arrivals);
            if deadline > time.elapsed {
                time.sleepers.insert(id, None);
                if let Some(job) = job {
                    time.jobs.insert(id, job);
                }
            }
            id
        };
        shared.sleeper_came.notify_waiters();
        Self { shared, id }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.shared.lock().sleepers.get_mut(&self.id) {
            Some(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let mut time = self.shared.lock();
        time.sleepers.remove(&self.id);
        if time.jobs.remove(&self.id).is_some() {
            drop(time);
            self.shared.sleeper_came.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn stands_still_and_wakes_in_order_of_the_deadlines() {
        let clock = VirtualClock::new();
        let start = clock.instant();
        let late = clock.sleep_until(start + 2 * SECOND);
        let early = clock.sleep_until(start + SECOND);

        assert_eq!(clock.instant(), start);
        assert_eq!(clock.next_deadline(), Some(start + SECOND));
        clock.advance(SECOND);
        early.await;
        assert_eq!(clock.next_deadline(), Some(start + 2 * SECOND));
        clock.advance(SECOND);
        late.await;
    }

    #[tokio::test]
    async fn wakes_a_task_that_waits() {
        let clock = VirtualClock::new();
        let deadline = clock.instant() + SECOND;
        let waiter = tokio::spawn(clock.sleep_until(deadline));
        clock.wait_for_sleepers(1).await;
        tokio::task::yield_now().await;

        clock.advance_to(deadline);
        waiter.await.unwrap();
        assert_eq!(clock.sleepers(), 0);
    }

    #[tokio::test]
    async fn a_past_deadline_is_no_wait_and_a_dropped_one_is_forgotten() {
        let clock = VirtualClock::new();
        clock.sleep_until(clock.instant()).await;
        drop(clock.sleep_until(clock.instant() + SECOND));
        assert_eq!(clock.next_deadline(), None);
    }

    #[test]
    fn setting_the_time_of_day_leaves_the_monotonic_time() {
        let clock = VirtualClock::new();
        let instant = clock.instant();
        clock.set(UNIX_EPOCH);
        clock.advance(SECOND);
        assert_eq!(clock.now(), UNIX_EPOCH + SECOND);
        assert_eq!(clock.instant(), instant + SECOND);
    }
}
