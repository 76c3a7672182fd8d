//! What runs the jobs of a node: [`Workforce`].

use std::sync::Arc;

use crate::{
    services::Services,
    test_seam::RunFuture,
    worker::{
        WorkerEntry,
        context::{JobContext, Reach},
        middleware::ServerStack,
        registry::Registry,
        run_state::RunState,
    },
};

/// What runs the jobs of a node: its workers, the middleware of each run, and what a run gets.
#[derive(Debug)]
pub(crate) struct Workforce {
    pub(crate) services: Arc<Services>,
    pub(crate) registry: Registry,
    pub(crate) middleware: ServerStack,
    pub(crate) reach: Arc<Reach>,
}

impl Workforce {
    /// The work of one run: that of its worker, inside of the middleware.
    pub(crate) fn perform(&self, worker: WorkerEntry, run: Arc<RunState>) -> RunFuture {
        let perform = |run| {
            let context = JobContext::new(run, Arc::clone(&self.reach));
            self.middleware.perform(worker, context)
        };
        match &self.services.test {
            None => perform(run),
            Some(test) => test.wrap(&Arc::clone(&run.job), perform(run)),
        }
    }
}
