//! Writes a job: the original bytes with the patches applied.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::{
    Dialect, InvalidJob, Job,
    decode::{MAX_DEPTH, depth_over},
    patches::{PatchKey, reserved},
    value::{count, quoted},
};

impl Job {
    /// The payload to store.
    ///
    /// A job that nobody changed returns the bytes that it was read from, without a copy. Otherwise
    /// the keys stay in their order, every unchanged value stays byte for byte, and new keys come
    /// last. A duplicate key is written once if it was changed; otherwise all of them stay.
    ///
    /// A new or changed job in Sidekiq's dialect always gets a `retry`: `true`, or the number in
    /// its `max_retry_count`. The reason: Sidekiq drops a job without `retry` if it lacks the
    /// class.
    ///
    /// ```
    /// use verk_core::Job;
    ///
    /// let mut job = Job::decode(r#"{"class":"Welcome","queue":"mailers","args":[],"jid":"1"}"#.into())?;
    /// assert_eq!(job.encode(), job.original_json());
    ///
    /// job.set_queue("low".parse()?);
    /// let changed = r#"{"class":"Welcome","queue":"low","args":[],"jid":"1","retry":true}"#;
    /// assert_eq!(job.encode(), changed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn encode(&self) -> Bytes {
        if self.patches.is_empty() {
            return self.original_json.as_bytes().clone();
        }
        let retry = self.missing_retry();
        let retry = retry.as_deref();
        let bytes = self.original_json.len() + self.patches.bytes();
        let bytes = bytes + retry.map_or(0, |retry| ",\"retry\":".len() + retry.len());
        // With the brace at the end.
        let mut json = Object(Vec::with_capacity(bytes + 1));
        if self.entries.is_empty() {
            if let Some(retry) = retry {
                json.append(RETRY, retry);
            }
            self.patches.append_to(&mut json.0);
            return json.finish();
        }
        let retry = retry.map(|retry| (RETRY, Some(retry)));
        let patches = || retry.into_iter().chain(self.patches.iter());
        for (index, entry) in self.entries.iter().enumerate() {
            let key = self.slice(&entry.key);
            let patch = patches().find(|(key, _)| self.is_key(entry, key.name));
            match patch {
                None => json.push(key, self.slice(&entry.value)),
                // It replaces the entry that readers use: the last one with its key.
                Some((patched, Some(value))) if !self.has_entry(index + 1, patched.name) => {
                    json.push(key, value);
                }
                Some(_) => {}
            }
        }
        patches().for_each(|(key, value)| match value {
            Some(value) if !self.has_entry(0, key.name) => json.append(key, value),
            _ => {}
        });
        json.finish()
    }

    /// The value for `retry` in a job of Sidekiq's dialect without one.
    fn missing_retry(&self) -> Option<Cow<'static, str>> {
        // In Verk's dialect, a missing `retry` is one of the marks.
        if self.dialect == Dialect::Verk || self.present("retry").is_some() {
            return None;
        }
        Some(match self.get("max_retry_count").and_then(count) {
            Some(count) => count.to_string().into(),
            None => "true".into(),
        })
    }

    /// Gives the job a key of your own. The job keeps it for its whole life, in every program.
    /// [`get`](Self::get) reads it.
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
    /// [`InvalidJob`] when verk itself writes the key, or the value has no JSON form or is nested
    /// too deep. The job is then unchanged.
    pub fn set(&mut self, key: &str, value: &(impl Serialize + ?Sized)) -> Result<(), InvalidJob> {
        if let Some(key) = reserved(key) {
            return Err(InvalidJob::ReservedKey { key });
        }
        let json = serde_json::to_string(value).map_err(|_| InvalidJob::ValueNotJson)?;
        // One level is the payload around it.
        if depth_over(&json, MAX_DEPTH - 1) {
            return Err(InvalidJob::ValueTooDeep);
        }
        let value = self.patches.write(key, |text| text.push_str(&json));
        self.patches.put(key.to_owned(), Some(value));
        Ok(())
    }

    /// Gives `key` the value `json`, unless it already has it.
    pub(super) fn patch(&mut self, key: &'static str, json: impl AsRef<str>) {
        self.patch_with(key, |text| text.push_str(json.as_ref()));
    }

    /// As [`patch`](Self::patch), with what `write` appends.
    pub(super) fn patch_with(&mut self, key: &'static str, write: impl FnOnce(&mut String)) {
        let value = self.patches.write(key, write);
        if self.get(key) != Some(self.patches.text(&value)) {
            self.patches.put(key, Some(value));
        }
    }

    /// Removes `key`; in a job of Elixir's Verk, which always has all its keys, sets it to null.
    pub(super) fn remove(&mut self, key: &'static str) {
        if self.get(key).is_none() {
            return;
        }
        match self.dialect {
            Dialect::Sidekiq => self.patches.put(key, None),
            Dialect::Verk => self.patch(key, "null"),
        }
    }

    /// Whether one of the entries from number `first` on has the key `key`.
    fn has_entry(&self, first: usize, key: &str) -> bool {
        self.entries[first..]
            .iter()
            .any(|entry| self.is_key(entry, key))
    }
}

const RETRY: PatchKey<'_> = PatchKey {
    name: "retry",
    in_object: Some(",\"retry\":"),
};

/// A JSON object that is being written: a comma precedes each key, and the first comma becomes the
/// brace.
struct Object(Vec<u8>);

impl Object {
    /// Adds a key, as it is with its quotes.
    fn push(&mut self, key: &str, value: &str) {
        self.0.push(b',');
        self.0.extend_from_slice(key.as_bytes());
        self.0.push(b':');
        self.0.extend_from_slice(value.as_bytes());
    }

    /// Adds a key that is not yet between quotes.
    fn append(&mut self, key: PatchKey<'_>, value: &str) {
        let Some(key) = key.in_object else {
            return self.push(&quoted(key.name), value);
        };
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(value.as_bytes());
    }

    fn finish(mut self) -> Bytes {
        match self.0.first_mut() {
            Some(comma) => *comma = b'{',
            None => self.0.push(b'{'),
        }
        self.0.push(b'}');
        Bytes::from(self.0)
    }
}
