//! Queues that are paused for all nodes: [`Pause`].

use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Admin;
use crate::{
    config::file::did_you_mean,
    error::StorageError,
    job::first_chars,
    log,
    names::QueueName,
    storage::StoredPause,
    time::clock::{from_unix_seconds, unix_seconds},
};

/// # Pauses
impl Admin {
    /// Pauses a queue on all nodes: none starts a job of it any more, running jobs continue, and
    /// idle nodes learn of it at once. Returns whether that changes anything: `false` if it was
    /// paused everywhere before.
    ///
    /// The pause is stored (in Sidekiq Pro's `paused` set, which Sidekiq Pro obeys too). So it
    /// survives every restart, and holds for nodes that start later. It ends with
    /// [`resume_queue_everywhere`](Self::resume_queue_everywhere). It is independent of
    /// [`Verk::pause_queue`](crate::Verk::pause_queue): a node runs a queue if neither pauses it.
    /// Each node publishes its own [`QueuePausing`](crate::EventKind::QueuePausing) and
    /// [`QueuePaused`](crate::EventKind::QueuePaused). Any program can call it for any queue, also
    /// a program that only enqueues. A queue that never had a job, and that no node of verk runs,
    /// is paused too. A warning in the log says so, and names a similar queue.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// let admin = verk.admin();
    /// assert!(admin.pause_queue_everywhere("mailers").await?);
    /// assert!(!admin.pause_queue_everywhere("mailers").await?, "it is paused already");
    /// assert_eq!(admin.paused_queues().await?[0].as_str(), "mailers");
    /// assert!(admin.resume_queue_everywhere("mailers").await?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the name is not valid, or the storage fails. After a lost reply the queue may be
    /// paused; you can safely call this again.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the queue is paused or not.
    pub async fn pause_queue_everywhere(&self, name: &str) -> Result<bool, StorageError> {
        self.pause_queue(name, PauseNote::new()).await
    }

    /// Pauses a queue on all nodes, as [`pause_queue_everywhere`](Self::pause_queue_everywhere)
    /// does, and stores who paused it, and why. [`pauses`](Self::pauses) shows that until the queue
    /// is resumed.
    ///
    /// Returns whether that changes anything: `false` if the queue was paused everywhere before.
    /// That pause keeps its own note.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::Verk;
    /// # use verk_testing::MemoryStorage;
    /// use verk_core::manage::PauseNote;
    ///
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// let admin = verk.admin();
    /// let note = PauseNote::new().by("ada").reason("the mail server is down");
    /// assert!(admin.pause_queue("mailers", note).await?);
    /// let pauses = admin.pauses().await?;
    /// assert_eq!(pauses[0].by.as_deref(), Some("ada"));
    /// assert_eq!(pauses[0].reason.as_deref(), Some("the mail server is down"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the name is not valid, or the storage fails. After a lost reply the queue may be
    /// paused; you can safely call this again.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the queue is paused or not.
    pub async fn pause_queue(&self, name: &str, note: PauseNote) -> Result<bool, StorageError> {
        let name = parse("pause a queue", name)?;
        let note = note.encode(self.now());
        let changed = self.storage().pause(&name, &note).await?;
        if changed {
            self.warn_of_an_unknown_queue(&name).await;
        }
        Ok(changed)
    }

    /// Ends the [pause of a queue on all nodes](Self::pause_queue_everywhere), which learn of it at
    /// once. Returns whether that changes anything: `false` if it was not paused everywhere. A node
    /// that [paused](crate::Verk::pause_queue) the queue for itself does not run it yet.
    ///
    /// # Errors
    ///
    /// When the name is not valid, or the storage fails. After a lost reply the queue may be
    /// resumed; you can safely call this again.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the queue is resumed or not.
    pub async fn resume_queue_everywhere(&self, name: &str) -> Result<bool, StorageError> {
        let name = parse("resume a queue", name)?;
        self.storage().resume(&name).await
    }

    /// Warns of a pause that is most likely a typing error. The pause is already stored, so an
    /// error of this check is ignored.
    async fn warn_of_an_unknown_queue(&self, name: &QueueName) {
        let (queues, nodes) = (self.storage().queues().await, self.storage().nodes().await);
        let (Ok(mut known), Ok(nodes)) = (queues, nodes) else {
            return;
        };
        known.extend(nodes.into_iter().flat_map(|node| node.queues));
        known.extend(self.queues_of_node());
        if known.contains(name) {
            return;
        }
        let meant = did_you_mean(name.as_str(), known.iter().map(QueueName::as_str));
        log::warn!(queue = %name, "paused a queue that nobody knows: it never had a job, and no node runs it{meant}");
    }

    /// Reads the queues that are [paused on all nodes](Self::pause_queue_everywhere), by name, of
    /// all programs.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn paused_queues(&self) -> Result<Vec<QueueName>, StorageError> {
        self.storage().paused_queues().await
    }

    /// Reads the pauses of queues [on all nodes](Self::pause_queue_everywhere), by name of the
    /// queue, of all programs: since when, by whom, and why.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn pauses(&self) -> Result<Vec<Pause>, StorageError> {
        let pauses = self.storage().pauses().await?;
        Ok(pauses.into_iter().map(Pause::of).collect())
    }
}

/// The pause of a queue on all nodes: see [`Admin::pauses`].
///
/// A queue that another program paused, such as Sidekiq Pro, has only its name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pause {
    /// The queue.
    pub queue: QueueName,
    /// When it was paused, by the time of the storage. `None` if another program paused it.
    pub since: Option<SystemTime>,
    /// Who paused it; `None` if the note of the pause does not say.
    pub by: Option<String>,
    /// Why it is paused; `None` if the note of the pause does not say.
    pub reason: Option<String>,
}

/// Who pauses a queue, and why: see [`Admin::pause_queue`]. The default says neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PauseNote {
    by: Option<String>,
    reason: Option<String>,
}

impl PauseNote {
    /// Makes a note that says nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says who pauses the queue: any text, such as the name of a person or a program. Only the
    /// first 200 characters are stored.
    #[must_use]
    pub fn by(mut self, who: impl Into<String>) -> Self {
        self.by = Some(who.into());
        self
    }

    /// Says why the queue is paused: any text. Only the first 1000 characters are stored.
    #[must_use]
    pub fn reason(mut self, why: impl Into<String>) -> Self {
        self.reason = Some(why.into());
        self
    }

    pub(super) fn encode(&self, now: SystemTime) -> Bytes {
        let stored = StoredNote {
            since: unix_seconds(now),
            by: self.by.as_deref().map(|text| first_chars(text, MAX_BY)),
            reason: self
                .reason
                .as_deref()
                .map(|text| first_chars(text, MAX_REASON)),
        };
        // Texts and a finite number always have a JSON form.
        serde_json::to_vec(&stored).unwrap_or_default().into()
    }
}

/// The most characters of who paused a queue.
const MAX_BY: usize = 200;

/// The most characters of why a queue is paused.
const MAX_REASON: usize = 1000;

/// The longest note that is read, in bytes: the longest that is written, with each character as an
/// escape.
const MAX_NOTE: usize = 16 * 1024;

/// A note in the storage.
#[derive(Serialize)]
struct StoredNote<'a> {
    /// Seconds since 1970.
    since: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl Pause {
    /// A note of another form says nothing.
    pub(super) fn of(stored: StoredPause) -> Self {
        let NoteRead { since, by, reason } = NoteRead::of(stored.note);
        Self {
            queue: stored.queue,
            since,
            by,
            reason,
        }
    }
}

/// What a note of a pause says. One of another form says nothing.
pub(super) struct NoteRead {
    pub(super) since: Option<SystemTime>,
    pub(super) by: Option<String>,
    pub(super) reason: Option<String>,
}

impl NoteRead {
    pub(super) fn of(note: Option<Bytes>) -> Self {
        let note = note.filter(|note| note.len() <= MAX_NOTE);
        let note = note.and_then(|note| serde_json::from_slice::<Map<String, Value>>(&note).ok());
        let note = note.unwrap_or_default();
        let text = |key, most| Some(first_chars(note.get(key)?.as_str()?, most).to_owned());
        Self {
            since: note
                .get("since")
                .and_then(Value::as_f64)
                .map(from_unix_seconds),
            by: text("by", MAX_BY),
            reason: text("reason", MAX_REASON),
        }
    }
}

fn parse(op: &'static str, name: &str) -> Result<QueueName, StorageError> {
    QueueName::new(name).map_err(|error| StorageError::not_applied(op, error))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn read(note: Option<Bytes>) -> Pause {
        Pause::of(StoredPause {
            queue: "mailers".parse().unwrap(),
            note,
        })
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let now = UNIX_EPOCH + Duration::from_millis(1_732_387_200_250);
        let note = PauseNote::new().by("ada").reason("it\n\"fails\"");
        let encoded = note.encode(now);
        let expected = r#"{"since":1732387200.25,"by":"ada","reason":"it\n\"fails\""}"#;
        assert_eq!(encoded, expected);
        let pause = read(Some(encoded));
        assert_eq!(pause.since, Some(now));
        assert_eq!(
            (pause.by.as_deref(), pause.reason),
            (Some("ada"), note.reason)
        );
        let bare = PauseNote::new().encode(now);
        assert_eq!(bare, r#"{"since":1732387200.25}"#);
    }

    #[test]
    fn a_long_note_is_cut() {
        let note = PauseNote::new()
            .by("ü\0".repeat(300))
            .reason("\u{1}".repeat(9_000));
        let encoded = note.encode(UNIX_EPOCH);
        assert!(encoded.len() <= MAX_NOTE, "{}", encoded.len());
        let pause = read(Some(encoded));
        assert_eq!(pause.by.unwrap().chars().count(), MAX_BY);
        assert_eq!(pause.reason.unwrap().len(), MAX_REASON);
    }

    #[test]
    fn a_note_of_any_form_is_read() {
        let none = read(None);
        assert_eq!((none.since, &none.by, &none.reason), (None, &None, &None));
        let large = format!(r#"{{"by":"{}"}}"#, "x".repeat(MAX_NOTE));
        for note in [
            "",
            "[]",
            "broken",
            r#"{"since":"x","by":1,"reason":{}}"#,
            &large,
        ] {
            assert_eq!(read(Some(Bytes::from(note.to_owned()))), none);
        }
    }
}
