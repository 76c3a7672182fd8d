//! Reads a job: one parse that borrows, and a second one if a key has escapes.

use std::{borrow::Cow, fmt, marker::PhantomData, ops::Range};

use bytes::Bytes;
use bytestring::ByteString;
use serde::{
    Deserialize,
    de::{Deserializer as _, MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};
use thiserror::Error;

use super::{
    Dialect, InvalidJob, Job, Patches, Text, TimeFormat,
    value::{check, string},
};
use crate::names::{Jid, QueueName};

/// How deep a payload may be nested. Sidekiq gives up at 100 levels, serde_json at 128.
pub(crate) const MAX_DEPTH: usize = 127;

/// A payload is not a job.
///
/// It cannot be run, only kept: it goes to the dead set byte for byte. The message never quotes the
/// payload.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MalformedJob {
    /// The payload is not text.
    #[error("not UTF-8")]
    NotUtf8,
    /// The payload is not JSON.
    #[error("not JSON: {problem} at line {line} column {column}")]
    NotJson {
        /// The kind of the error.
        problem: &'static str,
        /// The line, from 1.
        line: usize,
        /// The column, in bytes.
        column: usize,
    },
    /// The payload is JSON, but not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// Arrays and objects are nested deeper than any program reads.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A key that every job has is missing or null.
    #[error("no key `{key}`")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A key has a value of the wrong kind.
    #[error("key `{key}` is not {expected}")]
    Wrong {
        /// The key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

impl MalformedJob {
    fn not_json(error: &serde_json::Error) -> Self {
        // The error's own text is not shown, because it sometimes quotes the payload.
        Self::NotJson {
            problem: match error.classify() {
                Category::Eof => "it ends too early",
                Category::Io | Category::Syntax | Category::Data => "bad syntax",
            },
            line: error.line(),
            column: error.column(),
        }
    }
}

/// One key and its value, as ranges of the payload.
#[derive(Clone)]
pub(super) struct Member {
    /// The key with its quotes.
    pub(super) key: Range<usize>,
    /// Whether the key is written with escapes.
    pub(super) escaped: bool,
    pub(super) value: Range<usize>,
}

impl Job {
    /// Reads a payload.
    ///
    /// ```
    /// use verk_core::{job::MalformedJob, Job};
    ///
    /// // Elixir's Verk has the args in a string.
    /// let job = Job::decode(r#"{"class":"Welcome","jid":"227897","args":"[1,2]"}"#.into())?;
    /// assert_eq!(job.args(), "[1,2]");
    ///
    /// let error = Job::decode(r#"{"class":"Welcome"}"#.into()).unwrap_err();
    /// assert_eq!(error, MalformedJob::Missing { key: "jid" });
    /// assert_eq!(error.to_string(), "no key `jid`");
    /// # Ok::<(), MalformedJob>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`MalformedJob`] when the payload is no job: not a JSON object, without a class or a jid, or
    /// with args that are no array in any dialect.
    pub fn decode(payload: Bytes) -> Result<Self, MalformedJob> {
        Self::decode_from(payload, None)
    }

    /// Reads a payload that was fetched from `queue`, which is most often the queue that it names.
    pub(crate) fn decode_from(
        payload: Bytes,
        queue: Option<&QueueName>,
    ) -> Result<Self, MalformedJob> {
        let original_json = ByteString::try_from(payload).map_err(|_| MalformedJob::NotUtf8)?;
        let json = &*original_json;
        if !json.trim_start_matches(WHITESPACE).starts_with('{') {
            check(json).map_err(|error| MalformedJob::not_json(&error))?;
            return Err(MalformedJob::NotAnObject);
        }
        let fields = parse(json).map_err(|error| MalformedJob::not_json(&error))?;
        if is_too_deep(json) {
            return Err(MalformedJob::TooDeep);
        }

        let jid = Jid::from(&*required(fields.jid, "jid")?);
        let class = match required(fields.class, "class")? {
            Cow::Borrowed(class) => Text::Slice(range(json, class)),
            Cow::Owned(class) => Text::Owned(class.into()),
        };
        let queue = fields.queue.and_then(string).and_then(|name| match queue {
            Some(queue) if queue.as_str() == name => Some(queue.clone()),
            _ => QueueName::new(&name).ok(),
        });
        let (args, is_string) = args(json, fields.args)?;
        let dialect = if is_string || fields.seen & (VERK_KEYS | RETRY) == VERK_KEYS {
            Dialect::Verk
        } else {
            Dialect::Sidekiq
        };
        Ok(Self {
            entries: fields.entries,
            seen: fields.seen,
            patches: Patches::default(),
            dialect,
            time_format: TimeFormat::default(),
            jid,
            class,
            queue,
            args,
            original_json,
        }
        .opened())
    }
}

/// What one pass over the payload finds.
#[derive(Default)]
struct Fields<'a> {
    pub(crate) entries: Vec<Member>,
    class: Option<&'a str>,
    jid: Option<&'a str>,
    queue: Option<&'a str>,
    args: Option<&'a str>,
    /// Which of Verk's keys the payload has, a bit each, and [`RETRY`], [`EXPIRES_IN`],
    /// [`ENCRYPT`] and [`VERK`].
    seen: u32,
}

fn parse(json: &str) -> Result<Fields<'_>, serde_json::Error> {
    // Nearly always, no key has an escape.
    parse_with::<PlainKey<'_>>(json).or_else(|_| parse_with::<&RawValue>(json))
}

fn parse_with<'a, K: Key<'a>>(json: &'a str) -> Result<Fields<'a>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let fields = deserializer.deserialize_map(FieldsVisitor::<K> {
        json,
        key: PhantomData,
    })?;
    deserializer.end()?;
    Ok(fields)
}

/// A key as it is in the payload.
trait Key<'a>: Deserialize<'a> {
    /// With its quotes.
    fn range(&self, json: &str) -> Range<usize>;

    fn is_escaped(&self) -> bool;

    /// A key that is not Unicode is kept, but cannot be found by a name.
    fn name(&self) -> Option<Cow<'a, str>>;
}

/// A key without escapes: one with escapes does not deserialize to this type.
#[derive(Deserialize)]
struct PlainKey<'a>(#[serde(borrow)] &'a str);

impl<'a> Key<'a> for PlainKey<'a> {
    fn range(&self, json: &str) -> Range<usize> {
        let inner = range(json, self.0);
        inner.start - 1..inner.end + 1
    }

    fn is_escaped(&self) -> bool {
        false
    }

    fn name(&self) -> Option<Cow<'a, str>> {
        Some(Cow::Borrowed(self.0))
    }
}

impl<'a> Key<'a> for &'a RawValue {
    fn range(&self, json: &str) -> Range<usize> {
        range(json, self.get())
    }

    fn is_escaped(&self) -> bool {
        self.get().contains('\\')
    }

    fn name(&self) -> Option<Cow<'a, str>> {
        string(RawValue::get(self))
    }
}

struct FieldsVisitor<'de, K> {
    json: &'de str,
    key: PhantomData<K>,
}

impl<'de, K: Key<'de>> Visitor<'de> for FieldsVisitor<'de, K> {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields {
            entries: Vec::with_capacity(USUAL_KEYS),
            ..Fields::default()
        };
        while let Some((key, value)) = map.next_entry::<K, &'de RawValue>()? {
            let value = value.get();
            fields.entries.push(Member {
                key: key.range(self.json),
                escaped: key.is_escaped(),
                value: range(self.json, value),
            });
            let known = key.name().map_or(0, |name| verk_key(&name));
            match known {
                ARGS => fields.args = Some(value),
                CLASS => fields.class = Some(value),
                JID => fields.jid = Some(value),
                QUEUE => fields.queue = Some(value),
                _ => {}
            }
            fields.seen |= known;
        }
        Ok(fields)
    }
}

/// The bit of a key that distinguishes the dialects, or that few jobs have and every run needs; 0
/// for others.
fn verk_key(name: &str) -> u32 {
    match name {
        "args" => ARGS,
        "class" => CLASS,
        "created_at" => 1 << 2,
        "enqueued_at" => 1 << 3,
        "error_backtrace" => 1 << 4,
        "error_message" => 1 << 5,
        "failed_at" => 1 << 6,
        "finished_at" => 1 << 7,
        "jid" => JID,
        "max_retry_count" => 1 << 9,
        "queue" => QUEUE,
        "retried_at" => 1 << 11,
        "retry_count" => 1 << 12,
        "retry" => RETRY,
        "expires_in" => EXPIRES_IN,
        "encrypt" => ENCRYPT,
        "verk" => VERK,
        _ => 0,
    }
}

/// Where `part`, a slice of `whole`, is in it.
fn range(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

/// A value that must be a string and not empty.
#[inline]
fn required<'a>(raw: Option<&'a str>, key: &'static str) -> Result<Cow<'a, str>, MalformedJob> {
    let raw = raw
        .filter(|raw| *raw != "null")
        .ok_or(MalformedJob::Missing { key })?;
    string(raw)
        .filter(|text| !text.is_empty())
        .ok_or(MalformedJob::Wrong {
            key,
            expected: "a string with at least one character",
        })
}

/// The args as the text of an array, and whether they came as a string.
fn args(json: &str, raw: Option<&str>) -> Result<(Text, bool), MalformedJob> {
    let wrong = MalformedJob::Wrong {
        key: "args",
        expected: "an array",
    };
    match raw {
        // Sidekiq calls `perform` with this when there are none.
        None | Some("null") => Ok((Text::Owned(NO_ARGS.into()), false)),
        Some(raw) if raw.starts_with('[') => Ok((Text::Slice(range(json, raw)), false)),
        Some(raw) if is_empty_object(raw) => Ok((Text::Owned(NO_ARGS.into()), false)),
        Some(raw) => {
            let inner = string(raw).ok_or_else(|| wrong.clone())?;
            let array = match check_args(&inner) {
                Ok(array) => array,
                Err(InvalidJob::ArgsTooDeep) => return Err(MalformedJob::TooDeep),
                Err(_) if is_empty_object(&inner) => NO_ARGS,
                Err(_) => return Err(wrong),
            };
            let text = match inner {
                Cow::Borrowed(_) if array != NO_ARGS => Text::Slice(range(json, array)),
                _ => Text::Owned(array.into()),
            };
            Ok((text, true))
        }
    }
}

/// Checks that `args` is the text of a JSON array that every program can read, and trims it.
pub(super) fn check_args(args: &str) -> Result<&str, InvalidJob> {
    let args = args.trim_matches(WHITESPACE);
    if !args.starts_with('[') || check(args).is_err() {
        return Err(InvalidJob::ArgsNotAnArray);
    }
    // One level is the payload around them.
    if depth_over(args, MAX_DEPTH - 1) {
        return Err(InvalidJob::ArgsTooDeep);
    }
    Ok(args)
}

fn is_empty_object(json: &str) -> bool {
    json.trim_matches(WHITESPACE)
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|inside| inside.trim_matches(WHITESPACE).is_empty())
}

fn is_too_deep(json: &str) -> bool {
    depth_over(json, MAX_DEPTH)
}

/// Whether the arrays and objects of a valid JSON text are nested deeper than `max`.
///
/// The parser itself accepts any depth, but no program could read the value later.
pub(super) fn depth_over(json: &str, max: usize) -> bool {
    let bytes = json.as_bytes();
    // Most payloads have fewer brackets than that in total. The loop counts them in a byte for a
    // few at a time, so that the compiler vectorizes it.
    let brackets = bytes.chunks(usize::from(u8::MAX)).map(|some| {
        let count = |sum: u8, byte: &u8| sum + u8::from(matches!(byte, b'[' | b'{'));
        usize::from(some.iter().fold(0, count))
    });
    if brackets.sum::<usize>() <= max {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    false
}

/// The whitespace of JSON.
const WHITESPACE: [char; 4] = [' ', '\t', '\n', '\r'];

pub(super) const NO_ARGS: &str = "[]";

/// Room for the keys of a usual job.
const USUAL_KEYS: usize = 14;

/// All keys of Elixir's Verk, and no `retry`.
const VERK_KEYS: u32 = (1 << 13) - 1;
const ARGS: u32 = 1;
const CLASS: u32 = 1 << 1;
const JID: u32 = 1 << 8;
const QUEUE: u32 = 1 << 10;
const RETRY: u32 = 1 << 13;
pub(super) const EXPIRES_IN: u32 = 1 << 14;
pub(super) const ENCRYPT: u32 = 1 << 15;
pub(super) const VERK: u32 = 1 << 16;
