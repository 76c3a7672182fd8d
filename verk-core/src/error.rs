//! The errors of verk itself. An error that a worker returns is not one of them: see [`BoxError`].

mod cell;
mod chain;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

pub use self::chain::ErrorChain;
pub(crate) use self::chain::{cut, sources, text_of};

use self::cell::InCell;
use crate::{
    job::{HolderPlace, InvalidJob, args::ArgsError},
    names::{InvalidName, Jid, NodeId, QueueName},
};

/// The form of a worker's own error: `anyhow::Error`, `String`, `Box<dyn Error>` and every
/// `std::error::Error` convert to it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Whether a change that failed may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Applied {
    /// It did not: the server refused it, or it was never sent. You may try again.
    NotApplied,
    /// It may have: it was sent, and no reply came. A second try may do it twice.
    Unknown,
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotApplied => "not applied",
            Self::Unknown => "may have been applied",
        })
    }
}

/// The kind of a [`StorageError`], by which a program can decide; its text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StorageErrorKind {
    /// There is no connection: nothing listens, the host is unknown, or no answer came in time.
    /// Nothing was sent. Trying again may help.
    Unreachable,
    /// The request was sent, and no reply came: the connection ended, or the time ran out.
    NoReply,
    /// The server refuses the user, the password or a command. Correct the credentials or the
    /// rights.
    NotPermitted,
    /// The server has no memory left. It takes jobs again when it has more memory, or fewer jobs.
    Full,
    /// The server answers, but cannot do it now: it loads its data, is a replica, is busy, or
    /// cannot write to its disk. Trying again may help.
    Unavailable,
    /// A key holds another type of value than verk keeps there. Move that key away.
    WrongType,
    /// A setting cannot work: a URL, a certificate, or a server that is too old. Correct it.
    Misconfigured,
    /// Another job holds the unique lock of the job.
    Conflict,
    /// The queue lies in another [cell](crate::cells) now, or is about to: see
    /// [`Gate`](crate::storage::Gate). A [view](crate::cells::Cells::view) of all cells asks the
    /// other one.
    Moved,
    /// The server refused the request for another reason.
    Refused,
    /// Any other failure.
    Other,
}

/// A storage operation failed.
///
/// It prints what failed, whether the change may have taken effect, and the whole cause. It has no
/// [`source`](std::error::Error::source), because loggers would print the source twice:
/// [`get_ref`](Self::get_ref) has the original error. Programs decide by [`kind`](Self::kind) and
/// [`applied`](Self::applied).
///
/// ```
/// use verk_core::{error::{Applied, StorageErrorKind}, StorageError};
///
/// let error = StorageError::not_applied("enqueue jobs", "connection refused")
///     .with_kind(StorageErrorKind::Unreachable);
/// assert_eq!(error.to_string(), "failed to enqueue jobs (nothing was sent): connection refused");
/// assert_eq!(error.applied(), Applied::NotApplied);
/// ```
#[derive(Clone, Debug)]
pub struct StorageError {
    op: &'static str,
    applied: Applied,
    kind: StorageErrorKind,
    cause: Arc<dyn std::error::Error + Send + Sync>,
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match (self.applied, self.kind) {
            (Applied::NotApplied, StorageErrorKind::Unreachable) => NOTHING_SENT,
            (Applied::NotApplied, _) => "not applied",
            (Applied::Unknown, _) => "may have been applied",
        };
        write!(f, "failed to {} ({effect}): {}", self.op, self.cause())
    }
}

impl std::error::Error for StorageError {}

impl StorageError {
    /// Makes an error for a change that certainly did not take effect. `op` completes "failed to
    /// ...".
    pub fn not_applied(op: &'static str, cause: impl Into<BoxError>) -> Self {
        Self::new(op, Applied::NotApplied, cause)
    }

    /// Makes an error for a change that may have taken effect. `op` completes "failed to ...".
    pub fn unknown(op: &'static str, cause: impl Into<BoxError>) -> Self {
        Self::new(op, Applied::Unknown, cause)
    }

    /// Makes an error with the given certainty, of the kind [`Other`](StorageErrorKind::Other).
    /// `op` completes "failed to ...".
    pub fn new(op: &'static str, applied: Applied, cause: impl Into<BoxError>) -> Self {
        Self {
            op,
            applied,
            kind: StorageErrorKind::Other,
            cause: cause.into().into(),
        }
    }

    /// Sets what kind of failure it is.
    #[must_use]
    pub fn with_kind(mut self, kind: StorageErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Returns whether the change may have taken effect.
    #[must_use]
    pub fn applied(&self) -> Applied {
        self.applied
    }

    /// Returns the kind of failure, so that a program can decide by it.
    #[must_use]
    pub fn kind(&self) -> StorageErrorKind {
        self.kind
    }

    /// Returns the original error of the backend, for a downcast.
    #[must_use]
    pub fn get_ref(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        let in_cell: Option<&InCell> = self.cause.downcast_ref();
        in_cell.map_or(&*self.cause, InCell::get_ref)
    }

    /// The cause without the rest, as its whole chain.
    pub(crate) fn cause(&self) -> ErrorChain<'_> {
        ErrorChain(&*self.cause)
    }
}

/// The text with which an error says that no connection could be opened.
const NOTHING_SENT: &str = "nothing was sent";

/// A job was not enqueued, or may not have been.
///
/// It prints its whole cause, and has no [`source`](std::error::Error::source), because loggers
/// would print the source twice. The cause is a field.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// There is no current client; nothing was stored.
    #[error(
        "no client to enqueue with: build a Verk first (`Verk::builder()...build().await`) and keep it, since one that was shut down or dropped does not count; or call `client.enqueue(job)`; in a test, make a `TestVerk` first"
    )]
    NoClient,
    /// The arguments cannot be written as JSON; nothing was stored.
    #[error("the arguments of {class} cannot be encoded: {source}")]
    Args {
        /// The class of the job.
        class: &'static str,
        /// Which argument, and why.
        r#source: ArgsError,
    },
    /// The queue's name is not valid; nothing was stored.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The job is not valid; nothing was stored.
    #[error(transparent)]
    InvalidJob(#[from] InvalidJob),
    /// The job names no queue; nothing was stored.
    #[error("job {jid} names no queue")]
    NoQueue {
        /// The job.
        jid: Jid,
    },
    /// The payload is over the limit; nothing was stored.
    #[error("the payload of job {jid} has {size} bytes, the limit (max_payload_bytes) is {limit}")]
    TooLarge {
        /// The job.
        jid: Jid,
        /// The size of the payload in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Two workers have the class, so verk cannot know which would run the job; nothing was stored.
    /// This happens only in a test: elsewhere `build()` of the node that runs the job reports it.
    #[error(transparent)]
    DuplicateClass(ConfigError),
    /// A client middleware stopped the job by not passing it on; nothing was stored.
    #[error("job {jid} was stopped by a client middleware")]
    Stopped {
        /// The job.
        jid: Jid,
    },
    /// A client middleware failed: nothing was stored, unless it failed after the job had been
    /// sent.
    #[error(
        "a client middleware failed for job {jid}{}: {}",
        if *may_be_stored { ", which may be stored" } else { "" },
        ErrorChain(&**source)
    )]
    Middleware {
        /// The job.
        jid: Jid,
        /// Whether the job may still be stored.
        may_be_stored: bool,
        /// The middleware's own error.
        r#source: BoxError,
    },
    /// Another job holds the unique lock of the job, whose options say
    /// [`OnConflict::Error`](crate::OnConflict::Error); nothing was stored.
    #[error("job {jid} is not enqueued: job {holder}, {place}, holds its unique lock")]
    Duplicate {
        /// The job that was not stored.
        jid: Jid,
        /// The job that holds the lock.
        holder: Jid,
        /// Where that is.
        place: HolderPlace,
    },
    /// Another job was enqueued with the same key before; nothing was stored. See
    /// [`Client::enqueue_once`](crate::Client::enqueue_once).
    #[error("job {jid} is not enqueued: job {earlier}, which is another one, had its key")]
    KeyReused {
        /// The job that was not stored.
        jid: Jid,
        /// The job that was stored with the key.
        earlier: Jid,
    },
    /// An earlier job of the same `enqueue_all` failed, so this one was not sent; nothing was
    /// stored. Only a client middleware sees it.
    #[error("job {jid} was not sent: another job of its bulk enqueue failed")]
    BulkFailed {
        /// The job.
        jid: Jid,
    },
    /// The storage refused the job, or its reply was lost: see
    /// [`may_be_stored`](Self::may_be_stored).
    #[error("{}: {}", not_stored(jid, source), source.cause())]
    Storage {
        /// The job, or the first of its chunk.
        jid: Jid,
        /// What happened.
        r#source: StorageError,
    },
}

impl EnqueueError {
    /// Returns whether the job may be stored: it was sent, and no reply came, or a client
    /// middleware failed after that. A second enqueue may run it twice.
    #[must_use]
    pub fn may_be_stored(&self) -> bool {
        match self {
            Self::Storage { source, .. } => source.applied() == Applied::Unknown,
            Self::Middleware { may_be_stored, .. } => *may_be_stored,
            _ => false,
        }
    }

    /// Returns the id of the job, if it had one already.
    #[must_use]
    pub fn jid(&self) -> Option<&Jid> {
        match self {
            Self::NoQueue { jid }
            | Self::TooLarge { jid, .. }
            | Self::Stopped { jid }
            | Self::Middleware { jid, .. }
            | Self::BulkFailed { jid }
            | Self::Duplicate { jid, .. }
            | Self::KeyReused { jid, .. }
            | Self::Storage { jid, .. } => Some(jid),
            Self::NoClient
            | Self::Args { .. }
            | Self::InvalidName(_)
            | Self::InvalidJob(_)
            | Self::DuplicateClass(_) => None,
        }
    }
}

/// What an error says of a job that the storage did not confirm.
fn not_stored(jid: &Jid, error: &StorageError) -> String {
    match (error.applied, error.kind) {
        (Applied::Unknown, _) => format!("job {jid} may be enqueued, or not"),
        (Applied::NotApplied, StorageErrorKind::Unreachable) => {
            format!("job {jid} was not enqueued ({NOTHING_SENT})")
        }
        (Applied::NotApplied, _) => format!("job {jid} was not enqueued"),
    }
}

/// A bulk enqueue stopped. It prints its cause.
#[derive(Debug, Error)]
#[error("{} jobs are enqueued, then it stopped: {source}", stored.len())]
pub struct EnqueueAllError {
    /// The jobs that are stored, in order. For the next chunk, see [`EnqueueError::may_be_stored`].
    pub stored: Vec<Jid>,
    /// The error that stopped the enqueue.
    pub r#source: EnqueueError,
}

/// An operation on a selection of jobs did not reach all of them. It prints its cause.
#[derive(Debug, Error)]
#[error("{done} jobs of the selection were moved or deleted, then it stopped: {source}")]
pub struct SelectionError {
    /// How many jobs were certainly moved or deleted.
    pub done: usize,
    /// The first error. After [`Unknown`](Applied::Unknown), up to [a
    /// batch](crate::storage::MAX_BATCH_JOBS) more may be done.
    pub r#source: StorageError,
}

/// An error in the configuration or in the program's workers.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value is out of range, or does not parse.
    #[error("{field} is {value}; accepted: {accepted}")]
    Invalid {
        /// The field or the environment variable.
        field: String,
        /// What it is.
        value: String,
        /// What it may be.
        accepted: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A field in a file does not parse, or is unknown. The message shows no text that may be a
    /// password.
    #[error("{}line {line}, column {column}: {message}", path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default())]
    Toml {
        /// The file, if it was one.
        path: Option<PathBuf>,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// The field and the accepted values.
        message: String,
    },
    /// A queue or node name is not valid.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// What a worker declares about its periodic jobs is not valid.
    #[error("the periodic job {name:?} at {location}: {reason}")]
    Periodic {
        /// The name of the entry.
        name: String,
        /// Where its worker is defined: `file:line`.
        location: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Two workers have one class.
    #[error(
        "two workers have the class {class:?}, at {first} and at {second}: rename one, or give it `class = \"...\"`"
    )]
    DuplicateClass {
        /// The class.
        class: &'static str,
        /// Where one worker is.
        first: &'static str,
        /// Where the other is.
        second: &'static str,
    },
    /// A worker needs state that the builder was not given.
    #[error(
        "worker {class} ({location}) needs State<{type_name}>: add `.state(value)` with a value of that type to the builder"
    )]
    MissingState {
        /// The worker's class.
        class: &'static str,
        /// Where it is.
        location: &'static str,
        /// The type.
        type_name: &'static str,
    },
    /// The node was built without queues.
    #[error("this node only enqueues: give the builder a queue, such as `.queue(\"default\", 25)`")]
    EnqueuesOnly,
    /// The node does not run the queue.
    #[error(
        "this node does not run the queue {name}: it is not configured, was not added, or was removed"
    )]
    UnknownQueue {
        /// The queue.
        name: QueueName,
    },
    /// There is nowhere to put jobs.
    #[error("no storage: add `.redis(url)` or `.storage(storage)` to the builder")]
    NoStorage,
}

impl ConfigError {
    pub(crate) fn no_concurrency(queue: &QueueName) -> Self {
        Self::invalid(format!("concurrency of queue {queue}"), "0", "at least 1")
    }

    pub(crate) fn invalid(
        field: impl Into<String>,
        value: impl Into<String>,
        accepted: impl Into<String>,
    ) -> Self {
        Self::Invalid {
            field: field.into(),
            value: value.into(),
            accepted: accepted.into(),
        }
    }
}

/// All errors in the configuration: never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub(crate) fn new(errors: Vec<ConfigError>) -> Self {
        Self(errors)
    }

    /// Fails if there are errors.
    pub(crate) fn check(errors: Vec<ConfigError>) -> Result<(), Self> {
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Self(errors))
        }
    }

    /// Names the file that has the errors.
    pub(crate) fn in_file(mut self, file: &Path) -> Self {
        for error in &mut self.0 {
            if let ConfigError::Toml { path, .. } = error {
                *path = Some(file.to_owned());
            }
        }
        self
    }

    /// Returns all errors.
    #[must_use]
    pub fn as_slice(&self) -> &[ConfigError] {
        &self.0
    }
}

impl<E: Into<ConfigError>> From<E> for ConfigErrors {
    fn from(error: E) -> Self {
        Self(vec![error.into()])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

/// In one line, because `main` shows it in this form if it returns it.
impl fmt::Debug for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigErrors {}

/// `build()` failed.
///
/// It prints its whole cause in one line, also by `Debug`, because `main` shows it in that form if
/// it returns it.
#[derive(Error)]
#[non_exhaustive]
pub enum BuildError {
    /// All errors of the configuration.
    #[error("{0}")]
    Config(ConfigErrors),
    /// The storage does not answer, or refuses. Nothing was started.
    #[error("the storage cannot be used: {}", .0.cause())]
    Storage(StorageError),
    /// A living node has the configured `node_id`.
    #[error(
        "the node_id {name:?} is held by the living node {holder}: stop it first, or give this one another node_id"
    )]
    NameHeld {
        /// The configured name.
        name: String,
        /// Who holds it.
        holder: NodeId,
    },
    /// A storage is another cell than this program takes it for. Nothing was started.
    #[error(
        "the storage at {address} is not the cell that this program takes it for: it has {found:?}, this program needs {wanted:?}; all programs of a fleet need the same cells in the same order"
    )]
    Layout {
        /// The [address](crate::storage::Server::address) of the storage.
        address: String,
        /// What it is for this program.
        wanted: String,
        /// What it is for the programs before.
        found: String,
    },
    /// The heartbeat's thread could not be started.
    #[error("cannot start the heartbeat's thread: {0}")]
    Thread(std::io::Error),
}

/// `run()` or `start()` failed.
///
/// It prints its whole cause in one line, also by `Debug`, because `main` shows it in that form if
/// it returns it.
#[derive(Error)]
#[non_exhaustive]
pub enum RunError {
    /// There is nothing to run.
    #[error(
        "no queues to run: add `.queue(\"default\", 25)` to the builder, or set VERK_QUEUES=default:25"
    )]
    NoQueues,
    /// The call does not come from a tokio runtime. Nothing was started.
    #[error(
        "there is no tokio runtime here, and a node needs one: use `#[tokio::main]`, `#[tokio::test]` or `runtime.block_on(..)`"
    )]
    NoRuntime,
    /// The handlers for TERM and INT could not be installed.
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
}

impl From<ConfigErrors> for BuildError {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}

impl From<StorageError> for BuildError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<std::io::Error> for RunError {
    fn from(error: std::io::Error) -> Self {
        Self::Signals(error)
    }
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
