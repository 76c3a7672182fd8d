//! How `verk-testing` controls a node that runs inside a test. No part of the API: it changes in
//! any version.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::{
    effects,
    error::ConfigError,
    events::event::Event,
    job::Job,
    names::{Jid, QueueName},
    outcome::{Outcome, PerformError},
    storage::{Effects, Move, MoveTarget, Settlement, Source, Target},
};

/// What a run comes to.
pub type RunFuture = BoxFuture<'static, Result<Outcome, PerformError>>;

/// Watches a node in a test: see [`VerkBuilder::for_test`](crate::VerkBuilder::for_test).
pub trait TestSeam: fmt::Debug + Send + Sync + 'static {
    /// An event happened, and all subscribers have it.
    fn event(&self, event: &Event);

    /// Wraps a run. `missing` is the state that its worker needs and that the builder lacks.
    fn run(&self, job: &Arc<Job>, missing: Option<&ConfigError>, run: RunFuture) -> RunFuture;

    /// The test's client, outside of running jobs, stored these jobs in their queues. Its enqueue
    /// returns when the future completes.
    fn stored(&self, jids: Vec<Jid>) -> BoxFuture<'static, ()>;

    /// Whether the node declares the periodic jobs of this class.
    fn declares(&self, class: &str) -> bool {
        let _ = class;
        false
    }

    /// Whether the node sends heartbeats, from a task of the test's runtime. A test without other
    /// nodes needs none.
    fn beats(&self) -> bool {
        false
    }
}

/// The settlement of a job that was fetched from `queue`, with the effects that a node gives it.
#[must_use]
pub fn settlement(held: Bytes, queue: &QueueName, to: Target) -> Settlement {
    let effects = of_job(&held, |job| effects::of_settlement(job, queue, &to));
    Settlement { held, to, effects }
}

/// The move of a job that waits in `from`, with the effects that a node gives it.
#[must_use]
pub fn move_of(held: Bytes, from: &Source, to: MoveTarget) -> Move {
    let effects = of_job(&held, |job| effects::of_move(job, from, &to));
    Move { held, to, effects }
}

/// The effects of the first start of a job that was fetched from `queue`.
#[must_use]
pub fn start(held: &Bytes, queue: &QueueName) -> Effects {
    of_job(held, |job| effects::of_start(job, queue).into())
}

/// A payload that is no job has no effects.
fn of_job(held: &Bytes, effects: impl FnOnce(&Job) -> Effects) -> Effects {
    let job = Job::decode(held.clone());
    job.map(|job| effects(&job)).unwrap_or_default()
}

/// The extra parts of a node in a test.
#[derive(Debug)]
pub(crate) struct TestParts {
    pub(crate) seam: Arc<dyn TestSeam>,
    /// By class, the state that its worker needs and that the builder lacks.
    pub(crate) missing: BTreeMap<&'static str, ConfigError>,
}

impl TestParts {
    pub(crate) fn new(seam: Arc<dyn TestSeam>, mistakes: Vec<ConfigError>) -> Self {
        let missing = mistakes
            .into_iter()
            .filter_map(|error| match error {
                ConfigError::MissingState { class, .. } => Some((class, error)),
                _ => None,
            })
            .collect();
        Self { seam, missing }
    }

    pub(crate) fn wrap(&self, job: &Arc<Job>, run: RunFuture) -> RunFuture {
        self.seam.run(job, self.missing.get(job.class()), run)
    }
}
