//! The elements of arrays, the entries of objects and the variants of enums, as [`Json`] reads
//! them.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor},
    forward_to_deserialize_any,
};
use serde_json::{Value, value::RawValue};

use crate::job::{
    args::mismatch::{Json, Mismatch, REFUSED},
    json_string,
};

/// The elements of an array.
pub(crate) struct Items<'de> {
    pub(crate) array: Json<'de>,
    pub(crate) items: std::vec::IntoIter<&'de RawValue>,
    pub(crate) next: usize,
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

/// The entries of an object, in order, also those with a duplicate key.
pub(crate) struct Entries<'de>(pub(crate) Vec<(Key<'de>, &'de RawValue)>);

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

pub(crate) struct Fields<'de> {
    pub(crate) object: Json<'de>,
    /// The keys that may be shown.
    pub(crate) names: &'static [&'static str],
    pub(crate) entries: std::vec::IntoIter<(Key<'de>, &'de RawValue)>,
    /// The value of the key before, and its path.
    pub(crate) value: Option<(&'de RawValue, String)>,
    pub(crate) count: usize,
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

/// The path of a key's value. A key that is not one of `names` is data, so only its number is
/// shown.
pub(crate) fn place(key: Key<'_>, names: &[&str], number: usize) -> String {
    match key.text() {
        Some(name) if names.contains(&&*name) => format!(".{name}"),
        _ => format!(".<key {number}>"),
    }
}

/// A key of an object, with its quotes.
#[derive(Clone, Copy)]
pub(crate) struct Key<'de>(pub(crate) &'de str);

impl<'de> Key<'de> {
    fn text(self) -> Option<Cow<'de, str>> {
        json_string(self.0)
    }

    /// The number or the boolean in the text of the key.
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
pub(crate) struct Variant<'de> {
    pub(crate) key: Key<'de>,
    pub(crate) value: Json<'de>,
    pub(crate) place: String,
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
pub(crate) struct NoVariant;

impl Visitor<'_> for NoVariant {
    type Value = std::convert::Infallible;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a variant: a string, or an object with one key")
    }
}
