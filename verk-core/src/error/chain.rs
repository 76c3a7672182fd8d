//! An error and its sources as text: [`ErrorChain`].
//!
//! An error is foreign code. Its sources may have no end, because one is its own source, and its
//! text may be long or endless. So both are cut.

use std::{
    error::Error,
    fmt::{self, Write},
    iter,
};

use crate::job::MAX_MESSAGE_CHARS;

/// Prints an error and its sources in one line, for a log or for an error that has another one.
///
/// Many errors print the source that they also return. Text that was printed already is left out.
/// At most 10 000 characters and 32 sources are read, also of an error that is its own source.
///
/// ```
/// use verk_core::error::ErrorChain;
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("cannot read the port")]
/// struct NoPort(#[source] std::num::ParseIntError);
///
/// let error = NoPort("http".parse::<u16>().unwrap_err());
/// let line = ErrorChain(&error).to_string();
/// assert_eq!(line, "cannot read the port: invalid digit found in string");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = Bounded::new(MAX_MESSAGE_CHARS);
        said.push(self.0);
        for source in sources(self.0) {
            let text = text_of(source);
            if !said.text.contains(&text) {
                said.push(format_args!(": {text}"));
            }
        }
        f.write_str(&said.text)
    }
}

/// The sources of an error, at most [`MAX_SOURCES`].
pub(crate) fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(error.source(), |&error| error.source()).take(MAX_SOURCES)
}

/// What an error prints, cut after [`MAX_MESSAGE_CHARS`].
pub(crate) fn text_of(error: &(dyn Error + 'static)) -> String {
    cut(error, MAX_MESSAGE_CHARS)
}

/// The text of `value`, stopped after so many characters.
pub(crate) fn cut(value: impl fmt::Display, max_chars: usize) -> String {
    let mut text = Bounded::new(max_chars);
    text.push(value);
    text.text
}

/// Text that takes no more than so many characters.
struct Bounded {
    text: String,
    left: usize,
}

impl Bounded {
    fn new(max_chars: usize) -> Self {
        Self {
            text: String::new(),
            left: max_chars,
        }
    }

    fn push(&mut self, value: impl fmt::Display) {
        // It fails when the text is full, and when the value itself fails. Text that it wrote
        // before counts.
        let _ = write!(self, "{value}");
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text.char_indices().nth(self.left) {
            Some((end, _)) => {
                self.text.push_str(&text[..end]);
                self.left = 0;
                // Stops the value, which may never end.
                Err(fmt::Error)
            }
            None => {
                self.text.push_str(text);
                self.left -= text.chars().count();
                Ok(())
            }
        }
    }
}

/// More sources than the errors of a program have.
const MAX_SOURCES: usize = 32;

#[cfg(test)]
mod tests;
