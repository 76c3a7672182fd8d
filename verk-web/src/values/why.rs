//! Why a job does not run.

use serde::Serialize;
use verk_core::manage::Why;

/// Where a job is, and why it does not run.
#[derive(Debug, Serialize)]
pub struct WhyValue {
    /// `known`, or `searching`: then ask again with `next` as `at`.
    state: &'static str,
    class: Option<String>,
    place: Option<String>,
    reasons: Vec<String>,
    examined: Option<u64>,
    of: Option<u64>,
    next: Option<String>,
}

impl WhyValue {
    /// The answer, or how far the search is.
    #[must_use]
    pub fn new(why: &Why) -> Self {
        match why {
            Why::Known(known) => Self {
                state: "known",
                class: known.class.clone(),
                place: Some(known.place.to_string()),
                reasons: known.reasons.iter().map(ToString::to_string).collect(),
                examined: None,
                of: None,
                next: None,
            },
            Why::Searching {
                looked_at,
                of,
                next,
            } => Self {
                state: "searching",
                class: None,
                place: None,
                reasons: Vec::new(),
                examined: Some(*looked_at),
                of: Some(*of),
                next: next.place.as_ref().map(ToString::to_string),
            },
        }
    }
}
