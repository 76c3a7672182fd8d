//! What `tracing` is told of jobs: a span for each run, and lines at the configured levels. Never the arguments.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use tracing::{Span, field::Empty};

use crate::{
    config::Config,
    error::ConfigError,
    event::AfterFailure,
    job::{Failure, Job},
    names::QueueName,
    storage::Inprogress,
    workers_manager::RunEnd,
};

/// At which level of `tracing` something is logged, or that it is not.
///
/// ```
/// use verk_core::LogLevel;
///
/// assert_eq!("debug".parse::<LogLevel>()?, LogLevel::Debug);
/// assert_eq!(LogLevel::Off.to_string(), "off");
/// assert!("loud".parse::<LogLevel>().is_err());
/// # Ok::<(), verk_core::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Not at all.
    Off,
    /// `ERROR`.
    Error,
    /// `WARN`.
    Warn,
    /// `INFO`.
    #[default]
    Info,
    /// `DEBUG`.
    Debug,
    /// `TRACE`.
    Trace,
}

impl LogLevel {
    /// What [`FromStr`] accepts, for messages.
    pub(crate) const ACCEPTED: &str = "off, error, warn, info, debug or trace";
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        })
    }
}

/// In any case: `info`, `INFO`.
impl FromStr for LogLevel {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let all = [
            Self::Off,
            Self::Error,
            Self::Warn,
            Self::Info,
            Self::Debug,
            Self::Trace,
        ];
        all.into_iter()
            .find(|level| level.to_string().eq_ignore_ascii_case(text))
            .ok_or_else(|| ConfigError::invalid("log level", format!("{text:?}"), Self::ACCEPTED))
    }
}

/// Logs at a level that is known at run time only: each has a place of its own in `tracing`.
macro_rules! log {
    ($level:expr, $($fields:tt)+) => {
        match $level {
            LogLevel::Off => {}
            LogLevel::Error => tracing::error!(target: "verk::job", $($fields)+),
            LogLevel::Warn => tracing::warn!(target: "verk::job", $($fields)+),
            LogLevel::Info => tracing::info!(target: "verk::job", $($fields)+),
            LogLevel::Debug => tracing::debug!(target: "verk::job", $($fields)+),
            LogLevel::Trace => tracing::trace!(target: "verk::job", $($fields)+),
        }
    };
}

/// The span of one run: what its worker logs is in it. Disabled, and next to free, when nobody wants it.
pub(crate) fn span(job: &Job, inprogress: &Inprogress) -> Span {
    let span = tracing::info_span!(
        target: "verk::job",
        parent: None,
        "job",
        class = job.class(),
        jid = %job.jid(),
        queue = %inprogress.queue,
        attempt = job.failures().saturating_add(1),
        node = %inprogress.node,
        // Read by the layer of `tracing-opentelemetry`.
        otel.name = Empty,
        otel.kind = Empty,
    );
    #[cfg(feature = "otel")]
    if !span.is_disabled() {
        use tracing_opentelemetry::OpenTelemetrySpanExt;
        span.record("otel.name", job.class());
        span.record("otel.kind", "consumer");
        if let Some(context) = job.trace_context() {
            // An error says that the subscriber knows nothing of OpenTelemetry.
            let _ = span.set_parent(context);
        }
    }
    span
}

/// Closes the span of a run.
#[cfg_attr(
    not(feature = "otel"),
    expect(unused_variables, reason = "only OpenTelemetry has a status")
)]
pub(crate) fn close(span: Span, end: &RunEnd) {
    #[cfg(feature = "otel")]
    if let RunEnd::Returned(Err(error)) = end
        && !span.is_disabled()
    {
        use tracing_opentelemetry::OpenTelemetrySpanExt;
        let message = error.failure.error_message.clone();
        span.set_status(opentelemetry::trace::Status::error(message));
    }
    drop(span);
}

/// Notes in a job which span enqueues it.
#[cfg(feature = "otel")]
pub(crate) fn trace_enqueue(job: &mut Job) {
    use opentelemetry::{Context, trace::TraceContextExt};
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    let mut context = Span::current().context();
    if !context.has_active_span() {
        // That of a program that uses OpenTelemetry without `tracing`.
        context = Context::current();
    }
    job.set_trace_context(&context);
}

pub(crate) fn start(config: &Config, job: &Job, queue: &QueueName) {
    log!(config.start_job_log_level, class = job.class(), jid = %job.jid(), %queue, "start");
}

pub(crate) fn done(config: &Config, job: &Job, queue: &QueueName, took: Duration) {
    log!(config.done_job_log_level, class = job.class(), jid = %job.jid(), %queue, ?took, "done");
}

pub(crate) fn snoozed(config: &Config, job: &Job, queue: &QueueName, until: SystemTime) {
    log!(config.done_job_log_level, class = job.class(), jid = %job.jid(), %queue, ?until, "snoozed");
}

/// At the level of the failure that it would be otherwise.
pub(crate) fn unknown_class(config: &Config, job: &Job, queue: &QueueName, until: SystemTime) {
    log!(config.fail_job_log_level, class = job.class(), jid = %job.jid(), %queue, ?until, "no worker of this program has the class: requeued");
}

pub(crate) fn discarded(config: &Config, job: &Job, queue: &QueueName, reason: &str) {
    log!(config.done_job_log_level, class = job.class(), jid = %job.jid(), %queue, reason, "discarded");
}

pub(crate) fn failed(
    config: &Config,
    job: &Job,
    queue: &QueueName,
    failure: &Failure,
    then: AfterFailure,
) {
    log!(
        config.fail_job_log_level,
        class = job.class(),
        jid = %job.jid(),
        %queue,
        error_class = failure.error_class,
        error_message = failure.error_message,
        ?then,
        "fail"
    );
}
