//! The fetches of open queues: which of them wait on the server, and which share one poll.

mod blocking;
mod line;
mod queue_connection;
mod quiet;

use std::sync::Arc;

use self::{line::Lines, quiet::QuietQueues};
use crate::connect::link::Link;

pub(crate) use self::{blocking::Blocking, queue_connection::RedisQueueConnection};

/// The parts that the open queues of a storage share.
#[derive(Debug)]
pub(crate) struct OpenQueues {
    link: Arc<Link>,
    blocking: Arc<Blocking>,
    lines: Lines,
    quiet: QuietQueues,
}

impl OpenQueues {
    /// No queues yet. As many of them as `blocking` has connections wait on the server. Cells share
    /// it.
    pub(crate) fn new(link: Arc<Link>, blocking: Arc<Blocking>) -> Self {
        Self {
            link,
            blocking,
            lines: Lines::default(),
            quiet: QuietQueues::default(),
        }
    }
}
