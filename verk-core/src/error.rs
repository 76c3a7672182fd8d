//! The errors of verk itself. What a worker returns is no error of verk: see [`BoxError`].

use std::{fmt, sync::Arc};

use thiserror::Error;

/// What a worker's own error becomes: `anyhow::Error`, `String`, `Box<dyn Error>` and every
/// `std::error::Error` turn into it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Whether a change that failed may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Applied {
    /// It did not: the server refused it, or it was never sent. It may be tried again.
    NotApplied,
    /// Nobody knows: it was sent, and no reply came. Trying again may do it twice.
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

/// A storage operation failed.
///
/// The original error is the [`source`](std::error::Error::source).
#[derive(Clone, Debug, Error)]
#[error("failed to {op} ({applied})")]
pub struct StorageError {
    op: &'static str,
    applied: Applied,
    source: Arc<dyn std::error::Error + Send + Sync>,
}

impl StorageError {
    /// An error for a change that certainly did not take effect. `op` completes "failed to ...".
    pub fn not_applied(op: &'static str, source: impl Into<BoxError>) -> Self {
        Self::new(op, Applied::NotApplied, source)
    }

    /// An error for a change that may have taken effect. `op` completes "failed to ...".
    pub fn unknown(op: &'static str, source: impl Into<BoxError>) -> Self {
        Self::new(op, Applied::Unknown, source)
    }

    /// An error with the given certainty. `op` completes "failed to ...".
    pub fn new(op: &'static str, applied: Applied, source: impl Into<BoxError>) -> Self {
        Self {
            op,
            applied,
            source: source.into().into(),
        }
    }

    /// Whether the change may have taken effect all the same.
    #[must_use]
    pub fn applied(&self) -> Applied {
        self.applied
    }
}
