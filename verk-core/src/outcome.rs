//! The outcome of a worker, and its consequences.

use std::{
    convert::Infallible,
    error::Error,
    time::{Duration, SystemTime},
};

use crate::{
    error::{BoxError, ErrorChain, cut, sources, text_of},
    guard::{self, Panic},
    job::Failure,
};

/// The outcome of a worker that did not fail.
///
/// | answer | attempt counts | where the job goes |
/// |---|---|---|
/// | `Done`, or `()` | yes | nowhere: it is done |
/// | `Snooze(d)` | no | the `schedule` set, for `d` from now |
/// | `Discard(reason)` | yes | nowhere: it is dropped on purpose |
/// | `Kill(reason)` | yes, as a failure | the `dead` set |
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The job succeeded.
    Done,
    /// The job runs again after the given time, and no attempt is counted.
    Snooze(Duration),
    /// The job is not needed any more; the reason is logged.
    Discard(String),
    /// The job can never succeed: it goes to the `dead` set with the reason as its error message.
    Kill(String),
}

/// How a job ended on this node, once the storage has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    Done,
    /// It failed, and runs again.
    Retry,
    /// It failed, and is in the `dead` set.
    Dead,
    /// It failed, and asked for neither a retry nor the dead set.
    Dropped,
    /// Its worker did not need it, or it expired.
    Discarded,
    Snoozed,
    HandedBack,
    /// It was not this node's any more.
    Lost,
    /// The payload is no job, and is in the `dead` set.
    Malformed,
    /// Processes died while they ran it: it is in the `dead` set.
    PoisonPill,
}

#[cfg(feature = "metrics")]
impl Ending {
    /// The outcomes that jobs of every worker can have.
    pub(crate) const OF_WORKERS: [Self; 9] = [
        Self::Done,
        Self::Retry,
        Self::Dead,
        Self::Dropped,
        Self::Discarded,
        Self::Snoozed,
        Self::HandedBack,
        Self::Lost,
        Self::PoisonPill,
    ];

    /// As metrics have it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry => "retry",
            Self::Dead => "dead",
            Self::Dropped => "dropped",
            Self::Discarded => "discarded",
            Self::Snoozed => "snoozed",
            Self::HandedBack => "handed_back",
            Self::Lost => "lost",
            Self::Malformed => "malformed",
            Self::PoisonPill => "poison_pill",
        }
    }
}

/// When a failed job runs again, as a worker's `retry_in` function decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RetryIn {
    /// The job is retried like every other job: after Verk's backoff, until `max_retry_count` is
    /// reached.
    #[default]
    Default,
    /// After this time.
    After(Duration),
    /// At this time.
    At(SystemTime),
    /// Not at all: to the `dead` set.
    Kill,
    /// The job is not retried, and does not go to the `dead` set.
    Discard,
}

/// The types that a worker function may return: `()`, `Result<(), E>` and `Result<Outcome, E>`, for
/// any error that turns into a [`BoxError`].
#[diagnostic::on_unimplemented(
    message = "a worker cannot return `{Self}`",
    label = "not a return type of a worker",
    note = "accepted: `()`, `Result<(), E>`, `Result<Outcome, E>`, where `E: Into<Box<dyn Error + Send + Sync>>`"
)]
pub trait IntoOutcome {
    /// The worker's own error.
    type Error: Into<BoxError>;

    /// The answer, or the error.
    ///
    /// # Errors
    ///
    /// The worker's own.
    fn into_outcome(self) -> Result<Outcome, Self::Error>;
}

impl IntoOutcome for () {
    type Error = Infallible;

    fn into_outcome(self) -> Result<Outcome, Infallible> {
        Ok(Outcome::Done)
    }
}

/// An error that a worker may return: any type that converts to a [`BoxError`].
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a worker",
    label = "not an error of a worker",
    note = "for `Box<dyn Error>` write `Box<dyn Error + Send + Sync>`: a run may move to another thread",
    note = "accepted: what implements `std::error::Error + Send + Sync`, `anyhow::Error`, `String`"
)]
pub trait WorkerError: Into<BoxError> {}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> WorkerError for E {}

impl<E: WorkerError> IntoOutcome for Result<(), E> {
    type Error = E;

    fn into_outcome(self) -> Result<Outcome, E> {
        self.map(|()| Outcome::Done)
    }
}

impl<E: WorkerError> IntoOutcome for Result<Outcome, E> {
    type Error = E;

    fn into_outcome(self) -> Self {
        self
    }
}

/// The failure of a run: what is recorded, and what the worker asks for.
#[derive(Clone, Debug)]
pub struct PerformError {
    /// The failure to record in the job.
    pub failure: Failure,
    /// When to run the job again.
    pub retry_in: RetryIn,
}

impl PerformError {
    /// Describes a worker's error. `error_class` is the last segment of the type's name, and
    /// `error_message` the error and its sources. `error_backtrace` has one line for each source
    /// and, if an `anyhow` error captured them (`RUST_BACKTRACE=1`), the frames.
    pub fn new<E: Into<BoxError>>(error: E) -> Self {
        let class = type_name_without_path(std::any::type_name::<E>());
        // The error's own code writes the texts, and may panic when it is dropped.
        let described = guard::call(|| Self::described(class, &*error.into()));
        described.unwrap_or_else(|| Self::of(class, "panicked when it was read"))
    }

    /// The failure of a run whose extractor failed. An extractor reads the job, and serde_json
    /// quotes the values that it refuses, so its message is left out.
    #[doc(hidden)]
    pub fn of_extractor(error: BoxError) -> Self {
        let error = match error.downcast::<serde_json::Error>() {
            Ok(json) => format!(
                "JSON of another shape, at line {} column {}",
                json.line(),
                json.column()
            )
            .into(),
            Err(error) => error,
        };
        Self::described("ExtractError", &*error)
    }

    /// A failure that verk itself found, such as `UnknownClass`.
    pub(crate) fn of(class: &str, message: impl Into<String>) -> Self {
        Self {
            failure: Failure {
                error_class: class.to_owned(),
                error_message: message.into(),
                error_backtrace: Vec::new(),
            },
            retry_in: RetryIn::Default,
        }
    }

    /// The `error_class` of a panic.
    pub(crate) const PANIC: &str = "Panic";

    /// A panic: its message, and its place if that is known.
    pub(crate) fn panicked(panic: &Panic) -> Self {
        let mut error = Self::of(Self::PANIC, panic.message());
        error.failure.error_backtrace = panic.place();
        error
    }

    /// A failure with this class, and the text of `error` and its sources.
    pub(crate) fn described(class: &str, error: &(dyn Error + 'static)) -> Self {
        let mut backtrace: Vec<_> = sources(error)
            .map(|cause| format!("caused by: {}", text_of(cause)))
            .collect();
        let debug = cut(format_args!("{error:?}"), MAX_DEBUG_CHARS);
        backtrace.extend(captured_frames(&debug));
        Self {
            failure: Failure {
                error_class: class.to_owned(),
                error_message: ErrorChain(error).to_string(),
                error_backtrace: backtrace,
            },
            retry_in: RetryIn::Default,
        }
    }

    /// Replaces the `error_class`.
    #[must_use]
    pub fn error_class(mut self, class: String) -> Self {
        self.failure.error_class = class;
        self
    }

    /// Replaces what the worker wants to happen.
    #[must_use]
    pub fn retry_in(mut self, retry_in: RetryIn) -> Self {
        self.retry_in = retry_in;
        self
    }
}

/// The frames in the `Debug` form of an error. Stable Rust has no other access to them, and
/// `anyhow` prints them under this heading, last.
fn captured_frames(debug: &str) -> impl Iterator<Item = String> {
    let frames = debug
        .split_once("\n\nStack backtrace:\n")
        .map_or("", |(_, frames)| frames);
    frames.lines().map(|line| line.trim().to_owned())
}

/// The longest `Debug` form of an error with a long backtrace. It cuts an error whose sources have
/// no end.
const MAX_DEBUG_CHARS: usize = 256 * 1024;

/// `app::mail::MailError<u8>` as `MailError`.
fn type_name_without_path(name: &str) -> &str {
    let name = name.split('<').next().unwrap_or(name);
    name.rsplit("::").next().unwrap_or(name)
}

/// Verk's backoff: `n^4 + 15 + random * (n + 1)` seconds, where `n` counts the failures so far
/// (this one included) and `random` is drawn from 1 to 30.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(verk_core::outcome::backoff(1, 1), Duration::from_secs(1 + 15 + 2));
/// assert_eq!(verk_core::outcome::backoff(25, 30), Duration::from_secs(25_u64.pow(4) + 15 + 30 * 26));
/// ```
#[must_use]
pub fn backoff(failures: u32, random: u32) -> Duration {
    let n = u64::from(failures);
    let jitter = u64::from(random).saturating_mul(n + 1);
    Duration::from_secs(
        n.saturating_pow(4)
            .saturating_add(15)
            .saturating_add(jitter),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::MAX_MESSAGE_CHARS;

    #[derive(Debug, thiserror::Error)]
    #[error("could not send")]
    struct MailError(#[source] std::num::ParseIntError);

    #[test]
    fn an_error_is_described_with_its_sources() {
        let error = PerformError::new(MailError("x".parse::<u8>().unwrap_err())).failure;
        assert_eq!(error.error_class, "MailError");
        assert_eq!(
            error.error_message,
            "could not send: invalid digit found in string"
        );
        assert_eq!(
            error.error_backtrace,
            ["caused by: invalid digit found in string"]
        );
    }

    /// Is its own source, and is long.
    #[derive(Debug)]
    struct Endless;

    impl std::fmt::Display for Endless {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{}", "endless ".repeat(10_000))
        }
    }

    impl Error for Endless {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self)
        }
    }

    #[test]
    fn an_error_without_an_end_is_a_failure_of_bounded_size() {
        // `anyhow` reads all sources for its `Debug`.
        for failure in [
            PerformError::new(Endless).failure,
            PerformError::new(anyhow::Error::new(Endless)).failure,
        ] {
            assert!(failure.error_message.starts_with("endless endless"));
            assert!(failure.error_message.len() <= MAX_MESSAGE_CHARS);
            assert!(failure.error_backtrace.len() < 100);
            let frames = failure.error_backtrace.iter();
            assert!(frames.map(String::len).sum::<usize>() < 1024 * 1024);
        }
    }

    #[test]
    fn captured_frames_are_taken_from_where_anyhow_prints_them() {
        let debug = "no route\n\nCaused by:\n    timed out\n\nStack backtrace:\n   0: app::send\n             at src/mail.rs:7:5";
        assert_eq!(
            captured_frames(debug).collect::<Vec<_>>(),
            ["0: app::send", "at src/mail.rs:7:5"]
        );
        assert_eq!(captured_frames("MailError { code: 7 }").count(), 0);
    }

    #[test]
    fn a_class_is_the_last_segment_without_generics() {
        assert_eq!(type_name_without_path("a::b::C<d::E>"), "C");
        assert_eq!(type_name_without_path("alloc::string::String"), "String");
    }
}
