//! Days and minutes in UTC.

use std::{
    fmt,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::Offset,
};

/// A day in UTC, shown as `YYYY-MM-DD`.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use verk_core::stats::Day;
///
/// let day = Day::of(UNIX_EPOCH + Duration::from_secs(1_709_251_199));
/// assert_eq!(day.to_string(), "2024-02-29");
/// assert_eq!(day, "2024-02-29".parse()?);
/// assert_eq!(day.previous().to_string(), "2024-02-28");
/// # Ok::<(), verk_core::stats::InvalidDay>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Date);

impl Day {
    /// Returns the day of `time`; 1970-01-01 for earlier times, 9999-12-30 for later ones.
    #[must_use]
    pub fn of(time: SystemTime) -> Self {
        Self(utc(time).date())
    }

    /// Returns the day before; for the first day, the day itself.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.yesterday().unwrap_or(self.0))
    }
}

/// The date and time of day of `time`, within the years 1970 to 9999.
pub(crate) fn utc(time: SystemTime) -> DateTime {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |after| after.as_secs());
    let timestamp = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or(Timestamp::MAX);
    Offset::UTC.to_datetime(timestamp)
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04}-{:02}-{:02}",
            self.0.year(),
            self.0.month(),
            self.0.day()
        )
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads `YYYY-MM-DD`, and nothing else.
impl FromStr for Day {
    type Err = InvalidDay;

    fn from_str(text: &str) -> Result<Self, InvalidDay> {
        let day = text.parse().ok().map(Self);
        day.filter(|day| day.to_string() == text)
            .ok_or_else(|| InvalidDay {
                text: text.chars().take(64).collect(),
            })
    }
}

/// The text is no day. Write it in the form `YYYY-MM-DD`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no day: it must be written as YYYY-MM-DD")]
pub struct InvalidDay {
    text: String,
}

/// A minute in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(DateTime);

impl Minute {
    /// The minute of `time`, with the bounds of [`Day::of`](crate::stats::Day::of).
    #[must_use]
    pub fn of(time: SystemTime) -> Self {
        let time = utc(time);
        // Without its seconds it is still a valid time of day.
        Self(time.date().at(time.hour(), time.minute(), 0, 0))
    }

    /// The year: 1970 to 9999.
    #[must_use]
    pub fn year(self) -> i16 {
        self.0.year()
    }

    /// The month, from 1.
    #[must_use]
    pub fn month(self) -> i8 {
        self.0.month()
    }

    /// The day of the month, from 1.
    #[must_use]
    pub fn day(self) -> i8 {
        self.0.day()
    }

    /// The hour, 0 to 23.
    #[must_use]
    pub fn hour(self) -> i8 {
        self.0.hour()
    }

    /// The minute of the hour, 0 to 59.
    #[must_use]
    pub fn minute(self) -> i8 {
        self.0.minute()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        let days = [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (1_735_689_599, "2024-12-31"),
            (1_735_689_600, "2025-01-01"),
        ];
        for (second, day) in days {
            assert_eq!(Day::of(at(second)).to_string(), day);
        }
        assert_eq!(
            Day::of(at(1_735_689_600)).previous().to_string(),
            "2024-12-31"
        );
        assert_eq!(
            Day::of(UNIX_EPOCH - Duration::from_secs(1)),
            Day::of(UNIX_EPOCH)
        );
        assert!(
            Day::of(at(i64::MAX as u64 / 2))
                .to_string()
                .starts_with("9999-")
        );
    }

    #[test]
    fn only_its_one_form_is_a_day() {
        for text in [
            "",
            "20250101",
            "2025-1-1",
            "2025-02-30",
            "2025-01-01T00:00",
            "default",
        ] {
            assert!(text.parse::<Day>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_minute_has_no_seconds() {
        let at = |second| Minute::of(UNIX_EPOCH + Duration::from_secs(second));
        assert_eq!(at(1_739_522_580), at(1_739_522_639));
        assert_ne!(at(1_739_522_639), at(1_739_522_640));
        let minute = at(1_739_522_580);
        let date = (minute.year(), minute.month(), minute.day());
        assert_eq!(
            (date, minute.hour(), minute.minute()),
            ((2025, 2, 14), 8, 43)
        );
    }
}
