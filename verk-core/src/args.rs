//! Positional arguments: a job's fields to a JSON array and back.
//!
//! `#[verk::worker]` generates the calls; a hand-written [`Worker`](crate::Worker) makes them itself.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use thiserror::Error;

/// Writes arguments, in order, as a JSON array.
///
/// ```
/// use verk_core::ArgsWriter;
///
/// let args = ArgsWriter::new().arg("email", &"ada@example.com")?.arg("tries", &3)?.finish();
/// assert_eq!(args, r#"["ada@example.com",3]"#);
/// # Ok::<(), verk_core::ArgsError>(())
/// ```
#[derive(Debug, Default)]
pub struct ArgsWriter {
    json: String,
}

impl ArgsWriter {
    /// No arguments yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one argument. `name` is for the error only.
    ///
    /// # Errors
    ///
    /// [`ArgsError::Encode`] when the value has no JSON form, such as a map whose keys are no strings.
    pub fn arg<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        value: &T,
    ) -> Result<Self, ArgsError> {
        let position = self.json.len();
        self.json.push(if position == 0 { '[' } else { ',' });
        let json =
            serde_json::to_string(value).map_err(|source| ArgsError::Encode { name, source })?;
        self.json.push_str(&json);
        Ok(self)
    }

    /// The JSON array.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.json.is_empty() {
            self.json.push('[');
        }
        self.json.push(']');
        self.json
    }
}

/// Reads arguments, in order, from a JSON array.
///
/// ```
/// use verk_core::ArgsReader;
///
/// let mut args = ArgsReader::new(r#"["ada@example.com"]"#)?;
/// let email: String = args.arg("email")?;
/// let tries: Option<u32> = args.arg("tries")?; // absent at the end: read as null
/// args.finish()?;
/// assert_eq!((email.as_str(), tries), ("ada@example.com", None));
/// # Ok::<(), verk_core::ArgsError>(())
/// ```
#[derive(Debug)]
pub struct ArgsReader<'a> {
    args: std::vec::IntoIter<&'a RawValue>,
    total: usize,
}

impl<'a> ArgsReader<'a> {
    /// Reads the array, and leaves its elements as they are.
    ///
    /// # Errors
    ///
    /// [`ArgsError::NoArray`] when `json` is no JSON array.
    pub fn new(json: &'a str) -> Result<Self, ArgsError> {
        let args: Vec<&RawValue> =
            serde_json::from_str(json).map_err(|source| ArgsError::NoArray { source })?;
        Ok(Self {
            total: args.len(),
            args: args.into_iter(),
        })
    }

    /// Reads the next argument. One that is absent is read as `null`, so a trailing `Option` may be left out.
    ///
    /// # Errors
    ///
    /// [`ArgsError::Missing`] or [`ArgsError::Decode`], with the position and the name.
    pub fn arg<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, ArgsError> {
        let position = self.total - self.args.len() + 1;
        match self.args.next() {
            Some(raw) => serde_json::from_str(raw.get()).map_err(|source| ArgsError::Decode {
                position,
                name,
                source,
            }),
            None => serde_json::from_str("null").map_err(|_| ArgsError::Missing {
                position,
                name,
                total: self.total,
            }),
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

/// Arguments that cannot be written, or do not have the shape that the worker expects.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// An argument has no JSON form; nothing was stored.
    #[error("argument `{name}` has no JSON form")]
    Encode {
        /// The parameter.
        name: &'static str,
        /// What serde says.
        source: serde_json::Error,
    },
    /// `args` is no JSON array.
    #[error("args is not a JSON array")]
    NoArray {
        /// What serde says.
        source: serde_json::Error,
    },
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
    #[error("argument {position} (`{name}`) does not decode")]
    Decode {
        /// Counted from 1.
        position: usize,
        /// The parameter.
        name: &'static str,
        /// What serde found, and what it expected.
        source: serde_json::Error,
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
    use super::*;

    #[test]
    fn floats_are_read_to_the_last_bit() {
        // serde_json reads this as its neighbour unless `float_roundtrip` is on.
        let float: f64 = ArgsReader::new("[5.9172516468079116e-8]")
            .unwrap()
            .arg("rate")
            .unwrap();
        assert_eq!(float.to_bits(), 5.917_251_646_807_911_6e-8_f64.to_bits());
    }
}
