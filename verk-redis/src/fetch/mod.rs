//! The fetches of open queues: which of them wait on the server, and which share one poll.

mod blocking;
mod line;
mod queue_connection;
mod quiet;

use std::sync::Arc;

use self::{blocking::Blocking, line::Lines, quiet::QuietQueues};
use crate::connect::link::Link;

pub(crate) use self::queue_connection::RedisQueueConnection;

/// The parts that the open queues of a storage share.
#[derive(Debug)]
pub(crate) struct OpenQueues {
    link: Arc<Link>,
    blocking: Arc<Blocking>,
    lines: Lines,
    quiet: QuietQueues,
}

impl OpenQueues {
    /// No queues yet. At most `blocking_connections` of them wait on the server, each on a
    /// connection.
    pub(crate) fn new(link: Arc<Link>, blocking_connections: usize) -> Self {
        Self {
            link,
            blocking: Arc::new(Blocking::new(blocking_connections)),
            lines: Lines::default(),
            quiet: QuietQueues::default(),
        }
    }
}
