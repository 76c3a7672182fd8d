//! Calls foreign code: log subscribers, metrics recorders, middleware, functions and values of
//! users.
//!
//! Such code may panic. A job, a permit or a node must not depend on it. So each call goes through
//! [`call`] or `catch`, and each log line through [`log`](crate::log).

pub(crate) mod panic_place;

use std::{
    any::Any,
    collections::BTreeSet,
    fmt,
    panic::{AssertUnwindSafe, Location, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
};

use futures_util::FutureExt;
use parking_lot::Mutex;

use self::panic_place::Place;

/// How many panics [`call`] has caught in this process.
static CAUGHT: AtomicU64 = AtomicU64::new(0);

/// The calls that they came from: file and line. There are no more of them than calls in the
/// source.
static PLACES: Mutex<BTreeSet<(&'static str, u32)>> = Mutex::new(BTreeSet::new());

/// Calls `foreign`. Returns `None` if it panics: the panic is counted, and verk continues without
/// the result.
#[inline]
#[track_caller]
pub fn call<T>(foreign: impl FnOnce() -> T) -> Option<T> {
    match catch(foreign) {
        Ok(result) => Some(result),
        Err(panic) => {
            drop(panic);
            CAUGHT.fetch_add(1, Ordering::Relaxed);
            keep(Location::caller());
            None
        }
    }
}

#[inline]
fn catch<T>(foreign: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(foreign)).map_err(Panic::new)
}

/// Waits for `foreign`, and drops it before it returns, for a caller that handles its panic.
///
/// # Errors
///
/// The panic.
#[track_caller]
pub fn catch_future<T>(foreign: impl Future<Output = T>) -> impl Future<Output = Result<T, Panic>> {
    let place = Location::caller();
    // A future that has returned or panicked owns nothing any more, so nothing is dropped outside
    // of the catch.
    let caught = AssertUnwindSafe(foreign).catch_unwind();
    caught.map(|result| {
        result.map_err(|payload| {
            keep(place);
            Panic::new(payload)
        })
    })
}

#[cold]
fn keep(place: &Location<'static>) {
    let mut places = PLACES.lock();
    places.insert((place.file(), place.line()));
}

/// How many panics of foreign code verk has caught in this process.
pub fn caught() -> u64 {
    CAUGHT.load(Ordering::Relaxed)
}

/// The calls whose panics were caught in this process, as file and line. For tests.
pub fn places() -> Vec<(&'static str, u32)> {
    let places = PLACES.lock();
    places.iter().copied().collect()
}

/// A panic that was caught. Its payload may panic when it is dropped: that is caught as well.
pub struct Panic {
    payload: Option<Box<dyn Any + Send>>,
    place: Option<Box<Place>>,
}

impl Panic {
    fn new(payload: Box<dyn Any + Send>) -> Self {
        Self {
            place: panic_place::take(&*payload),
            payload: Some(payload),
        }
    }

    /// The message of the panic.
    pub fn message(&self) -> &str {
        let payload = self.payload.as_deref();
        payload.and_then(panic_place::text).unwrap_or("panicked")
    }

    /// The place of the panic, with the frames that led there; empty if it is not known, as outside
    /// of a job.
    pub fn place(&self) -> Vec<String> {
        self.place.as_deref().map(Place::lines).unwrap_or_default()
    }
}

impl Drop for Panic {
    fn drop(&mut self) {
        let payload = self.payload.take();
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            // The next drop may panic too, without end, so the payload of this panic is never
            // dropped.
            Box::leak(another);
        }
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panic").field(&self.message()).finish()
    }
}

#[cfg(test)]
mod tests;
