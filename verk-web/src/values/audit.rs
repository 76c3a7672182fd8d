//! What operators did.

use serde::Serialize;
use verk_core::manage::AuditEntry;

use super::time;

/// What an operator did.
#[derive(Debug, Serialize)]
pub struct AuditValue<'a> {
    at: String,
    who: Option<&'a str>,
    action: &'a str,
    target: Option<&'a str>,
    filter: Option<&'a str>,
    /// How many jobs or other things it changed.
    count: Option<u64>,
}

impl<'a> AuditValue<'a> {
    /// The entry of the list.
    #[must_use]
    pub fn new(entry: &'a AuditEntry) -> Self {
        Self {
            at: time(entry.at),
            who: entry.who.as_deref(),
            action: &entry.action,
            target: entry.target.as_deref(),
            filter: entry.filter.as_deref(),
            count: entry.count,
        }
    }
}
