//! Says why an argument does not decode, without quoting it: [`explain`].
//!
//! The messages of serde quote the value that they refuse, and an argument must not be logged. So
//! if serde_json refuses an argument, a deserializer of our own decodes it once more. Its error
//! type keeps the path, the kind of value that was found and what was expected, and drops the rest.
//! It only runs after a failure: for arguments that decode, only serde_json runs.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{
        self, DeserializeOwned, Deserializer, Expected, Unexpected, Visitor,
        value::CowStrDeserializer,
    },
    forward_to_deserialize_any,
};
use serde_json::{Number, Value, value::RawValue};

use crate::job::{
    MAX_DEPTH,
    args::containers::{Entries, Fields, Items, NoVariant, Variant, place},
    json_string,
};

/// Where and why serde_json refused `raw` as a `T`: the path below the argument, such as
/// `.lines[2]`, and the reason.
pub(super) fn explain<T: DeserializeOwned>(raw: &RawValue) -> (String, String) {
    let json = Json {
        text: raw.get(),
        depth: 0,
    };
    match T::deserialize(json) {
        Err(Mismatch {
            path,
            reason,
            is_dynamic,
        }) => {
            let may_be_shown = !is_dynamic
                || serde_json::from_str(raw.get()).is_ok_and(|value| !quotes(&value, &reason));
            (
                path,
                if may_be_shown {
                    reason
                } else {
                    REFUSED.to_owned()
                },
            )
        }
        // The type does not decide by the value alone, because it accepts the value now.
        Ok(_) => (String::new(), REFUSED.to_owned()),
    }
}

/// An error of decoding, without the value.
#[derive(Debug)]
pub(crate) struct Mismatch {
    /// From the argument to the value; empty for the argument itself.
    path: String,
    pub(crate) reason: String,
    /// Whether a part of the reason is text that the type wrote, which may quote the value.
    is_dynamic: bool,
}

impl Mismatch {
    pub(crate) fn of(reason: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            reason: reason.into(),
            is_dynamic: false,
        }
    }

    fn expected(found: impl fmt::Display, expected: &dyn Expected) -> Self {
        Self {
            is_dynamic: true,
            ..Self::of(format!("found {found}, expected {expected}"))
        }
    }

    /// The error of a value inside of another one.
    pub(crate) fn inside(mut self, place: &str) -> Self {
        self.path.insert_str(0, place);
        self
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Mismatch {}

impl de::Error for Mismatch {
    /// The text may quote the value: it is dropped.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::of(REFUSED)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(kind(&found), expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(format_args!("{} that is not valid", kind(&found)), expected)
    }

    fn invalid_length(len: usize, expected: &dyn Expected) -> Self {
        Self::expected(format_args!("a length of {len}"), expected)
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::of(format!(
            "found an unknown variant, expected {}",
            one_of(expected)
        ))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::of(format!(
            "found an unknown field, expected {}",
            one_of(expected)
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::of(format!("the field `{field}` is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::of(format!("the field `{field}` is there twice"))
    }
}

/// The kind of the value that was found, as JSON names it.
fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a float",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "an array",
        Unexpected::Map => "an object",
        Unexpected::Enum
        | Unexpected::UnitVariant
        | Unexpected::NewtypeVariant
        | Unexpected::TupleVariant
        | Unexpected::StructVariant => "another variant",
        Unexpected::NewtypeStruct | Unexpected::Other(_) => "a value",
    }
}

fn one_of(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        [name] => format!("`{name}`"),
        _ => format!("one of `{}`", names.join("`, `")),
    }
}

/// Whether `text` has a string or a number of `value` in it.
fn quotes(value: &Value, text: &str) -> bool {
    /// Shorter texts are parts of other words.
    const SHORTEST: usize = 3;
    let has = |part: &str| part.len() >= SHORTEST && text.contains(part);
    match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(number) => has(&number.to_string()),
        Value::String(string) => has(string),
        Value::Array(items) => items.iter().any(|item| quotes(item, text)),
        Value::Object(entries) => {
            (entries.iter()).any(|(key, value)| has(key) || quotes(value, text))
        }
    }
}

/// A JSON value that is not read yet.
#[derive(Clone, Copy)]
pub(crate) struct Json<'de> {
    pub(crate) text: &'de str,
    /// How many arrays and objects it is in.
    pub(crate) depth: usize,
}

impl<'de> Json<'de> {
    /// The text of a value inside of this one, to be read.
    pub(crate) fn inner(self, raw: &'de RawValue) -> Self {
        Self {
            text: raw.get(),
            depth: self.depth + 1,
        }
    }

    fn parse<T: Deserialize<'de>>(self) -> Result<T, Mismatch> {
        serde_json::from_str(self.text).map_err(|_| Mismatch::of(REFUSED))
    }

    fn string(self) -> Result<Cow<'de, str>, Mismatch> {
        json_string(self.text).ok_or_else(|| Mismatch::of("found a string that is not Unicode"))
    }

    /// Whether this one may have values inside.
    fn check_depth(self) -> Result<(), Mismatch> {
        if self.depth < MAX_DEPTH {
            Ok(())
        } else {
            Err(Mismatch::of(format!(
                "nested deeper than {MAX_DEPTH} levels"
            )))
        }
    }

    fn visit_array<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.check_depth()?;
        let items: Vec<&RawValue> = self.parse()?;
        let total = items.len();
        let mut items = Items {
            array: self,
            items: items.into_iter(),
            next: 0,
        };
        let value = visitor.visit_seq(&mut items)?;
        let taken = items.next;
        if taken < total {
            return Err(de::Error::invalid_length(
                total,
                &&*format!("{taken} elements"),
            ));
        }
        Ok(value)
    }

    /// `names` are the keys that may be shown: those of the type. Other keys are data.
    fn visit_object<V: Visitor<'de>>(
        self,
        visitor: V,
        names: &'static [&'static str],
    ) -> Result<V::Value, Mismatch> {
        self.check_depth()?;
        let Entries(entries) = self.parse()?;
        visitor.visit_map(Fields {
            object: self,
            names,
            entries: entries.into_iter(),
            value: None,
            count: 0,
        })
    }

    fn visit_number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let number: Number = self.parse()?;
        if let Some(number) = number.as_u64() {
            visitor.visit_u64(number)
        } else if let Some(number) = number.as_i64() {
            visitor.visit_i64(number)
        } else {
            let number = number.as_f64().ok_or_else(|| Mismatch::of(REFUSED))?;
            visitor.visit_f64(number)
        }
    }
}

impl<'de> Deserializer<'de> for Json<'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.text.as_bytes().first() {
            Some(b'n') => visitor.visit_unit(),
            Some(b't') => visitor.visit_bool(true),
            Some(b'f') => visitor.visit_bool(false),
            Some(b'[') => self.visit_array(visitor),
            Some(b'{') => self.visit_object(visitor, &[]),
            Some(b'"') => match self.string()? {
                Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            },
            _ => self.visit_number(visitor),
        }
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.text.parse() {
            Ok(number) => visitor.visit_i128(number),
            Err(_) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.text.parse() {
            Ok(number) => visitor.visit_u128(number),
            Err(_) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if self.text.starts_with('"') {
            visitor.visit_bytes(self.string()?.as_bytes())
        } else {
            self.deserialize_any(visitor)
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if self.text == "null" {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        if name.starts_with("$serde_json::private::") {
            // `RawValue` deserializes only from a deserializer of serde_json.
            let mut json = serde_json::Deserializer::from_str(self.text);
            let value = json.deserialize_newtype_struct(name, visitor);
            return value.map_err(|_| Mismatch::of(REFUSED));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        if self.text.starts_with('{') {
            self.visit_object(visitor, fields)
        } else {
            self.deserialize_any(visitor)
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.text.as_bytes().first() {
            Some(b'"') => {
                CowStrDeserializer::new(self.string()?).deserialize_enum(name, variants, visitor)
            }
            Some(b'{') => {
                self.check_depth()?;
                let Entries(mut entries) = self.parse()?;
                match (entries.pop(), entries.len()) {
                    (Some((key, value)), 0) => visitor.visit_enum(Variant {
                        key,
                        value: self.inner(value),
                        place: place(key, variants, 1),
                    }),
                    _ => Err(Mismatch::of(
                        "found an object, expected one with a variant as its key",
                    )),
                }
            }
            _ => match self.deserialize_any(NoVariant)? {},
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

pub(crate) const REFUSED: &str =
    "its type refuses the value, for a reason that is not shown because it may quote the value";
