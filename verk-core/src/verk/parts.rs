//! What a node consists of: [`Parts`].

use std::sync::Arc;

use crate::{
    queues::Queues, services::Services, stats::counters::LiveCounters, timetable::Declared,
    worker::workforce::Workforce,
};

/// The parts of a node, for code that assembles them or needs all of them. A part gets only what it
/// needs.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) services: Arc<Services>,
    pub(crate) workforce: Arc<Workforce>,
    /// The queues to run: those of the configuration, with later changes.
    pub(crate) queues: Arc<Queues>,
    /// What was counted since this Verk was built.
    pub(crate) live: Arc<LiveCounters>,
    /// The entries of the timetable that the workers declare.
    pub(crate) declared: Arc<Declared>,
}
