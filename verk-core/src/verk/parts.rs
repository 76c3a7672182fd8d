//! What a node consists of: [`Parts`].

use std::sync::Arc;

use crate::{
    queues::Queues, services::Services, stats::counters::LiveCounters, worker::workforce::Workforce,
};

/// What a node consists of, for those who put it together or look at all of it. A part gets what it
/// needs.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) services: Arc<Services>,
    pub(crate) workforce: Arc<Workforce>,
    /// The queues to run: those of the configuration, and what became of them.
    pub(crate) queues: Arc<Queues>,
    /// What was counted since this Verk was built.
    pub(crate) live: Arc<LiveCounters>,
}
