//! Whether the last operation of one kind succeeded: [`Link`].

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

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
            *lock(&self.failure) = None;
            self.is_failing.store(false, Ordering::Relaxed);
        }
    }

    pub(crate) fn failed(&self, error: &StorageError, now: Instant) {
        *lock(&self.failure) = Some((error.to_string(), now));
        self.is_failing.store(true, Ordering::Relaxed);
    }

    pub(crate) fn failure(&self) -> Option<(String, Instant)> {
        lock(&self.failure).clone()
    }
}

// Each change is one assignment, so a panic leaves the data consistent.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
