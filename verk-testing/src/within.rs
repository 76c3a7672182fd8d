//! Deadlines in real time for tests: [`within`].

use std::{future::Future, panic::Location, time::Duration};

use verk_core::time::{Clock, SystemClock};

/// Waits for `future` for at most `deadline` of real time.
///
/// For events that a test waits for but does not control. The deadline says when to give up, not
/// how fast something must be: make it generous.
///
/// # Panics
///
/// When the time ran out, naming the caller.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use verk_testing::within;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (send, receive) = tokio::sync::oneshot::channel();
/// tokio::spawn(async { send.send(42) });
/// assert_eq!(within(Duration::from_secs(10), receive).await, Ok(42));
/// # }
/// ```
#[track_caller]
pub fn within<F: Future>(deadline: Duration, future: F) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    async move {
        let clock: &dyn Clock = &SystemClock;
        match clock.timeout(deadline, future).await {
            Some(output) => output,
            None => panic!("what {caller} waits for did not happen within {deadline:?}"),
        }
    }
}

/// Checks again and again, blocking the thread, until `look` finds something; `None` if it did not
/// within `deadline` of real time.
#[cfg(unix)]
pub(crate) fn poll<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = SystemClock.instant() + deadline;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if SystemClock.instant() >= end {
            return None;
        }
        // The event is in another process, which does not report that it is ready.
        std::thread::sleep(Duration::from_millis(2));
    }
}
