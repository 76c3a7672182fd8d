//! Wakes the schedule manager when a job is stored that is due earlier than it expects.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::time::clock::time_after;

/// Wakes the schedule manager in time when code of this process stores a job for later.
#[derive(Clone, Debug)]
pub(crate) struct ScheduleWake(Arc<Wake>);

#[derive(Debug)]
struct Wake {
    /// Jobs that are due later than this from now wake nothing.
    horizon: Duration,
    /// The first and the last time that was stored since the first of them was due.
    stored: Mutex<Option<(SystemTime, SystemTime)>>,
    changed: Notify,
}

impl ScheduleWake {
    /// For a schedule manager that polls at least that often by itself.
    pub(crate) fn new(poll_interval: Duration) -> Self {
        Self(Arc::new(Wake {
            horizon: poll_interval,
            stored: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// Reports that a job was stored at `now` that is due at `at`.
    pub(crate) fn due_at(&self, at: SystemTime, now: SystemTime) {
        if at > time_after(now, self.0.horizon) {
            return;
        }
        let mut stored = self.stored();
        let (first, last) = stored.unwrap_or((at, at));
        if stored.is_none() || at < first {
            self.0.changed.notify_one();
        }
        *stored = Some((first.min(at), last.max(at)));
    }

    /// Waits for a time that is sooner than `planned`.
    pub(crate) async fn sooner_than(&self, planned: SystemTime) -> SystemTime {
        loop {
            let changed = self.0.changed.notified();
            let stored = *self.stored();
            match stored {
                Some((first, _)) if first < planned => return first,
                _ => changed.await,
            }
        }
    }

    /// Once the first of the times has come, forgets them, and returns the last.
    pub(crate) fn take(&self, now: SystemTime) -> Option<SystemTime> {
        let stored = self.stored().take_if(|(first, _)| *first <= now);
        stored.map(|(_, last)| last)
    }

    fn stored(&self) -> MutexGuard<'_, Option<(SystemTime, SystemTime)>> {
        self.0.stored.lock()
    }
}
