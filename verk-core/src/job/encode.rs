//! Writing a job: the original bytes with the patches laid over them.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::{
    Dialect, InvalidJob, Job,
    decode::{MAX_DEPTH, depth_over},
    value::quoted,
};

/// A key whose value is not that of the original payload.
#[derive(Clone)]
pub(super) struct Patch {
    pub(super) key: Cow<'static, str>,
    /// The JSON text; `None` when the key is taken out.
    pub(super) value: Option<String>,
}

impl Patch {
    pub(super) fn new(key: &'static str, json: String) -> Self {
        Self {
            key: key.into(),
            value: Some(json),
        }
    }
}

impl Job {
    /// The payload to store.
    ///
    /// A job that nobody changed gives the bytes that it was read from, without a copy. Otherwise the
    /// keys stay in their order, every value that was not changed stays as it is to the byte, and new keys
    /// come last. A key that was there several times is there once if it was changed; otherwise all of
    /// them stay.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        if self.patches.is_empty() {
            return self.original_json.clone();
        }
        let patched: usize = self
            .patches
            .iter()
            .map(|patch| patch.key.len() + patch.value.as_ref().map_or(0, String::len) + 4)
            .sum();
        let mut json = Object(String::with_capacity(
            self.original_json.len() + patched + 2,
        ));
        // Each patch takes the place of the entry that readers go by: the last one with its key.
        let places: Vec<Option<usize>> = self
            .patches
            .iter()
            .map(|patch| {
                self.entries
                    .iter()
                    .rposition(|entry| self.is_key(entry, &patch.key))
            })
            .collect();
        for (index, entry) in self.entries.iter().enumerate() {
            let key = self.slice(&entry.key);
            match self
                .patches
                .iter()
                .position(|patch| self.is_key(entry, &patch.key))
            {
                None => json.push(key, self.slice(&entry.value)),
                Some(patch) if places[patch] == Some(index) => {
                    if let Some(value) = &self.patches[patch].value {
                        json.push(key, value);
                    }
                }
                Some(_) => {}
            }
        }
        let mut appended: Vec<&Patch> = self
            .patches
            .iter()
            .zip(places)
            .filter_map(|(patch, place)| place.is_none().then_some(patch))
            .collect();
        let place = |patch: &&Patch| KEY_ORDER.iter().position(|key| *key == patch.key);
        appended.sort_by_key(|patch| place(patch).unwrap_or(KEY_ORDER.len()));
        for patch in appended {
            if let Some(value) = &patch.value {
                json.push(&quoted(&patch.key), value);
            }
        }
        json.finish()
    }

    /// Gives the job a key of one's own, which it keeps for its whole life, whoever moves it. [`get`](Self::get) reads it.
    ///
    /// ```
    /// use verk_core::Job;
    ///
    /// let mut job = Job::new("Welcome", "mailers".parse()?, "[]".to_owned())?;
    /// job.set("tenant", "acme")?;
    /// assert_eq!(job.get("tenant"), Some(r#""acme""#));
    /// assert!(job.set("jid", "another").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidJob`] when the key is one that verk writes itself, or the value has no JSON form or is nested too deep. The job is as it was.
    pub fn set(&mut self, key: &str, value: &(impl Serialize + ?Sized)) -> Result<(), InvalidJob> {
        if let Some(key) = KEY_ORDER.iter().find(|reserved| **reserved == key) {
            return Err(InvalidJob::ReservedKey { key });
        }
        let json = serde_json::to_string(value).map_err(|_| InvalidJob::ValueNotJson)?;
        // One level is the payload around it.
        if depth_over(&json, MAX_DEPTH - 1) {
            return Err(InvalidJob::ValueTooDeep);
        }
        self.put(Patch {
            key: key.to_owned().into(),
            value: Some(json),
        });
        Ok(())
    }

    /// Gives `key` the value `json`, unless it has just that.
    pub(super) fn patch(&mut self, key: &'static str, json: String) {
        if self.get(key) != Some(json.as_str()) {
            self.put(Patch::new(key, json));
        }
    }

    /// Takes `key` out; in a job of Elixir's Verk, which always has all its keys, sets it to null.
    pub(super) fn remove(&mut self, key: &'static str) {
        if self.get(key).is_none() {
            return;
        }
        match self.dialect {
            Dialect::Sidekiq => self.put(Patch {
                key: key.into(),
                value: None,
            }),
            Dialect::Verk => self.patch(key, "null".to_owned()),
        }
    }

    fn put(&mut self, patch: Patch) {
        match self.patches.iter_mut().find(|old| old.key == patch.key) {
            Some(old) => *old = patch,
            None => self.patches.push(patch),
        }
    }
}

/// A JSON object in the making.
struct Object(String);

impl Object {
    fn push(&mut self, key: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(key);
        self.0.push(':');
        self.0.push_str(value);
    }

    fn finish(mut self) -> Bytes {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        Bytes::from(self.0)
    }
}

/// The order of the keys that verk appends: Sidekiq's.
const KEY_ORDER: &[&str] = &[
    "retry",
    "max_retry_count",
    "retry_for",
    "queue",
    "retry_queue",
    "dead",
    "tags",
    "args",
    "class",
    "jid",
    "created_at",
    "enqueued_at",
    "error_message",
    "error_class",
    "failed_at",
    "retry_count",
    "error_backtrace",
    "retried_at",
    "finished_at",
    "traceparent",
    "tracestate",
];
