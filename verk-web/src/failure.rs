//! Why a request is not answered: [`Failure`].

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use verk_core::{
    StorageError,
    error::{Applied, SelectionError, StorageErrorKind},
    names::{InvalidName, Jid},
};

/// An answer that is none of the pages. The guard shows it, as a page or as JSON.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    /// One sentence for people.
    pub(crate) detail: String,
    /// Whether a change was made: `None` if none was asked for, or it was refused.
    pub(crate) applied: Option<Applied>,
    /// The job that holds the unique lock, if that is why.
    pub(crate) holder: Option<Jid>,
}

/// A problem as RFC 9457 writes it.
#[derive(Debug, Serialize)]
pub(crate) struct Problem<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    /// `no`: nothing changed; `unknown`: the storage did not answer.
    applied: &'static str,
    /// The job that holds the unique lock, if that is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<&'a str>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            applied: None,
            holder: None,
        }
    }

    /// Another job holds the unique lock.
    pub(crate) fn held(detail: impl Into<String>, holder: Option<Jid>) -> Self {
        Self {
            holder,
            ..Self::new(StatusCode::CONFLICT, detail)
        }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// What axum refused by itself, before a handler got it; `None` if it refused nothing.
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        let detail = match status {
            StatusCode::BAD_REQUEST => "A name in the address is no UTF-8.",
            StatusCode::METHOD_NOT_ALLOWED => "This address takes another method.",
            StatusCode::PAYLOAD_TOO_LARGE => "The request is longer than 2 MiB.",
            other if other.is_client_error() || other.is_server_error() => {
                "The request was not answered."
            }
            _ => return None,
        };
        Some(Self::new(status, detail))
    }

    pub(crate) fn title(&self) -> &str {
        match self.status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::UNAUTHORIZED => "Who are you?",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::TOO_MANY_REQUESTS => "Too many wrong passwords",
            StatusCode::SERVICE_UNAVAILABLE => "The storage does not answer",
            other => other.canonical_reason().unwrap_or("Not possible"),
        }
    }

    pub(crate) fn problem(&self) -> Problem<'_> {
        Problem {
            r#type: "about:blank",
            title: self.title(),
            status: self.status.as_u16(),
            detail: &self.detail,
            applied: match self.applied {
                Some(Applied::Unknown) => "unknown",
                Some(Applied::NotApplied) | None => "no",
            },
            holder: self.holder.as_ref().map(Jid::as_str),
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let status = match error.kind() {
            StorageErrorKind::Conflict => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self {
            applied: Some(error.applied()),
            ..Self::new(status, error.to_string())
        }
    }
}

/// Some of the jobs may be changed.
impl From<SelectionError> for Failure {
    fn from(error: SelectionError) -> Self {
        Self {
            detail: error.to_string(),
            ..Self::from(error.source)
        }
    }
}

impl From<InvalidName> for Failure {
    fn from(error: InvalidName) -> Self {
        Self::bad(error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
