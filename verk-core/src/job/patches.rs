//! The differences from the payload that a job was read from.

use std::{borrow::Cow, ops::Range};

/// The keys that differ, each once, and their values; for a new job, all its keys.
#[derive(Clone, Default)]
pub(super) struct Patches {
    /// In the order in which verk appends keys.
    patches: Vec<Patch>,
    /// The text of the values, also of some that are replaced. It only grows.
    text: String,
}

#[derive(Clone)]
struct Patch {
    key: Cow<'static, str>,
    /// See [`place`].
    place: usize,
    /// Where its JSON is; `None` if the key is removed.
    value: Option<Range<usize>>,
}

impl Patches {
    /// Empty, with room for the keys of a usual job.
    pub(super) fn of_new_job() -> Self {
        Self {
            patches: Vec::with_capacity(8),
            text: String::with_capacity(256),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patches.is_empty()
    }

    /// The JSON of `key`, unless it is removed; for an unchanged key, the result of `unchanged`.
    pub(super) fn get_or<'a>(
        &'a self,
        key: &str,
        unchanged: impl FnOnce() -> Option<&'a str>,
    ) -> Option<&'a str> {
        if self.is_empty() {
            return unchanged();
        }
        match self.find(key, place(key)) {
            Ok(index) => self.value(&self.patches[index]),
            Err(_) => unchanged(),
        }
    }

    /// Each key with its JSON, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PatchKey<'_>, Option<&str>)> {
        self.patches.iter().map(|patch| {
            let key = PatchKey {
                name: &patch.key,
                in_object: KEY_ORDER.get(patch.place).map(|key| key.in_object),
            };
            (key, self.value(patch))
        })
    }

    /// A part of what was written.
    pub(super) fn text(&self, range: &Range<usize>) -> &str {
        &self.text[range.clone()]
    }

    /// Writes a value, for a key to be [put](Self::put).
    pub(super) fn write(&mut self, write: impl FnOnce(&mut String)) -> Range<usize> {
        let start = self.text.len();
        write(&mut self.text);
        start..self.text.len()
    }

    /// Gives `key` a value that was written, or removes the key.
    pub(super) fn put(&mut self, key: impl Into<Cow<'static, str>>, value: Option<Range<usize>>) {
        let key = key.into();
        let place = place(&key);
        match self.find(&key, place) {
            Ok(index) => self.patches[index].value = value,
            Err(index) => self.patches.insert(index, Patch { key, place, value }),
        }
    }

    /// Resets `key` to its value in the payload.
    pub(super) fn forget(&mut self, key: &str) {
        self.patches.retain(|patch| patch.key != key);
    }

    /// The index of `key`, whose place is `place`, or the index where it belongs.
    fn find(&self, key: &str, place: usize) -> Result<usize, usize> {
        let index = match self.patches.last() {
            Some(last) if last.place >= place => {
                self.patches.partition_point(|patch| patch.place < place)
            }
            // The keys of a new job are added in order.
            _ => self.patches.len(),
        };
        let rest = &self.patches[index..];
        if place < KEY_ORDER.len() {
            let is_there = rest.first().is_some_and(|patch| patch.place == place);
            return if is_there { Ok(index) } else { Err(index) };
        }
        match rest.iter().position(|patch| patch.key == key) {
            Some(further) => Ok(index + further),
            None => Err(self.patches.len()),
        }
    }

    fn value(&self, patch: &Patch) -> Option<&str> {
        patch.value.as_ref().map(|range| self.text(range))
    }
}

#[derive(Clone, Copy)]
pub(super) struct PatchKey<'a> {
    pub(super) name: &'a str,
    /// The key with the comma before it, its quotes and the colon, if that is known; else it may
    /// need escapes.
    pub(super) in_object: Option<&'static str>,
}

/// The name of a key that verk itself writes.
pub(super) fn reserved(key: &str) -> Option<&'static str> {
    KEY_ORDER.get(place(key)).map(|ours| ours.name)
}

/// The place of a key in [`KEY_ORDER`]; its end for a key that verk itself does not write.
fn place(key: &str) -> usize {
    let place = KEY_ORDER.iter().position(|ours| ours.name == key);
    place.unwrap_or(KEY_ORDER.len())
}

/// Keys by their names, each with its text in an object.
macro_rules! keys {
    ($($name:literal),+ $(,)?) => {
        &[$(Key { name: $name, in_object: concat!(",\"", $name, "\":") }),+]
    };
}

/// A key that verk writes by itself.
struct Key {
    name: &'static str,
    /// The key with the comma before it, its quotes and the colon.
    in_object: &'static str,
}

/// The order of the keys that verk appends: Sidekiq's.
const KEY_ORDER: &[Key] = keys![
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
    "verk",
];
