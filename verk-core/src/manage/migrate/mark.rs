//! What a migration notes in both storages, so that the next run knows what this one did: [`Mark`].
//!
//! A note of a pause is the only text that a storage keeps under a name until it is removed, and of
//! which the first one stays. So a migration pauses two queues that no job has: in the source
//! `verk-migration`, with the id of the migration, and in the target `verk-migration-ID`.

use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    error::StorageError,
    job::first_chars,
    names::QueueName,
    storage::{Storage, StoredPause},
    time::clock::{from_unix_seconds, unix_seconds},
};

pub(super) const OP: &str = "migrate the jobs";

/// The queue whose pause in the source says that a migration did not end.
const OUT: &str = "verk-migration";

/// The longest note that is read, in bytes.
const MAX_NOTE: usize = 16 * 1024;

/// A migration, as a note of a pause has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Its id: hex digits. The target keeps the jobs that it gets under this id.
    pub(super) id: String,
    /// The address of the target, for people.
    pub(super) to: String,
}

/// A note as [`PauseNote`](crate::manage::PauseNote) writes it, and the migration.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    since: f64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    by: Option<String>,
    reason: String,
    migration: Mark,
    /// Of a periodic job: when it was to run next.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    next: Option<f64>,
}

impl Mark {
    /// The note of a pause that this migration makes; with the next run, of a periodic job.
    pub(super) fn note(
        &self,
        now: SystemTime,
        by: Option<&str>,
        next: Option<SystemTime>,
    ) -> Bytes {
        let note = Note {
            since: unix_seconds(now),
            by: by.map(|by| first_chars(by, 200).to_owned()),
            reason: format!("its jobs move to {}", self.to),
            migration: self.clone(),
            next: next.map(unix_seconds),
        };
        // Every field has a JSON form.
        serde_json::to_vec(&note).unwrap_or_default().into()
    }

    /// The migration that made a pause, and since when; `None` if another program or a person made
    /// it.
    pub(super) fn of(note: Option<&Bytes>) -> Option<(Self, SystemTime)> {
        let note = read(note)?;
        Some((note.migration, from_unix_seconds(note.since)))
    }
}

fn read(note: Option<&Bytes>) -> Option<Note> {
    let note = note.filter(|note| note.len() <= MAX_NOTE)?;
    serde_json::from_slice(note).ok()
}

/// When a periodic job was to run next that a migration paused.
#[cfg(feature = "cron")]
pub(super) fn next_run(note: Option<&Bytes>) -> Option<SystemTime> {
    read(note)?.next.map(from_unix_seconds)
}

/// The queue whose pause marks the source.
pub(super) fn out() -> Result<QueueName, StorageError> {
    named(OUT)
}

/// The queue whose pause marks the target of a migration.
pub(super) fn into(id: &str) -> Result<QueueName, StorageError> {
    named(&format!("{OUT}-{id}"))
}

fn named(name: &str) -> Result<QueueName, StorageError> {
    QueueName::new(name).map_err(|error| StorageError::not_applied(OP, error))
}

/// The migration out of a storage that did not end, if there is one, and when it began.
pub(super) fn unfinished(pauses: &[StoredPause]) -> Option<(Mark, SystemTime)> {
    let marked = pauses.iter().find(|pause| pause.queue.as_str() == OUT)?;
    Mark::of(marked.note.as_ref())
}

/// Whether a pause marks a storage, and not a queue.
pub(super) fn is_mark(queue: &QueueName) -> bool {
    let rest = queue.as_str().strip_prefix(OUT);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Whether a storage has the pause of this queue.
pub(super) async fn has(storage: &dyn Storage, queue: &QueueName) -> Result<bool, StorageError> {
    let pauses = storage.pauses().await?;
    Ok(pauses.iter().any(|pause| pause.queue == *queue))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let mark = Mark {
            id: "0a".to_owned(),
            to: "cache:6379".to_owned(),
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_732_387_200);
        let note = mark.note(now, Some("ada"), None);
        assert_eq!(
            note,
            r#"{"since":1732387200.0,"by":"ada","reason":"its jobs move to cache:6379","migration":{"id":"0a","to":"cache:6379"}}"#
        );
        assert_eq!(Mark::of(Some(&note)), Some((mark, now)));
    }

    #[test]
    fn a_pause_of_a_person_is_no_mark() {
        for note in ["", "{}", r#"{"since":1.0,"by":"ada","reason":"it fails"}"#] {
            assert_eq!(Mark::of(Some(&Bytes::from(note))), None);
        }
        assert_eq!(Mark::of(None), None);
    }

    #[test]
    fn only_the_names_of_marks_are_marks() {
        for (name, is) in [
            ("verk-migration", true),
            ("verk-migration-0a", true),
            ("verk-migrations", false),
            ("default", false),
        ] {
            assert_eq!(is_mark(&name.parse().unwrap()), is, "{name}");
        }
    }
}
