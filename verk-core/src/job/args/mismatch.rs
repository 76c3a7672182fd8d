//! Why an argument does not decode, in words that never quote it: [`explain`].
//!
//! The messages of serde quote the value that they refuse, and an argument must reach no log. So an
//! argument that serde_json refused is decoded once more, by a deserializer of our own. Its error type
//! keeps the path, the kind of value that was found and what was expected, and drops the rest. It only
//! runs after a failure: arguments that decode take the way of serde_json alone.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize,
    de::{
        self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, MapAccess,
        SeqAccess, Unexpected, VariantAccess, Visitor, value::CowStrDeserializer,
    },
    forward_to_deserialize_any,
};
use serde_json::{Number, Value, value::RawValue};

use crate::job::{MAX_DEPTH, json_string};

/// Where and why `raw`, which serde_json refused, is no `T`: the path below the argument, such as
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
        // The type does not decide by the value alone.
        Ok(_) => (String::new(), REFUSED.to_owned()),
    }
}

/// An error of decoding, without the value.
#[derive(Debug)]
struct Mismatch {
    /// From the argument to the value; empty for the argument itself.
    path: String,
    reason: String,
    /// Whether a part of the reason is text that the type wrote, which may quote the value after all.
    is_dynamic: bool,
}

impl Mismatch {
    fn of(reason: impl Into<String>) -> Self {
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
    fn inside(mut self, place: &str) -> Self {
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

/// What was found, in the words of JSON.
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
    /// Shorter ones are a part of other words.
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
struct Json<'de> {
    text: &'de str,
    /// How many arrays and objects it is in.
    depth: usize,
}

impl<'de> Json<'de> {
    /// The text of a value inside of this one.
    fn inner(self, raw: &'de RawValue) -> Self {
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

    /// Whether there may be values inside of this one.
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

    /// `names` are the keys that may be shown: those of the type. Others are data.
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
            // `RawValue` only reads itself from a deserializer of serde_json.
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

/// The elements of an array.
struct Items<'de> {
    array: Json<'de>,
    items: std::vec::IntoIter<&'de RawValue>,
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Mismatch;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Mismatch> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        let place = format!("[{}]", self.next);
        self.next += 1;
        let value = seed.deserialize(self.array.inner(item));
        value.map(Some).map_err(|error| error.inside(&place))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The entries of an object, in order, also those whose key is there twice.
struct Entries<'de>(Vec<(Key<'de>, &'de RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = map.next_entry::<&RawValue, _>()? {
                    entries.push((Key(key.get()), value));
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

struct Fields<'de> {
    object: Json<'de>,
    /// The keys that may be shown.
    names: &'static [&'static str],
    entries: std::vec::IntoIter<(Key<'de>, &'de RawValue)>,
    /// Of the key before, and where it is.
    value: Option<(&'de RawValue, String)>,
    count: usize,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mismatch> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.count += 1;
        self.value = Some((value, place(key, self.names, self.count)));
        seed.deserialize(key).map(Some).map_err(|mut error| {
            error.reason = format!("key {}: {}", self.count, error.reason);
            error
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let (value, place) = self.value.take().ok_or_else(|| Mismatch::of(REFUSED))?;
        let value = seed.deserialize(self.object.inner(value));
        value.map_err(|error| error.inside(&place))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// Where the value of a key is. A key that is not one of `names` is data, so only its number is shown.
fn place(key: Key<'_>, names: &[&str], number: usize) -> String {
    match key.text() {
        Some(name) if names.contains(&&*name) => format!(".{name}"),
        _ => format!(".<key {number}>"),
    }
}

/// A key of an object, with its quotes.
#[derive(Clone, Copy)]
struct Key<'de>(&'de str);

impl<'de> Key<'de> {
    fn text(self) -> Option<Cow<'de, str>> {
        json_string(self.0)
    }

    /// The number or the boolean that the key is in text.
    fn scalar(self) -> Option<Json<'de>> {
        let text = self.0.strip_prefix('"')?.strip_suffix('"')?;
        let value: Value = serde_json::from_str(text).ok()?;
        (value.is_number() || value.is_boolean()).then_some(Json { text, depth: 0 })
    }
}

macro_rules! scalar_key {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            match self.scalar() {
                Some(scalar) => scalar.$method(visitor),
                None => self.deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        Json {
            text: self.0,
            depth: 0,
        }
        .deserialize_any(visitor)
    }

    scalar_key! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        Json {
            text: self.0,
            depth: 0,
        }
        .deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// A variant that holds something.
struct Variant<'de> {
    key: Key<'de>,
    value: Json<'de>,
    place: String,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Mismatch;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Mismatch> {
        Ok((seed.deserialize(self.key)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        self.newtype_variant_seed(PhantomData::<()>)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mismatch> {
        let value = seed.deserialize(self.value);
        value.map_err(|error| error.inside(&self.place))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mismatch> {
        let value = self.value.deserialize_any(visitor);
        value.map_err(|error| error.inside(&self.place))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        let value = self.value.deserialize_struct("", fields, visitor);
        value.map_err(|error| error.inside(&self.place))
    }
}

/// Refuses every value, for an enum that is neither a text nor an object.
struct NoVariant;

impl Visitor<'_> for NoVariant {
    type Value = std::convert::Infallible;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a variant: a string, or an object with one key")
    }
}

const REFUSED: &str =
    "its type refuses the value, for a reason that is not shown because it may quote the value";
