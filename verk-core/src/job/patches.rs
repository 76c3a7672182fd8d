//! The differences from the payload that a job was read from.

use std::{borrow::Cow, ops::Range};

use super::value::quoted;

/// The keys that differ, each once, and their values; for a new job, all its keys.
#[derive(Clone, Default)]
pub(super) struct Patches {
    /// In the order in which verk appends keys.
    patches: Vec<Patch>,
    /// The text of the values, also of some that are replaced. It only grows. Before the value of
    /// one of verk's own keys is what precedes it in an object.
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
    // Inlined, as `put`, so that the place of a literal is a constant.
    #[inline(always)]
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

    /// Writes a value for `key`, which is then to be [put](Self::put).
    #[inline(always)]
    pub(super) fn write(&mut self, key: &str, write: impl FnOnce(&mut String)) -> Range<usize> {
        if let Some(ours) = KEY_ORDER.get(place(key)) {
            self.text.push_str(ours.in_object);
        }
        let start = self.text.len();
        write(&mut self.text);
        start..self.text.len()
    }

    /// Gives `key` the value that `write` writes. Returns where that is.
    #[inline(always)]
    pub(super) fn add(
        &mut self,
        key: &'static str,
        write: impl FnOnce(&mut String),
    ) -> Range<usize> {
        let value = self.write(key, write);
        self.put(key, Some(value.clone()));
        value
    }

    /// Appends all keys with their JSON, each with a comma before it. Neighbours that were written
    /// one after the other are copied as one.
    pub(super) fn append_to(&self, json: &mut Vec<u8>) {
        let mut neighbours = 0..0;
        for patch in &self.patches {
            let Some(value) = &patch.value else { continue };
            let Some(ours) = KEY_ORDER.get(patch.place) else {
                json.extend_from_slice(self.text(&neighbours).as_bytes());
                neighbours = 0..0;
                json.push(b',');
                json.extend_from_slice(quoted(&patch.key).as_bytes());
                json.push(b':');
                json.extend_from_slice(self.text(value).as_bytes());
                continue;
            };
            let start = value.start - ours.in_object.len();
            if start != neighbours.end {
                json.extend_from_slice(self.text(&neighbours).as_bytes());
                neighbours.start = start;
            }
            neighbours.end = value.end;
        }
        json.extend_from_slice(self.text(&neighbours).as_bytes());
    }

    /// The bytes of all keys with their JSON, and more if some were replaced. The names of keys
    /// that are not verk's do not count.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Gives `key` a value that was written, or removes the key.
    #[inline(always)]
    pub(super) fn put(&mut self, key: impl Into<Cow<'static, str>>, value: Option<Range<usize>>) {
        let key = key.into();
        let place = place(&key);
        // The keys of a new job are added in order.
        if self.patches.last().is_none_or(|last| last.place < place) {
            self.patches.push(Patch { key, place, value });
        } else {
            self.put_at(place, key, value);
        }
    }

    fn put_at(&mut self, place: usize, key: Cow<'static, str>, value: Option<Range<usize>>) {
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

/// A key that verk writes by itself.
struct Key {
    name: &'static str,
    /// The key with the comma before it, its quotes and the colon.
    in_object: &'static str,
}

/// Keys by their names, each with its text in an object, and the function that finds their places.
macro_rules! keys {
    ($($place:literal $name:literal),+ $(,)?) => {
        /// The order of the keys that verk appends: Sidekiq's.
        const KEY_ORDER: &[Key] = &[
            $(Key { name: $name, in_object: concat!(",\"", $name, "\":") }),+
        ];

        /// The place of a key in [`KEY_ORDER`]; its end for a key that verk itself does not write.
        #[inline(always)]
        fn place(key: &str) -> usize {
            match key {
                $($name => $place,)+
                _ => KEY_ORDER.len(),
            }
        }
    };
}

keys![
    0 "retry",
    1 "max_retry_count",
    2 "retry_for",
    3 "queue",
    4 "retry_queue",
    5 "dead",
    6 "tags",
    7 "args",
    8 "class",
    9 "jid",
    10 "created_at",
    11 "enqueued_at",
    12 "error_message",
    13 "error_class",
    14 "failed_at",
    15 "retry_count",
    16 "error_backtrace",
    17 "retried_at",
    18 "finished_at",
    19 "traceparent",
    20 "tracestate",
    21 "verk",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_at_its_place() {
        for (index, key) in KEY_ORDER.iter().enumerate() {
            assert_eq!(place(key.name), index, "{}", key.name);
        }
        assert_eq!(place("tenant"), KEY_ORDER.len());
    }

    #[test]
    fn keys_are_appended_in_order_with_their_last_values() {
        let mut patches = Patches::of_new_job();
        patches.add("jid", |text| text.push('1'));
        patches.add("queue", |text| text.push('2'));
        patches.add("class", |text| text.push('3'));
        patches.add("queue", |text| text.push_str("44"));
        patches.add("tags", |text| text.push_str("[]"));
        patches.add("a \"key\"", |text| text.push('5'));
        patches.put("tags", None);
        patches.write("dead", |text| text.push_str("never put"));
        patches.add("verk", |text| text.push_str("{}"));
        let mut json = Vec::new();
        patches.append_to(&mut json);
        let json = String::from_utf8(json).unwrap();
        let expected = r#","queue":44,"class":3,"jid":1,"verk":{},"a \"key\"":5"#;
        assert_eq!(json, expected);
    }
}
