//! Why a request is not answered: [`Failure`].

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use verk_core::{
    StorageError,
    error::{Applied, SelectionError},
    names::InvalidName,
};

/// An answer that is none of the pages. The guard shows it, as a page or as JSON.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    /// One sentence for people.
    pub(crate) detail: String,
    /// Whether a change was made: `None` if none was asked for, or it was refused.
    pub(crate) applied: Option<Applied>,
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
}

impl Failure {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            applied: None,
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
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            detail: error.to_string(),
            applied: Some(error.applied()),
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
