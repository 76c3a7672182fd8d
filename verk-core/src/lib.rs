//! The model of verk: jobs, workers, managers, and the storage trait that backends implement.
//!
//! Users depend on the crate `verk`, which re-exports what they need. This crate has no Redis and
//! no sockets: `verk-redis` is the backend on Redis, and `verk-testing` has the one in memory.

mod client;
mod config;
pub mod doctor;
mod error;
mod events;
#[doc(hidden)]
pub mod guard;
mod health;
mod job;
#[doc(hidden)]
pub mod log;
mod manage;
#[cfg(feature = "metrics")]
mod metrics;
mod names;
mod node;
mod outcome;
mod process;
mod queues;
mod runner;
mod schedule;
mod services;
mod stats;
pub mod storage;
#[doc(hidden)]
pub mod test_seam;
mod time;
mod verk;
mod worker;

pub use client::{
    Client,
    current::{AlreadyInstalled, Installed},
    middleware::{ClientMiddleware, ClientNext, Stored},
    new_job::{IntoJob, NewJob},
};
#[doc(hidden)]
pub use config::declare as settings;
pub use config::{Config, unknown_class::UnknownClass};
pub use error::{
    Applied, BoxError, BuildError, ConfigError, ConfigErrors, EnqueueAllError, EnqueueError,
    ErrorChain, RunError, SelectionError, StorageError, StorageErrorKind,
};
pub use events::{
    Events, Lagged,
    event::{AfterFailure, Event, EventKind},
};
pub use health::{Health, Reason};
pub use job::{
    Backtrace, Dialect, Failure, InvalidJob, Job, MalformedJob, RetryLimit, TimeFormat,
    args::{ArgsError, ArgsReader, ArgsWriter},
};
pub use manage::{Admin, Entry, Found, JobInProgress, Jobs, Selection};
pub use names::{InvalidName, Jid, MAX_NAME_BYTES, NodeId, QueueName};
pub use outcome::{IntoOutcome, Outcome, PerformError, RetryIn, WorkerError};
pub use queues::status::{QueueStatus, RunningJob, Status};
pub use runner::retry::backoff;
pub use stats::{LiveQueueStats, LiveStats, QueueStats, Stats};
pub use storage::{DayStats, ScheduleKeys, Storage};
pub use time::{
    calendar::{Day, InvalidDay},
    clock::{Clock, JobWait, SystemClock, from_unix_seconds, unix_seconds},
};
pub use tracing::level_filters::LevelFilter;
#[doc(hidden)]
pub use verk::startup::warn_of_program;
pub use verk::{
    Verk,
    builder::{Connect, VerkBuilder},
};
pub use worker::{
    Worker, WorkerEntry, WorkerOptions,
    context::{FromJob, JobContext, Requirement, State},
    enqueue::EnqueueExt,
    middleware::{Next, ServerMiddleware},
};
