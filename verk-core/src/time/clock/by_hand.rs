//! A clock that a unit test moves: [`ClockByHand`].

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{Clock, SystemClock};

/// Stands still until a test moves it.
#[derive(Debug)]
pub(crate) struct ClockByHand {
    start: Instant,
    passed: watch::Sender<Duration>,
    /// The deadline of the last sleep that began and was not [passed](Self::pass_sleep).
    deadline: watch::Sender<Option<Instant>>,
}

impl ClockByHand {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: SystemClock.instant(),
            passed: watch::Sender::new(Duration::ZERO),
            deadline: watch::Sender::new(None),
        })
    }

    /// Moves the time.
    pub(crate) fn pass(&self, time: Duration) {
        self.passed.send_modify(|passed| *passed += time);
    }

    /// Waits until code sleeps, and moves the time to the end of its sleep. Returns how long it
    /// slept.
    pub(crate) async fn pass_sleep(&self) -> Duration {
        let mut deadline = self.deadline.subscribe();
        let _ = deadline.wait_for(Option::is_some).await;
        let until = self.deadline.send_replace(None).unwrap();
        let time = until - self.instant();
        self.pass(time);
        time
    }
}

impl Clock for ClockByHand {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + *self.passed.borrow()
    }

    fn instant(&self) -> Instant {
        self.start + *self.passed.borrow()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        self.deadline.send_replace(Some(deadline));
        let (start, mut passed) = (self.start, self.passed.subscribe());
        Box::pin(async move {
            let _ = passed.wait_for(|passed| start + *passed >= deadline).await;
        })
    }
}
