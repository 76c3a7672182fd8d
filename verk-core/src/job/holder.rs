//! Where the job is that holds a unique lock: [`HolderPlace`].

use std::{fmt, time::SystemTime};

use crate::names::QueueName;

/// The place of the job that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HolderPlace {
    /// In a queue, or it runs: a fetch does not change the lock.
    Waiting {
        /// The queue.
        queue: QueueName,
    },
    /// In the `schedule` set.
    Scheduled(SystemTime),
    /// In the `retry` set.
    Retrying(SystemTime),
    /// In the `dead` set.
    Dead(SystemTime),
}

impl fmt::Display for HolderPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { queue } => write!(f, "in queue {queue}, or running"),
            Self::Scheduled(_) => f.write_str("in the schedule set"),
            Self::Retrying(_) => f.write_str("in the retry set"),
            Self::Dead(_) => f.write_str("in the dead set"),
        }
    }
}
