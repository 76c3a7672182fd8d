//! The model of verk: jobs, workers, managers, and the storage trait that backends implement.
//!
//! Users depend on the crate `verk`, which re-exports what they need. There is no Redis in here and no
//! socket: see `verk-redis` for the backend and `verk-testing` for the one in memory.

mod clock;
mod error;
mod job;
mod names;
pub mod storage;

pub use clock::{Clock, SystemClock, from_unix_seconds, unix_seconds};
pub use error::{Applied, BoxError, StorageError};
pub use job::{Backtrace, Failure, InvalidJob, Job, MalformedJob, RetryLimit};
pub use names::{InvalidName, Jid, MAX_NAME_BYTES, NodeId, QueueName};
pub use storage::Storage;
