//! Time: the clock that waits, the storage's time of day, days and minutes, the alarm for due jobs.

pub(crate) mod alarm;
pub(crate) mod backoff;
pub(crate) mod calendar;
pub(crate) mod clock;
pub(crate) mod server_time;

pub use self::clock::{Clock, JobWait, SystemClock, from_unix_seconds, unix_seconds};
