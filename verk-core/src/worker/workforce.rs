//! What runs the jobs of a node: [`Workforce`].

use std::sync::Arc;

use crate::{
    client::Client,
    services::Services,
    worker::{context::StateMap, middleware::ServerStack, registry::Registry},
};

/// What runs the jobs of a node: its workers, the middleware of each run, and what a run gets.
#[derive(Debug)]
pub(crate) struct Workforce {
    pub(crate) services: Arc<Services>,
    pub(crate) registry: Registry,
    pub(crate) middleware: ServerStack,
    pub(crate) state: Arc<StateMap>,
    /// The client that running jobs find.
    pub(crate) client: Client,
}
