//! Writing a job: the original bytes with the patches laid over them.

use bytes::Bytes;

use super::{Dialect, Job};

/// A key whose value is not that of the original payload.
#[derive(Clone)]
pub(super) struct Patch {
    pub(super) key: &'static str,
    /// The JSON text; `None` when the key is taken out.
    pub(super) value: Option<String>,
}

impl Patch {
    pub(super) fn new(key: &'static str, json: String) -> Self {
        Self {
            key,
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
                    .rposition(|entry| self.is_key(entry, patch.key))
            })
            .collect();
        for (index, entry) in self.entries.iter().enumerate() {
            let key = self.slice(&entry.key);
            match self
                .patches
                .iter()
                .position(|patch| self.is_key(entry, patch.key))
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
        appended.sort_by_key(|patch| KEY_ORDER.iter().position(|key| *key == patch.key));
        for patch in appended {
            if let Some(value) = &patch.value {
                json.push(&format!("\"{}\"", patch.key), value);
            }
        }
        json.finish()
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
            Dialect::Sidekiq => self.put(Patch { key, value: None }),
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
    "queue",
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
    "traceparent",
    "tracestate",
];
