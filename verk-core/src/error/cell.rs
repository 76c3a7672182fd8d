//! Errors of one cell of several: [`InCell`].

use std::{error::Error, fmt, sync::Arc};

use super::{Applied, StorageError};

/// The cause of an error, with the cell in which it happened.
#[derive(Debug)]
pub(super) struct InCell {
    cell: usize,
    address: String,
    cause: Arc<dyn Error + Send + Sync>,
}

impl InCell {
    /// The original error of the backend.
    pub(super) fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.cause
    }
}

impl fmt::Display for InCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cell {} ({})", self.cell, self.address)
    }
}

impl Error for InCell {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

impl StorageError {
    /// Says in which cell of several it happened.
    pub(crate) fn in_cell(mut self, cell: usize, address: String) -> Self {
        let cause = self.cause;
        self.cause = Arc::new(InCell {
            cell,
            address,
            cause,
        });
        self
    }

    /// Of a step before a change: nothing took effect.
    pub(crate) fn never_applied(mut self) -> Self {
        self.applied = Applied::NotApplied;
        self
    }

    /// Of a change that was a part of another: of the whole, some may have taken effect.
    pub(crate) fn maybe_applied(mut self) -> Self {
        self.applied = Applied::Unknown;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::StorageErrorKind;

    #[test]
    fn an_error_names_its_cell_and_keeps_its_cause() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = StorageError::not_applied("enqueue jobs", refused)
            .with_kind(StorageErrorKind::Unreachable)
            .in_cell(3, "10.0.0.7:6379/0".to_owned());
        let text = "failed to enqueue jobs (nothing was sent): cell 3 (10.0.0.7:6379/0): \
                    connection refused";
        assert_eq!(error.to_string(), text);
        assert!(error.get_ref().is::<std::io::Error>());

        let error = error.maybe_applied();
        assert_eq!(error.applied(), Applied::Unknown);
        assert!(
            error
                .to_string()
                .contains("(may have been applied): cell 3 (")
        );
    }
}
