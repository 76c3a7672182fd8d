//! Positional arguments: converts a job's fields to a JSON array and back.
//!
//! `#[verk::worker]` generates the calls; a hand-written [`Worker`](crate::Worker) makes them
//! itself.

mod containers;
mod mismatch;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use thiserror::Error;

/// Writes arguments, in order, as a JSON array.
///
/// ```
/// use verk_core::job::ArgsWriter;
///
/// let args = ArgsWriter::new().arg("email", &"ada@example.com")?.arg("tries", &3)?.finish();
/// assert_eq!(args, r#"["ada@example.com",3]"#);
/// # Ok::<(), verk_core::job::ArgsError>(())
/// ```
#[derive(Debug, Default)]
pub struct ArgsWriter {
    json: Vec<u8>,
}

impl ArgsWriter {
    /// Makes a writer without arguments.
    #[must_use]
    pub fn new() -> Self {
        Self {
            json: Vec::with_capacity(USUAL_BYTES),
        }
    }

    /// Appends one argument. `name` is for the error only.
    ///
    /// # Errors
    ///
    /// [`ArgsError::Encode`] when the value has no JSON form, such as a map whose keys are no
    /// strings.
    pub fn arg<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        value: &T,
    ) -> Result<Self, ArgsError> {
        let is_first = self.json.is_empty();
        self.json.push(if is_first { b'[' } else { b',' });
        serde_json::to_writer(&mut self.json, value).map_err(|error| ArgsError::Encode {
            name,
            reason: not_encoded(&error),
        })?;
        Ok(self)
    }

    /// Appends the only argument of a job that takes a JSON object instead of arguments by
    /// position.
    ///
    /// # Errors
    ///
    /// As [`arg`](Self::arg), and [`ArgsError::NoObject`] when the value does not become an object.
    pub fn object<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Self, ArgsError> {
        let before = self.json.len() + 1;
        let args = self.arg(name, value)?;
        if args.json[before..].starts_with(b"{") {
            Ok(args)
        } else {
            Err(ArgsError::NoObject { name })
        }
    }

    /// Returns the JSON array of the arguments.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.json.is_empty() {
            self.json.push(b'[');
        }
        self.json.push(b']');
        String::from_utf8(self.json).expect("serde_json writes text")
    }
}

/// Room for a few short arguments.
const USUAL_BYTES: usize = 64;

/// Reads arguments, in order, from a JSON array.
///
/// ```
/// use verk_core::job::ArgsReader;
///
/// let mut args = ArgsReader::new(r#"["ada@example.com"]"#)?;
/// let email: String = args.arg("email")?;
/// let tries: Option<u32> = args.arg("tries")?; // absent at the end: read as null
/// args.finish()?;
/// assert_eq!((email.as_str(), tries), ("ada@example.com", None));
/// # Ok::<(), verk_core::job::ArgsError>(())
/// ```
#[derive(Debug)]
pub struct ArgsReader<'a> {
    args: std::vec::IntoIter<&'a RawValue>,
    total: usize,
}

impl<'a> ArgsReader<'a> {
    /// Reads the array, without decoding its elements.
    ///
    /// # Errors
    ///
    /// [`ArgsError::NoArray`] when `json` is no JSON array.
    pub fn new(json: &'a str) -> Result<Self, ArgsError> {
        let args: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| ArgsError::NoArray)?;
        Ok(Self {
            total: args.len(),
            args: args.into_iter(),
        })
    }

    /// Reads the next argument. An absent one is read as `null`, so a trailing `Option` is
    /// optional.
    ///
    /// # Errors
    ///
    /// [`ArgsError::Missing`] or [`ArgsError::Decode`], with the position and the name. An argument
    /// that does not decode is decoded a second time, to find the reason without quoting the
    /// argument.
    pub fn arg<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, ArgsError> {
        let position = self.total - self.args.len() + 1;
        match self.args.next() {
            Some(raw) => serde_json::from_str(raw.get()).map_err(|_| {
                // The error's own text is not shown: it quotes the argument.
                let (path, reason) = mismatch::explain::<T>(raw);
                ArgsError::Decode {
                    position,
                    name: format!("{name}{path}"),
                    reason,
                }
            }),
            None => serde_json::from_str("null").map_err(|_| ArgsError::Missing {
                position,
                name,
                total: self.total,
            }),
        }
    }

    /// Reads the next argument. An absent one is the result of `default`; `null` is not absent.
    ///
    /// # Errors
    ///
    /// [`ArgsError::Decode`], with the position and the name.
    pub fn arg_or<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        default: impl FnOnce() -> T,
    ) -> Result<T, ArgsError> {
        if self.args.len() == 0 {
            return Ok(default());
        }
        self.arg(name)
    }

    /// Reads the only argument of a job that takes a JSON object instead of arguments by position.
    ///
    /// # Errors
    ///
    /// As [`arg`](Self::arg), and [`ArgsError::NoObject`] when the argument is no object.
    pub fn object<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, ArgsError> {
        match self.args.as_slice().first() {
            Some(raw) if !raw.get().starts_with('{') => Err(ArgsError::NoObject { name }),
            Some(_) | None => self.arg(name),
        }
    }

    /// Checks that every argument was read.
    ///
    /// # Errors
    ///
    /// [`ArgsError::TooMany`] when there are more.
    pub fn finish(self) -> Result<(), ArgsError> {
        match self.args.len() {
            0 => Ok(()),
            left => Err(ArgsError::TooMany {
                expected: self.total - left,
                total: self.total,
            }),
        }
    }
}

/// Why a value has no JSON form, without the text of its type, which may quote the value.
fn not_encoded(error: &serde_json::Error) -> String {
    if error.is_data() {
        "its type refuses to write it, for a reason that is not shown because it may quote the value"
            .to_owned()
    } else {
        error.to_string()
    }
}

/// Arguments that cannot be written, or do not have the shape that the worker expects.
///
/// It has no argument, neither in `Display` nor in `Debug`, because it is logged, and stored in the
/// job.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// An argument has no JSON form; nothing was stored.
    #[error("argument `{name}` has no JSON form: {reason}")]
    Encode {
        /// The parameter.
        name: &'static str,
        /// The reason. The text of an error that its type made is not kept.
        reason: String,
    },
    /// `args` is no JSON array.
    #[error("args is not a JSON array")]
    NoArray,
    /// An argument is absent that cannot be.
    #[error("argument {position} (`{name}`) is missing: the job has {total}")]
    Missing {
        /// Counted from 1.
        position: usize,
        /// The parameter.
        name: &'static str,
        /// How many arguments the job has.
        total: usize,
    },
    /// An argument is of another type.
    #[error("argument {position} (`{name}`) does not decode: {reason}")]
    Decode {
        /// Counted from 1.
        position: usize,
        /// The parameter, and the path to the value in it: `order.lines[2].price`. Elements count
        /// from 0. A key that is no field of the type is data. So the path has only its number,
        /// counted from 1: `prices.<key 3>`.
        name: String,
        /// What kind of value was found, and what was expected. The text of an error that a type
        /// made itself (`serde::de::Error::custom`) is not kept.
        reason: String,
    },
    /// The worker takes one JSON object instead of arguments by position, and the job has another
    /// form.
    #[error("the worker takes one argument, `{name}`, which is a JSON object")]
    NoObject {
        /// The parameter.
        name: &'static str,
    },
    /// The job has more arguments than the worker takes.
    #[error("the job has {total} arguments, the worker takes {expected}")]
    TooMany {
        /// How many the worker takes.
        expected: usize,
        /// How many the job has.
        total: usize,
    },
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "decoded only")]
    struct Order {
        number: u64,
        lines: Vec<u8>,
    }

    #[test]
    fn an_object_is_an_object() {
        assert!(ArgsWriter::new().object("a", &7).is_err());
        assert!(ArgsWriter::new().object("a", &Some([1])).is_err());
        let written = ArgsWriter::new().object("a", &HashMap::from([("b", 1)]));
        assert_eq!(written.unwrap().finish(), r#"[{"b":1}]"#);
        // Serde would take the fields by position.
        let mut args = ArgsReader::new("[[1,[2]]]").unwrap();
        let error = args.object::<Order>("order").unwrap_err();
        assert!(matches!(error, ArgsError::NoObject { name: "order" }));
    }

    #[test]
    fn a_default_stands_in_for_what_is_absent_alone() {
        let read = |args| ArgsReader::new(args).unwrap().arg_or("n", || 7_u8);
        assert_eq!(read("[]").unwrap(), 7);
        assert_eq!(read("[1]").unwrap(), 1);
        assert!(read("[null]").is_err());
    }

    #[test]
    fn floats_are_read_to_the_last_bit() {
        // serde_json reads this as the neighbouring float unless `float_roundtrip` is on.
        let float: f64 = ArgsReader::new("[5.9172516468079116e-8]")
            .unwrap()
            .arg("rate")
            .unwrap();
        assert_eq!(float.to_bits(), 5.917_251_646_807_911_6e-8_f64.to_bits());
    }
}
