//! What operators did: [`AuditEntry`].

use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Admin;
use crate::{
    error::StorageError,
    events::EventKind,
    job::first_chars,
    log,
    storage::{MAX_BATCH_JOBS, Page},
    time::clock::{from_unix_seconds, unix_seconds},
};

/// The longest name of an operator and of an action, in characters.
const MAX_NAME: usize = 256;

/// The longest target and filter, in characters.
const MAX_TEXT: usize = 1_024;

/// # Audit
impl Admin {
    /// Records what an operator did, for everyone who [reads the list](Self::audit) later. Call it
    /// after the action. Methods of `Admin` do not call it: only the program knows who uses it.
    ///
    /// It writes a line of the log at level info, and publishes an
    /// [`OperatorActed`](crate::EventKind::OperatorActed) if this `Admin` comes from a
    /// [`Verk`](crate::Verk). It does both also if the storage fails. The log and the event have no
    /// filter, because a filter may have a part of a job's arguments.
    ///
    /// The storage keeps the newest 10 000 entries. Long texts are cut: names and actions to 256
    /// characters, targets and filters to 1 024.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// use verk_core::{manage::AuditEntry, storage::Page};
    ///
    /// let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// let admin = verk.admin();
    /// let deleted = admin.dead_set().select().class("Welcome").delete().await?;
    /// let entry = AuditEntry::new("delete")
    ///     .by("ada")
    ///     .on("the dead set")
    ///     .filter("class=Welcome")
    ///     .count(deleted as u64);
    /// admin.record_action(entry).await?;
    ///
    /// let newest = admin.audit(Page { offset: 0, limit: 10 }).await?;
    /// assert_eq!(newest[0].who.as_deref(), Some("ada"));
    /// assert_eq!(newest[0].count, Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails: the list may not have the entry. The action itself is done.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the list has the entry, or not.
    pub async fn record_action(&self, entry: AuditEntry) -> Result<(), StorageError> {
        let now = self.now();
        let stored = self.storage().record_action(&entry.encode(now)).await;
        let AuditEntry {
            who,
            action,
            target,
            count,
            ..
        } = entry;
        log::info!(who, action, target, count, "an operator acted");
        if let Some(node) = self.node() {
            node.first().services.publish(EventKind::OperatorActed {
                who,
                action,
                target,
                count,
            });
        }
        stored
    }

    /// Reads what operators did, the newest first, at most 100 entries. Entries that are recorded
    /// between two pages shift them. Entries that cannot be read are left out.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn audit(&self, page: Page) -> Result<Vec<AuditEntry>, StorageError> {
        let page = Page {
            limit: page.limit.min(MAX_BATCH_JOBS),
            ..page
        };
        let entries = self.storage().actions(page).await?;
        let entries = entries.iter();
        Ok(entries.filter_map(AuditEntry::decode).collect())
    }
}

/// What an operator did: see [`Admin::record_action`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AuditEntry {
    /// When it was recorded, by the clock of the storage. Recording sets it.
    pub at: SystemTime,
    /// Who did it; `None` if that is not known.
    pub who: Option<String>,
    /// What was done: such as `delete` or `pause`.
    pub action: String,
    /// What it was done to: such as a queue, a set or a job.
    pub target: Option<String>,
    /// Which of the jobs there: the filter that the operator chose.
    pub filter: Option<String>,
    /// How many jobs or other things it changed.
    pub count: Option<u64>,
}

impl AuditEntry {
    /// Makes an entry for an action.
    #[must_use]
    pub fn new(action: impl Into<String>) -> Self {
        Self {
            at: SystemTime::UNIX_EPOCH,
            who: None,
            action: first_chars(&action.into(), MAX_NAME).to_owned(),
            target: None,
            filter: None,
            count: None,
        }
    }

    /// Sets who did it.
    #[must_use]
    pub fn by(mut self, who: impl Into<String>) -> Self {
        self.who = Some(first_chars(&who.into(), MAX_NAME).to_owned());
        self
    }

    /// Sets what it was done to.
    #[must_use]
    pub fn on(mut self, target: impl Into<String>) -> Self {
        self.target = Some(first_chars(&target.into(), MAX_TEXT).to_owned());
        self
    }

    /// Sets which of the jobs there were meant.
    #[must_use]
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        self.filter = Some(first_chars(&filter.into(), MAX_TEXT).to_owned());
        self
    }

    /// Sets how many it changed.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    fn encode(&self, at: SystemTime) -> Bytes {
        let Self {
            at: _,
            who,
            action,
            target,
            filter,
            count,
        } = self;
        let stored = Stored {
            at: unix_seconds(at),
            who,
            action,
            target,
            filter,
            count,
        };
        // Texts and numbers always have a JSON form.
        serde_json::to_vec(&stored).unwrap_or_default().into()
    }

    /// Reads an entry that any program may have written.
    fn decode(entry: &Bytes) -> Option<Self> {
        let entry: Map<String, Value> = serde_json::from_slice(entry).ok()?;
        let text =
            |name, longest| Some(first_chars(entry.get(name)?.as_str()?, longest).to_owned());
        Some(Self {
            at: from_unix_seconds(entry.get("at").and_then(Value::as_f64).unwrap_or(0.0)),
            who: text("who", MAX_NAME),
            action: text("action", MAX_NAME)?,
            target: text("target", MAX_TEXT),
            filter: text("filter", MAX_TEXT),
            count: entry.get("count").and_then(Value::as_u64),
        })
    }
}

/// The form of an entry in the storage.
#[derive(Serialize)]
struct Stored<'a> {
    at: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: &'a Option<String>,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: &'a Option<u64>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_recorded() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_464_480_500);
        let mut entry = AuditEntry::new("delete")
            .by("Ada \"root\"")
            .on("queue a:b")
            .filter("class=A, text=\u{202e}<b>")
            .count(u64::MAX);
        let stored = entry.encode(at);
        entry.at = at;
        assert_eq!(AuditEntry::decode(&stored), Some(entry));

        let short = AuditEntry::new("pause").encode(at);
        assert_eq!(short, r#"{"at":1795464480.5,"action":"pause"}"#);
        let read = AuditEntry::decode(&short).unwrap();
        assert_eq!((read.who, read.target, read.count), (None, None, None));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "\u{e9}".repeat(9_999);
        let entry = AuditEntry::new(&long[..])
            .by(&long[..])
            .on(&long[..])
            .filter(&long[..]);
        let of = |text: &Option<String>| text.as_ref().unwrap().chars().count();
        assert_eq!((entry.action.chars().count(), of(&entry.who)), (256, 256));
        assert_eq!((of(&entry.target), of(&entry.filter)), (1_024, 1_024));
        let stored = format!(r#"{{"action":"a","target":"{long}"}}"#);
        let read = AuditEntry::decode(&stored.into()).unwrap();
        assert_eq!(of(&read.target), 1_024);
    }

    #[test]
    fn what_is_no_entry_is_left_out_and_what_is_no_field_is_none() {
        for no_entry in [
            "",
            "[]",
            "1",
            "{}",
            r#"{"action":1}"#,
            "\u{0}",
            r#"{"who":"ada"}"#,
        ] {
            assert_eq!(AuditEntry::decode(&no_entry.into()), None, "{no_entry}");
        }
        assert_eq!(AuditEntry::decode(&Bytes::from_static(b"\xff")), None);
        let odd =
            r#"{"action":"a","at":"now","who":7,"target":[],"filter":{},"count":-1,"more":1}"#;
        let read = AuditEntry::decode(&odd.into()).unwrap();
        assert_eq!(read, AuditEntry::new("a"));
    }
}
