//! What is written to `tracing` about jobs: a span for each run, and lines at the configured
//! levels. Never the arguments.

use std::time::{Duration, SystemTime};

use tracing::{
    field::{self, Empty},
    level_filters::LevelFilter,
};

use crate::{
    config::Config,
    events::event::AfterFailure,
    job::{Failure, Job},
    log::{self, Span},
    names::QueueName,
    outcome::PerformError,
    runner::ended_run::RunEnd,
    storage::Inprogress,
    time::clock::rfc3339,
};

/// Logs a line of a job, with the fields that all lines have, at a level that is known only at run
/// time: `tracing` wants a call site for each level.
macro_rules! log {
    (@$macro:ident, $line:expr, $attempt:expr, $($fields:tt)+) => {
        log::$macro!(
            target: "verk::job",
            class = $line.job.class(),
            jid = %$line.job.jid(),
            queue = %$line.queue,
            attempt = $attempt,
            $($fields)+
        )
    };
    ($level:expr, $line:expr, $attempt:expr, $($fields:tt)+) => {
        match $level {
            LevelFilter::OFF => {}
            LevelFilter::ERROR => log!(@error, $line, $attempt, $($fields)+),
            LevelFilter::WARN => log!(@warn, $line, $attempt, $($fields)+),
            LevelFilter::INFO => log!(@info, $line, $attempt, $($fields)+),
            LevelFilter::DEBUG => log!(@debug, $line, $attempt, $($fields)+),
            LevelFilter::TRACE => log!(@trace, $line, $attempt, $($fields)+),
        }
    };
}

/// The span of one run. What the worker logs is inside it. It is disabled, and costs almost
/// nothing, when no subscriber wants it.
pub(crate) fn span(job: &Job, inprogress: &Inprogress) -> Span {
    let span = Span::new(|| {
        tracing::span!(
            target: "verk::job",
            parent: None,
            tracing::Level::INFO,
            "job",
            class = job.class(),
            jid = %job.jid(),
            queue = %inprogress.queue,
            attempt = job.failures().saturating_add(1),
            node = %inprogress.node,
            // Read by the layer of `tracing-opentelemetry`.
            otel.name = Empty,
            otel.kind = Empty,
        )
    });
    #[cfg(feature = "otel")]
    span.change(|span| {
        use tracing_opentelemetry::OpenTelemetrySpanExt;
        span.record("otel.name", job.class());
        span.record("otel.kind", "consumer");
        if let Some(context) = job.trace_context() {
            // An error says that the subscriber has no OpenTelemetry layer.
            let _ = span.set_parent(context);
        }
    });
    span
}

/// Closes the span of a run.
#[cfg_attr(
    not(feature = "otel"),
    expect(unused_variables, reason = "only OpenTelemetry has a status")
)]
pub(crate) fn close(span: Span, end: &RunEnd) {
    #[cfg(feature = "otel")]
    if let RunEnd::Returned(Err(error)) = end {
        span.change(|span| {
            use tracing_opentelemetry::OpenTelemetrySpanExt;
            let message = error.failure.error_message.clone();
            span.set_status(opentelemetry::trace::Status::error(message));
        });
    }
    drop(span);
}

/// The job that a line is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    config: &'a Config,
    job: &'a Job,
    queue: &'a QueueName,
}

impl<'a> Line<'a> {
    pub(crate) fn new(config: &'a Config, job: &'a Job, queue: &'a QueueName) -> Self {
        Self { config, job, queue }
    }

    /// The number of this run, from 1, before its failure is recorded in the job.
    fn attempt(self) -> u32 {
        self.job.failures().saturating_add(1)
    }

    pub(crate) fn start(self) {
        log!(
            self.config.start_job_log_level,
            self,
            self.attempt(),
            "start"
        );
    }

    pub(crate) fn done(self, took: Duration) {
        log!(
            self.config.done_job_log_level,
            self,
            self.attempt(),
            elapsed_s = took.as_secs_f64(),
            outcome = "done",
            "done"
        );
    }

    pub(crate) fn snoozed(self, took: Duration, until: SystemTime) {
        log!(
            self.config.done_job_log_level,
            self,
            self.attempt(),
            elapsed_s = took.as_secs_f64(),
            outcome = "snoozed",
            retry_at = %rfc3339(until),
            "snoozed"
        );
    }

    /// Logged at the level that the failure would otherwise have.
    pub(crate) fn unknown_class(self, until: SystemTime) {
        log!(
            self.config.fail_job_log_level,
            self,
            self.attempt(),
            elapsed_s = 0.0,
            outcome = "snoozed",
            retry_at = %rfc3339(until),
            "no worker of this program has the class: requeued"
        );
    }

    pub(crate) fn discarded(self, took: Duration, reason: &str) {
        log!(
            self.config.done_job_log_level,
            self,
            self.attempt(),
            elapsed_s = took.as_secs_f64(),
            outcome = "discarded",
            reason,
            "discarded"
        );
    }

    /// The node stops, so the job goes back to its queue.
    pub(crate) fn handed_back(self, took: Duration) {
        log!(
            LevelFilter::INFO,
            self,
            self.attempt(),
            elapsed_s = took.as_secs_f64(),
            outcome = "handed_back",
            "handed back"
        );
    }

    /// The failure is recorded in the job.
    pub(crate) fn failed(self, took: Duration, failure: &Failure, then: AfterFailure) {
        let (level, outcome, retry_at) = match then {
            AfterFailure::Retry { at } => (self.config.fail_job_log_level, "retry", Some(at)),
            AfterFailure::Dead => (self.config.dead_job_log_level, "dead", None),
            AfterFailure::Discarded => (self.config.dead_job_log_level, "dropped", None),
        };
        let is_panic = failure.error_class == PerformError::PANIC;
        // The first line of the backtrace is the place of the panic.
        let panicked_at = failure.error_backtrace.first().filter(|_| is_panic);
        log!(
            level,
            self,
            self.job.failures(),
            elapsed_s = took.as_secs_f64(),
            outcome,
            retry_at = retry_at.map(|at| field::display(rfc3339(at))),
            error_class = failure.error_class,
            error_message = failure.error_message,
            panicked_at,
            "fail"
        );
    }
}
