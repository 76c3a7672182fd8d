//! What a node and a worker share of one run: [`RunState`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio_util::sync::CancellationToken;

use crate::{job::Job, names::QueueName, worker::polls::Polls};

/// One run, without what its worker can reach.
#[derive(Debug)]
pub(crate) struct RunState {
    pub(crate) job: Arc<Job>,
    /// The queue that the job was fetched from.
    pub(crate) queue: QueueName,
    /// Cancelled when running jobs have had `shutdown_timeout` to finish.
    pub(crate) cancelled: CancellationToken,
    /// When the run is stopped because of its worker's `timeout`.
    pub(crate) deadline: Option<Instant>,
    /// How often the run was polled so far.
    pub(crate) polls: Polls,
    /// Whether the job was found to belong to another node. It orders no other memory access.
    lost: AtomicBool,
}

impl RunState {
    pub(crate) fn new(
        job: Arc<Job>,
        queue: QueueName,
        cancelled: CancellationToken,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            job,
            queue,
            cancelled,
            deadline,
            polls: Polls::default(),
            lost: AtomicBool::new(false),
        }
    }

    /// Whether the job still belongs to this node, as far as the node knows.
    pub(crate) fn still_owner(&self) -> bool {
        !self.lost.load(Ordering::Relaxed)
    }

    /// The job was found to belong to another node.
    pub(crate) fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }
}
