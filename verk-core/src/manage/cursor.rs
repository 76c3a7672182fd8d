//! Where a list continues: [`Cursor`].

use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
};

use crate::storage::Position;

/// Where a list continues: [`Listed::next`](super::Listed::next) and
/// [`Listed::previous`](super::Listed::previous) are such places. As text it is short, and safe in
/// a URL: its form may change between versions.
///
/// ```
/// use verk_core::manage::Cursor;
///
/// let cursor: Cursor = "n1732387200.000412_1".parse().unwrap();
/// assert_eq!(cursor.to_string(), "n1732387200.000412_1");
/// assert!("1732387200".parse::<Cursor>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cursor {
    /// Whether the page ends here, instead of starting.
    pub(super) is_end: bool,
    /// Counted from the end of the place where the reading starts.
    pub(super) position: Position,
}

/// Text that is no [`Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidCursor(());

impl Display for InvalidCursor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("this is no place in a list")
    }
}

impl std::error::Error for InvalidCursor {}

impl Display for Cursor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_end { "p" } else { "n" })?;
        match self.position {
            Position::Index(index) => index.fmt(f),
            Position::Score { score, skip } => write!(f, "{}_{skip}", Score(score)),
        }
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (is_end, place) = match text.split_at_checked(1) {
            Some(("n", place)) => (false, place),
            Some(("p", place)) => (true, place),
            _ => return Err(InvalidCursor(())),
        };
        let position = match place.split_once('_') {
            Some((score, skip)) => Score::parse(score)
                .zip(number(skip))
                .map(|(Score(score), skip)| Position::Score { score, skip }),
            None => number(place).map(Position::Index),
        };
        let position = position.ok_or(InvalidCursor(()))?;
        Ok(Self { is_end, position })
    }
}

/// A whole number without a sign.
fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// A score as text, every digit of it: `1732387200.000412`, `1e300`, `-inf`. It has no sign `+`,
/// which a URL would change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Score(pub(super) f64);

impl Score {
    /// The longest text that is read. A score that verk writes has at most 24 bytes.
    const MAX_BYTES: usize = 400;

    /// Any number but NaN.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > Self::MAX_BYTES {
            return None;
        }
        let score: f64 = text.parse().ok()?;
        (!score.is_nan()).then_some(Self(score))
    }
}

impl Display for Score {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        if size == 0.0 || (1e-5..1e16).contains(&size) || size.is_infinite() {
            self.0.fmt(f)
        } else {
            fmt::LowerExp::fmt(&self.0, f)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores() -> Vec<f64> {
        vec![
            0.0,
            -1.5,
            1_732_387_200.000_412,
            0.1 + 0.2,
            1e-7,
            1e15,
            1e16,
            -1e300,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ]
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let scores = scores().into_iter();
        let mut positions: Vec<Position> = scores
            .map(|score| Position::Score { score, skip: 7 })
            .collect();
        positions.extend([0, 1, u64::MAX].map(Position::Index));
        for position in positions {
            for is_end in [false, true] {
                let cursor = Cursor { is_end, position };
                let text = cursor.to_string();
                assert!(text.len() <= 40, "{text}");
                let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                assert!(text.bytes().all(is_safe), "{text}");
                assert_eq!(text.parse(), Ok(cursor), "{text}");
            }
        }
    }

    #[test]
    fn other_text_is_refused() {
        let long = format!("n{}_0", "1".repeat(1_000_000));
        for text in [
            "",
            "n",
            "p",
            "x1",
            "n1.5",
            "n-1",
            "n+1",
            "nNaN_0",
            "nnan_1",
            "n1_",
            "n_1",
            "n1_-1",
            "n1_+1",
            "n1_99999999999999999999",
            "n99999999999999999999",
            "n1_1_1",
            "n1 _1",
            "ü1",
            "\0",
            "n0x10_0",
            &long,
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor(())), "{text:.40}");
        }
    }
}
