//! What is wrong with a schedule, and where.

use std::{fmt, ops::Range, time::Duration};

use thiserror::Error;

/// The longest piece of a wrong text that an error repeats, in bytes.
const SHOWN_BYTES: usize = 64;

/// A field of an expression.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Field {
    /// 0 to 59, in an expression of six fields.
    Second,
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    DayOfMonth,
    /// 1 to 12, `JAN` to `DEC`.
    Month,
    /// 0 to 7, `SUN` to `SAT`.
    DayOfWeek,
}

impl Field {
    /// The values that the field takes, in words.
    #[must_use]
    pub fn range(self) -> &'static str {
        match self {
            Self::Second | Self::Minute => "0 to 59",
            Self::Hour => "0 to 23",
            Self::DayOfMonth => "1 to 31, `L`, `LW` or `15W`",
            Self::Month => "1 to 12, or `JAN` to `DEC`",
            Self::DayOfWeek => "0 to 7, or `SUN` to `SAT`",
        }
    }

    /// The least and the greatest value.
    pub(crate) fn bounds(self) -> (u16, u16) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 7),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        })
    }
}

/// Why a field does not take what it has.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Why {
    /// A number is below or above the range.
    #[error("out of range")]
    OutOfRange,
    /// `5-1`.
    #[error("a range has the smaller value first")]
    Backwards,
    /// `*/0`, or a step that is longer than the range.
    #[error("a step is from 1 to the length of the range")]
    Step,
    /// `5/15`.
    #[error("a step needs a range, such as `*/15` or `5-59/15`")]
    StepWithoutRange,
    /// Nothing between two commas.
    #[error("there is nothing between its commas")]
    Empty,
    /// A word that is no name of the field.
    #[error("an unknown name{}", did_you_mean(.nearest.as_deref()))]
    Word {
        /// The name that it resembles.
        nearest: Option<String>,
    },
    /// Anything else.
    #[error("it is no value, range or step")]
    Syntax,
}

/// A schedule that cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidSchedule {
    /// The expression has more than 256 bytes.
    #[error("the expression has {bytes} bytes, and at most 256 are allowed")]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// The expression has fewer than five or more than six fields.
    #[error(
        "the expression has {} and needs five: minute, hour, day of month, month, day of week; or \
         six, with the second first", fields(*.count)
    )]
    Fields {
        /// How many it has.
        count: usize,
    },
    /// `@` and a word that does not exist.
    #[error(
        "`{word}` is unknown: there are `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly`"
    )]
    Nickname {
        /// The word, cut to 64 bytes.
        word: String,
    },
    /// A field has something that it does not take.
    #[error("`{token}` is no {field}, which is {}: {why}", .field.range())]
    Field {
        /// Which field.
        field: Field,
        /// The wrong part of it, cut to 64 bytes.
        token: String,
        /// Where that part is in the expression, in bytes.
        span: Range<usize>,
        /// What is wrong with it.
        why: Why,
    },
    /// No day fits the expression, as `0 0 31 2 *`.
    #[error("no day fits the expression: it is never due")]
    Never,
    /// The zone is not in the IANA database.
    #[error("the time zone `{zone}` is unknown{}", did_you_mean(.nearest.as_deref()))]
    UnknownZone {
        /// The name, cut to 64 bytes.
        zone: String,
        /// The name that it resembles.
        nearest: Option<String>,
    },
    /// A period that is not between one second and 366 days, or not in whole seconds.
    #[error("a period is 1 second to 366 days, in whole seconds, not {period:?}")]
    Period {
        /// The period.
        period: Duration,
    },
}

impl InvalidSchedule {
    /// Where the wrong part is in the expression, in bytes. `None` if all of it is wrong, or not
    /// the expression.
    #[must_use]
    pub fn span(&self) -> Option<Range<usize>> {
        match self {
            Self::Field { span, .. } => Some(span.clone()),
            _ => None,
        }
    }

    /// Whether the zone is wrong, not the expression.
    #[must_use]
    pub fn is_zone(&self) -> bool {
        matches!(self, Self::UnknownZone { .. })
    }
}

/// The first bytes of a wrong text.
pub(crate) fn shown(text: &str) -> String {
    let shown = &text[..text.floor_char_boundary(SHOWN_BYTES)];
    let dots = if shown.len() < text.len() { "..." } else { "" };
    format!("{}{dots}", shown.escape_debug())
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

fn fields(count: usize) -> String {
    match count {
        0 => "no field".to_owned(),
        1 => "one field".to_owned(),
        _ => format!("{count} fields"),
    }
}
