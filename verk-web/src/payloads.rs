//! How much of a job's payload is shown: [`Payloads`].

use std::{fmt, sync::Arc};

use verk_core::{Job, guard};

/// How much of the payloads of jobs is shown. The arguments of a job may hold secrets.
#[derive(Clone, Default)]
pub enum Payloads {
    /// Neither the payload nor its arguments.
    #[default]
    Hidden,
    /// All of it, as it is stored.
    Shown,
    /// The arguments, as this function writes them; the payload is hidden.
    Redacted(Arc<dyn Fn(&Job) -> String + Send + Sync>),
}

impl Payloads {
    /// The arguments of a job as they may be shown; `None` if they are hidden, or if the function
    /// panics.
    #[must_use]
    pub fn args(&self, job: &Job) -> Option<String> {
        match self {
            Self::Hidden => None,
            Self::Shown => Some(job.args().to_owned()),
            Self::Redacted(redact) => guard::call(|| redact(job)),
        }
    }

    /// Whether payloads may be shown as they are, and searched for a text.
    #[must_use]
    pub fn are_shown(&self) -> bool {
        matches!(self, Self::Shown)
    }
}

impl fmt::Debug for Payloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hidden => "Hidden",
            Self::Shown => "Shown",
            Self::Redacted(_) => "Redacted",
        })
    }
}
