//! The model of verk: jobs, workers, managers, and the storage trait that backends implement.
//!
//! Users depend on the crate `verk`, which re-exports what they need. This crate has no Redis and
//! no sockets: `verk-redis` is the backend on Redis, and `verk-testing` has the one in memory.
//!
//! The root has the names of every day. All others are in the module of their subject.

pub mod cells;
pub mod client;
pub mod config;
pub mod doctor;
mod effects;
pub mod error;
pub mod events;
#[doc(hidden)]
pub mod guard;
pub mod health;
pub mod job;
#[doc(hidden)]
pub mod log;
pub mod manage;
#[cfg(feature = "metrics")]
mod metrics;
pub mod names;
mod node;
pub mod outcome;
mod process;
pub mod queues;
mod runner;
mod schedule;
mod services;
pub mod stats;
pub mod storage;
#[doc(hidden)]
pub mod test_seam;
pub mod time;
mod timetable;
mod verk;
mod worker;

/// Periodic jobs: what a worker declares, and what its jobs know.
pub mod cron {
    pub use crate::timetable::{
        periodic::{CatchUp, Overlap, Periodic, Timing},
        tick::Tick,
    };
    #[cfg(feature = "cron")]
    pub use crate::{
        manage::timetable::{
            CronError, Timetable,
            entry::{CronEntry, CronPause, CronRun},
            new::Cron,
        },
        timetable::definition::Origin,
    };
    #[cfg(feature = "cron")]
    pub use verk_cron::{InvalidSchedule, Schedule};
}

/// What wraps every enqueue and every run.
pub mod middleware {
    pub use crate::{
        client::middleware::{ClientMiddleware, ClientNext, Enqueued},
        worker::middleware::{Next, ServerMiddleware},
    };
}

#[doc(inline)]
pub use crate::{
    client::{Client, middleware::Enqueued},
    config::Config,
    effects::unique::{OnConflict, Unique, Until},
    error::{BoxError, BuildError, EnqueueAllError, EnqueueError, RunError, StorageError},
    events::{Event, EventKind},
    health::Health,
    job::Job,
    names::{Jid, QueueName},
    outcome::{IntoOutcome, Outcome, RetryIn},
    verk::{
        Verk,
        builder::{Connect, VerkBuilder},
    },
    worker::{
        Worker, WorkerEntry, WorkerOptions,
        context::{FromJob, JobContext, Requirement, State},
        enqueue::EnqueueExt,
    },
};
#[doc(hidden)]
pub use crate::{config::declare as settings, verk::startup::warn_of_program};
