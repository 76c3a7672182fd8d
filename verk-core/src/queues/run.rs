//! A run that has not ended, as its queue shows it.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;

use crate::worker::{polls::Seen, run_state::RunState};

/// A run that has not ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// The order in which it started.
    pub(crate) number: u64,
    pub(crate) state: Arc<RunState>,
    /// The payload as it was fetched.
    pub(crate) held: Bytes,
    pub(crate) started_at: SystemTime,
    /// What was seen of its polls.
    pub(crate) seen: Seen,
}

impl Run {
    /// Whether it keeps its thread since the last check, and was not reported earlier.
    pub(crate) fn keeps_its_thread(&mut self) -> bool {
        self.seen.look(&self.state.polls)
    }
}
