//! The clock: every pause and every time-out of verk waits through a [`Clock`].

use std::{
    fmt,
    future::Future,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::future::{self, BoxFuture, Either};

use crate::names::Jid;

/// Tells the time and waits.
///
/// Production uses [`SystemClock`]. Tests use the virtual clock of `verk-testing`, which moves only
/// on command.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> SystemTime;

    /// The monotonic time.
    fn instant(&self) -> Instant;

    /// Completes at `deadline`, at once if it has passed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the wait and has no other effect.
    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()>;

    /// Like [`sleep_until`](Self::sleep_until), on behalf of a running job, so that a virtual clock
    /// can distinguish a sleeping job from a working one.
    fn sleep_job_until(&self, deadline: Instant, _wait: JobWait<'_>) -> BoxFuture<'static, ()> {
        self.sleep_until(deadline)
    }
}

/// Why a clock waits on behalf of a running job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobWait<'a> {
    /// The job asked to sleep: [`JobContext::sleep`](crate::JobContext::sleep).
    Sleep(&'a Jid),
    /// The job's `timeout` passes then.
    Timeout(&'a Jid),
}

impl dyn Clock {
    /// Completes after `duration`.
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.instant_in(duration))
    }

    /// The monotonic time after `duration`. Saturates at 100 years from now if the sum overflows
    /// `Instant`.
    #[must_use]
    pub fn instant_in(&self, duration: Duration) -> Instant {
        /// 100 years.
        const FAR_OFF: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        let now = self.instant();
        now.checked_add(duration).unwrap_or_else(|| now + FAR_OFF)
    }

    /// Runs `future` for at most `duration`; `None` when the time ran out.
    ///
    /// The future is dropped then, so it must be cancel safe.
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Option<F::Output> {
        match future::select(std::pin::pin!(future), self.sleep(duration)).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(((), _)) => None,
        }
    }
}

/// The machine's clock and tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until(deadline.into()))
    }
}

/// The time of day that is `delay` after `time`, at most the end of the year 9999.
pub(crate) fn time_after(time: SystemTime, delay: Duration) -> SystemTime {
    let end = from_unix_seconds(f64::MAX);
    time.checked_add(delay).map_or(end, |at| at.min(end))
}

/// `time` in the form of RFC 3339, for people and programs. Times before 1970 and after 9999 are
/// shown as these limits.
pub(crate) fn rfc3339(time: SystemTime) -> impl fmt::Display {
    humantime::format_rfc3339_millis(time.clamp(UNIX_EPOCH, from_unix_seconds(f64::MAX)))
}

/// `time` in seconds since 1970, with fraction, as in the scores of `schedule`, `retry` and `dead`.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let time = UNIX_EPOCH + Duration::from_millis(1_500);
/// assert_eq!(verk_core::time::unix_seconds(time), 1.5);
/// assert_eq!(verk_core::time::from_unix_seconds(1.5), time);
/// ```
#[must_use]
pub fn unix_seconds(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// The time that is `seconds` after 1970.
///
/// Scores come from other programs. A score before 1970, beyond the range of [`SystemTime`], or
/// that is no number, becomes the nearest time that can be represented (1970, or the year 9999).
#[must_use]
pub fn from_unix_seconds(seconds: f64) -> SystemTime {
    const YEAR_9999: f64 = 253_402_300_799.0;
    let seconds = seconds.clamp(0.0, YEAR_9999);
    // Microseconds, because a score as f64 is no more precise today. NaN becomes 0.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=2.6e17 just above"
    )]
    let micros = (seconds * 1e6).round() as u64;
    UNIX_EPOCH + Duration::from_micros(micros)
}

#[cfg(test)]
pub(crate) mod by_hand;
#[cfg(test)]
mod tests;
