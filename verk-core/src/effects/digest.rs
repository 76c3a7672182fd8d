//! The name of a lock: a digest of what makes two jobs the same.
//!
//! Payloads store it, and locks outlive the program. So the same job must have the same digest in
//! every version of verk. A change here would let two equal jobs run at once during a deploy.
//!
//! The digest is the first 128 bits of SHA-256 over the text below. Each part of it begins with its
//! length in bytes, as a big-endian `u64`, so that two lists of parts never give the same text.
//!
//! 1. The class, a part.
//! 2. The byte 1, and the name of the queue, a part. With `across_queues`, only the byte 0.
//! 3. The canonical JSON of each chosen argument, a part each. Nulls at the end are left out: a
//!    worker reads an absent argument as null, so a new optional argument changes no digest.
//!
//! The lock of a periodic job has its own text: an empty class, the byte 2, and the name of its
//! entry, a part.
//!
//! Canonical JSON has no whitespace. The keys of an object are in the order of their bytes, strings
//! have no escapes but those that JSON requires, and numbers are as they came.

use std::fmt;

use hmac_sha256::Hash;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    effects::unique::{By, Unique},
    names::QueueName,
};

/// How deep arrays and objects are read. Values further inside count as their text, so that no
/// input overflows the stack. A job with such arguments is malformed anyway.
const MAX_DEPTH: u32 = 128;

/// The digest of a job whose arguments are `args`, the text of a JSON array. Other text counts as
/// one argument.
pub(crate) fn digest(unique: &Unique, class: &str, queue: &QueueName, args: &str) -> u128 {
    let args = match serde_json::from_str::<Vec<&RawValue>>(args) {
        Ok(args) => args.into_iter().map(RawValue::get).collect(),
        Err(_) => vec![args],
    };
    let mut chosen: Vec<&str> = match unique.by {
        By::All => args,
        By::Places(places) => {
            let arg = |place: &usize| args.get(*place).copied().unwrap_or("null");
            places.iter().map(arg).collect()
        }
    };
    while chosen.last() == Some(&"null") {
        chosen.pop();
    }
    let mut hash = Hash::new();
    update(&mut hash, class);
    if unique.across_queues {
        hash.update([0]);
    } else {
        hash.update([1]);
        update(&mut hash, queue.as_str());
    }
    let mut json = String::new();
    for arg in chosen {
        json.clear();
        push(&mut json, arg, MAX_DEPTH);
        update(&mut hash, &json);
    }
    bits(hash)
}

/// The digest of an entry of the timetable. Its text begins with an empty class, which no job has.
#[cfg(feature = "cron")]
pub(crate) fn of_entry(name: &str) -> u128 {
    let mut hash = Hash::new();
    update(&mut hash, "");
    hash.update([2]);
    update(&mut hash, name);
    bits(hash)
}

/// The first 128 bits.
fn bits(hash: Hash) -> u128 {
    let high = hash.finalize().into_iter().take(16);
    high.fold(0, |bits, byte| bits << 8 | u128::from(byte))
}

/// Adds a part.
fn update(hash: &mut Hash, part: &str) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

/// Appends a value in its canonical form. What cannot be read is appended as it came, such as a
/// string with half of a surrogate pair.
fn push(json: &mut String, value: &str, depth: u32) {
    let read = match value.as_bytes().first() {
        _ if depth == 0 => None,
        Some(b'"') => push_string(json, value),
        Some(b'[') => push_array(json, value, depth - 1),
        Some(b'{') => push_object(json, value, depth - 1),
        _ => None,
    };
    if read.is_none() {
        json.push_str(value);
    }
}

fn push_string(json: &mut String, value: &str) -> Option<()> {
    let text: String = serde_json::from_str(value).ok()?;
    push_quoted(json, &text);
    Some(())
}

fn push_array(json: &mut String, value: &str, depth: u32) -> Option<()> {
    let elements: Vec<&RawValue> = serde_json::from_str(value).ok()?;
    json.push('[');
    for (index, element) in elements.into_iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        push(json, element.get(), depth);
    }
    json.push(']');
    Some(())
}

fn push_object(json: &mut String, value: &str, depth: u32) -> Option<()> {
    let Entries(mut entries) = serde_json::from_str(value).ok()?;
    // A repeated key stays twice, in the same order.
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    json.push('{');
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        push_quoted(json, &key);
        json.push(':');
        push(json, value.get(), depth);
    }
    json.push('}');
    Some(())
}

/// Appends a string with its own escapes: those of a dependency could change.
fn push_quoted(json: &mut String, text: &str) {
    json.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => json.extend(['\\', char]),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\0'..' ' => json.push_str(&format!("\\u{:04x}", u32::from(char))),
            _ => json.push(char),
        }
    }
    json.push('"');
}

/// The entries of an object, in order.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect).map(Self)
    }
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests;
