//! Whether the last operation of one kind succeeded: [`Link`].

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use parking_lot::Mutex;

use crate::error::StorageError;

/// Whether the last operation of one kind succeeded.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// So that success, the usual case, takes no lock.
    is_failing: AtomicBool,
    failure: Mutex<Option<(String, Instant)>>,
}

impl Link {
    pub(crate) fn well(&self) {
        if self.is_failing.load(Ordering::Relaxed) {
            *self.failure.lock() = None;
            self.is_failing.store(false, Ordering::Relaxed);
        }
    }

    pub(crate) fn failed(&self, error: &StorageError, now: Instant) {
        *self.failure.lock() = Some((error.to_string(), now));
        self.is_failing.store(true, Ordering::Relaxed);
    }

    pub(crate) fn failure(&self) -> Option<(String, Instant)> {
        self.failure.lock().clone()
    }
}
