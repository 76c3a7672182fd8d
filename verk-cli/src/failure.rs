//! Why a command ends, and its exit code: [`Failure`], [`Exit`].

use std::{fmt, io};

use verk_core::{
    BuildError, StorageError,
    error::{Applied, EnqueueError, SelectionError},
    names::InvalidName,
};

use crate::text;

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    /// It did what was asked.
    pub(crate) const DONE: Self = Self(0);
    /// What was asked for is not there, or nothing changed. Of `doctor`: warnings.
    pub(crate) const NOTHING: Self = Self(1);
    /// The arguments are wrong; nothing was done. Of `doctor`: errors.
    pub(crate) const USAGE: u8 = 2;
    /// The worst finding of `doctor` is an error.
    pub(crate) const ERRORS: Self = Self(2);
    /// The storage does not answer, or refuses; nothing was changed.
    const STORAGE: u8 = 3;
    /// The storage failed, and some of the change may be made.
    const UNKNOWN: u8 = 4;
    /// Nobody agreed to the change; nothing was done.
    const REFUSED: u8 = 5;
    /// Ctrl-C.
    const INTERRUPTED: u8 = 130;
}

/// What `--help` says of the exit codes.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    what was asked for is not there, or nothing changed; doctor: there are warnings
  2    the arguments are wrong, and nothing was done; doctor: there are errors
  3    the storage does not answer or refuses, and nothing was changed
  4    the storage failed, and some of the change may be made
  5    a change was not confirmed (see --yes), and nothing was done
  130  stopped by Ctrl-C; the last line says what was done";

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments make no sense.
    Usage(String),
    /// What was asked for is not there.
    NotFound(String),
    /// The storage failed.
    Storage { message: String, applied: Applied },
    /// The change was not confirmed.
    Refused(String),
    /// Ctrl-C, and what was done until then.
    Interrupted(String),
    /// The reader of the output is gone: it has read enough.
    Closed,
    /// The output cannot be written, or something of this machine fails.
    Io(String),
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound(message.into())
    }

    /// The same failure, after a part of the change was made.
    pub(crate) fn after(self, done: u64, what: &str) -> Self {
        match self {
            Self::Storage { message, .. } if done > 0 => Self::Storage {
                message: format!("{message}; before that it {what}: {}", text::count(done)),
                applied: Applied::Unknown,
            },
            other => other,
        }
    }

    /// The failure of a command that changes nothing.
    pub(crate) fn of_read(self) -> Self {
        match self {
            Self::Storage { message, .. } => Self::Storage {
                message,
                applied: Applied::NotApplied,
            },
            other => other,
        }
    }

    pub(crate) fn exit(&self) -> u8 {
        match self {
            Self::Closed => Exit::DONE.0,
            Self::NotFound(_) => Exit::NOTHING.0,
            Self::Usage(_) => Exit::USAGE,
            Self::Storage { applied, .. } => match applied {
                Applied::NotApplied => Exit::STORAGE,
                Applied::Unknown => Exit::UNKNOWN,
            },
            Self::Refused(_) => Exit::REFUSED,
            Self::Interrupted(_) => Exit::INTERRUPTED,
            Self::Io(_) => Exit::STORAGE,
        }
    }
}

/// One sentence, and what to do.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message)
            | Self::NotFound(message)
            | Self::Refused(message)
            | Self::Interrupted(message)
            | Self::Io(message) => f.write_str(message),
            Self::Storage { message, applied } => {
                f.write_str(message)?;
                match applied {
                    Applied::NotApplied => Ok(()),
                    Applied::Unknown => f.write_str(
                        "; some of it may be done: look before you run the command again",
                    ),
                }
            }
            Self::Closed => Ok(()),
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Storage {
            message: error.to_string(),
            applied: error.applied(),
        }
    }
}

impl From<SelectionError> for Failure {
    fn from(error: SelectionError) -> Self {
        let applied = if error.done > 0 {
            Applied::Unknown
        } else {
            error.source.applied()
        };
        Self::Storage {
            message: error.to_string(),
            applied,
        }
    }
}

impl From<EnqueueError> for Failure {
    fn from(error: EnqueueError) -> Self {
        let message = error.to_string();
        if error.may_be_stored() {
            let applied = Applied::Unknown;
            return Self::Storage { message, applied };
        }
        match error {
            EnqueueError::Storage { .. } => Self::Storage {
                message,
                applied: Applied::NotApplied,
            },
            _ => Self::Usage(message),
        }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Storage(error) => error.into(),
            other => Self::Usage(other.to_string()),
        }
    }
}

impl From<InvalidName> for Failure {
    fn from(error: InvalidName) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(format!("the output cannot be written: {error}")),
        }
    }
}
