//! What a node consists of: [`Parts`].

use std::sync::Arc;

use crate::{
    error::BuildError,
    node::{
        about::Program, beats::HeartbeatThread, heartbeat::register, registration::Registration,
    },
    queues::{Queues, all::AllQueues, blocked},
    services::{Essentials, Services},
    stats::counters::LiveCounters,
    timetable::Declared,
    worker::workforce::Workforce,
};

/// The parts of a node, for code that assembles them or needs all of them. A part gets only what it
/// needs. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// Of the program, over all cells.
    pub(crate) essentials: Arc<Essentials>,
    /// The queues to run: those of the configuration, with later changes.
    pub(crate) queues: AllQueues,
    /// What was counted since this Verk was built.
    pub(crate) live: Arc<LiveCounters>,
    /// Each cell has one, with its number. There is at least one.
    pub(crate) cells: Arc<[CellParts]>,
}

impl Parts {
    /// The first cell, for what is the same in each: the workers, and where events go.
    pub(crate) fn first(&self) -> &CellParts {
        &self.cells[0]
    }
}

/// The parts of a node in one cell. There the node is registered under an id of its own, and works
/// as if there were no other cells.
#[derive(Clone, Debug)]
pub(crate) struct CellParts {
    pub(crate) services: Arc<Services>,
    pub(crate) workforce: Arc<Workforce>,
    /// Shared by all cells.
    pub(crate) heartbeats: Arc<HeartbeatThread>,
    /// Those that lie in this cell.
    pub(crate) queues: Arc<Queues>,
    pub(crate) live: Arc<LiveCounters>,
    /// The entries of the timetable that the workers declare: it knows which lie in this cell.
    pub(crate) declared: Arc<Declared>,
}

impl CellParts {
    /// What the program is in this cell.
    pub(crate) fn program(&self) -> Program {
        let classes = self.workforce.registry.classes();
        Program::new(classes, self.declared.to_json())
    }

    /// Registers the node in this cell, with the queues that it runs here now.
    pub(crate) async fn register(
        &self,
        program: &Program,
    ) -> Result<Arc<Registration>, BuildError> {
        let (queues, watch) = (
            self.queues.names(),
            blocked::watch(Arc::clone(&self.queues)),
        );
        register(&self.services, program, &queues, &self.heartbeats, watch).await
    }
}
