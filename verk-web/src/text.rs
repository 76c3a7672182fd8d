//! Numbers, times and sizes as people read them.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use jiff::{Timestamp, tz::TimeZone};

pub use crate::json::pretty as pretty_json;

/// Between the digits of a number: thin, and no place to break a line.
const GAP: char = '\u{202f}';

/// A count. Templates pass them by reference.
pub(crate) trait Count {
    fn value(&self) -> u64;
}

impl Count for u64 {
    fn value(&self) -> u64 {
        *self
    }
}

impl Count for usize {
    fn value(&self) -> u64 {
        u64::try_from(*self).unwrap_or(u64::MAX)
    }
}

impl<T: Count> Count for &T {
    fn value(&self) -> u64 {
        (**self).value()
    }
}

/// A whole number in groups of three digits: `98 567`.
pub(crate) fn count(number: impl Count) -> String {
    let digits = number.value().to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(GAP);
        }
        text.push(digit);
    }
    text
}

/// A number with as many digits as matter: `0.04`, `3.1`, `418`, `2 210`.
#[must_use]
pub fn number(number: f64) -> String {
    if !number.is_finite() {
        return "–".to_owned();
    }
    let size = number.abs();
    if size >= 99.95 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates, and the sign is written"
        )]
        let whole = count(size.round() as u64);
        return if number < 0.0 {
            format!("-{whole}")
        } else {
            whole
        };
    }
    let digits = if size >= 9.995 || size == 0.0 {
        0
    } else {
        1 + usize::from(size < 0.95)
    };
    format!("{number:.digits$}")
}

/// A time in its two largest units: `0.04 s`, `4 min 12 s`, `3 d 4 h`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (large, small) = match seconds {
        0..=9 => {
            let milliseconds = duration.as_millis();
            return match milliseconds {
                0..=999 => format!("{milliseconds} ms"),
                _ => format!("{} s", number(duration.as_secs_f64())),
            };
        }
        10..=59 => return format!("{seconds} s"),
        60..=3_599 => ((seconds / 60, "min"), (seconds % 60, "s")),
        3_600..=86_399 => ((seconds / 3_600, "h"), (seconds % 3_600 / 60, "min")),
        86_400..=31_535_999 => ((seconds / 86_400, "d"), (seconds % 86_400 / 3_600, "h")),
        _ => (
            (seconds / 31_536_000, "y"),
            (seconds % 31_536_000 / 86_400, "d"),
        ),
    };
    match (large, small) {
        ((large, unit), (0, _)) => format!("{} {unit}", count(large)),
        ((large, unit), (small, of)) => format!("{} {unit} {small} {of}", count(large)),
    }
}

/// How long ago, or in how long: `4 min 12 s ago`, `in 40 s`, `now`.
#[must_use]
pub fn relative(at: SystemTime, now: SystemTime) -> String {
    let whole = |by: Duration| Duration::from_secs(by.as_secs());
    match now.duration_since(at) {
        Ok(by) if by.as_secs() == 0 => "now".to_owned(),
        Err(by) if by.duration().as_secs() == 0 => "now".to_owned(),
        Ok(ago) if ago.as_secs() < 10 => format!("{} s ago", ago.as_secs()),
        Ok(ago) => format!("{} ago", duration(whole(ago))),
        Err(ahead) if ahead.duration().as_secs() < 10 => {
            format!("in {} s", ahead.duration().as_secs())
        }
        Err(ahead) => format!("in {}", duration(whole(ahead.duration()))),
    }
}

/// A time as RFC 3339 in UTC, in milliseconds: for programs, and for the script, which shows it in
/// the zone of the reader. Times that no calendar has are their seconds since 1970.
#[must_use]
pub fn rfc3339(at: SystemTime) -> String {
    let seconds = verk_core::time::unix_seconds(at);
    match Timestamp::try_from(at) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => format!("{seconds}"),
    }
}

/// A time as a page shows it.
#[derive(Debug, PartialEq)]
pub(crate) struct When {
    /// For the script.
    pub(crate) rfc: String,
    /// For people: `2026-11-28 14:02:11 UTC`.
    pub(crate) utc: String,
    /// How long ago, or in how long.
    pub(crate) age: String,
}

pub(crate) fn when(time: SystemTime, now: SystemTime) -> When {
    When {
        rfc: rfc3339(time),
        utc: at(time),
        age: relative(time, now),
    }
}

/// A part of a sentence.
#[derive(Debug, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    Time(When),
}

/// A sentence in parts: its times are as RFC 3339 writes them, in UTC and whole seconds.
pub(crate) fn pieces(sentence: &str, now: SystemTime) -> Vec<Piece> {
    const LENGTH: usize = "2026-11-28T14:02:11Z".len();
    let (mut pieces, mut text, mut left) = (Vec::new(), String::new(), sentence);
    while let Some(first) = left.chars().next() {
        let time = left.get(..LENGTH).filter(|time| time.ends_with('Z'));
        if let Some(time) = time.and_then(|time| time.parse::<Timestamp>().ok()) {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
            let seconds = time.as_duration().as_secs_f64();
            let time = verk_core::time::from_unix_seconds(seconds);
            pieces.push(Piece::Time(when(time, now)));
            left = left.get(LENGTH..).unwrap_or_default();
        } else {
            text.push(first);
            left = left.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    pieces.push(Piece::Text(text));
    pieces
}

/// A time for people, in UTC: `2026-11-28 14:02:11 UTC`.
pub(crate) fn at(at: SystemTime) -> String {
    match Timestamp::try_from(at) {
        Ok(time) => time
            .to_zoned_datetime(TimeZone::UTC)
            .strftime("%Y-%m-%d %H:%M:%S UTC")
            .to_string(),
        Err(_) => rfc3339(at),
    }
}

/// A time in a zone, for people: `2026-11-28 15:02:11 CET`. `None` if there is no such zone here.
#[cfg(feature = "cron")]
pub(crate) fn local(at: SystemTime, zone: &str) -> Option<String> {
    let named = jiff::tz::db().get(zone);
    let bundled = || jiff::tz::TimeZoneDatabase::bundled().get(zone);
    let zone = named.or_else(|_| bundled()).ok()?;
    let time = Timestamp::try_from(at).ok()?.to_zoned_datetime(zone);
    Some(time.strftime("%Y-%m-%d %H:%M:%S %Z").to_string())
}

/// A size: `412 bytes`, `16.6 MiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1_024 {
        return format!("{bytes} bytes");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut size = bytes as f64;
    let mut unit = "bytes";
    for larger in UNITS {
        if size < 1_024.0 {
            break;
        }
        (size, unit) = (size / 1_024.0, larger);
    }
    format!("{} {unit}", number(size))
}

/// `1 job`, `2 jobs`.
pub(crate) fn some(number: impl Count, one: &str, many: &str) -> String {
    let number = number.value();
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// The first `max` characters of a text from outside, in one line.
pub(crate) fn short(text: &str, max: usize) -> String {
    let line = text.split(['\n', '\r']).next().unwrap_or_default();
    let mut chars = line.chars();
    let mut short: String = chars.by_ref().take(max).collect();
    if chars.next().is_some() || line.len() < text.trim_end().len() {
        short.push('…');
    }
    short
}

/// The first `max` characters of a text from outside, with its lines.
pub(crate) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A name from outside, or words instead of one that nobody could see or click.
pub(crate) fn visible(name: impl fmt::Display) -> String {
    let name = name.to_string();
    // Spaces, and what only changes how other signs are written.
    let is_invisible = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if name.chars().all(is_invisible) {
        "(no visible name)".to_owned()
    } else {
        name
    }
}

/// A text of the log as a sentence.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars
        .next()
        .map(|first| first.to_uppercase().collect::<String>());
    format!("{}{}.", first.unwrap_or_default(), chars.as_str())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn counts_have_groups_of_three() {
        for (number, text) in [
            (0_u64, "0"),
            (999, "999"),
            (1_000, "1\u{202f}000"),
            (1_204_331, "1\u{202f}204\u{202f}331"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(some(1_u64, "job", "jobs"), "1 job");
        assert_eq!(some(0_u64, "job", "jobs"), "0 jobs");
    }

    #[test]
    fn numbers_show_what_matters() {
        for (value, text) in [
            (0.0, "0"),
            (0.042, "0.04"),
            (0.97, "1.0"),
            (3.12, "3.1"),
            (42.4, "42"),
            (418.2, "418"),
            (2_210.0, "2\u{202f}210"),
            (-3.0, "-3.0"),
            (f64::NAN, "–"),
            (f64::INFINITY, "–"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn durations_have_two_units() {
        for (milliseconds, text) in [
            (0, "0 ms"),
            (40, "40 ms"),
            (1_800, "1.8 s"),
            (59_999, "59 s"),
            (252_000, "4 min 12 s"),
            (3_600_000, "1 h"),
            (3_780_000, "1 h 3 min"),
            (90_000_000, "1 d 1 h"),
            (31_536_000_000 * 2 + 86_400_000, "2 y 1 d"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn times_are_relative_and_absolute() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let second = Duration::from_secs(1);
        assert_eq!(relative(now, now), "now");
        assert_eq!(relative(now + second / 2, now), "now");
        assert_eq!(relative(now - 5 * second, now), "5 s ago");
        assert_eq!(relative(now - 65 * second, now), "1 min 5 s ago");
        assert_eq!(relative(now + 40 * second, now), "in 40 s");
        assert_eq!(rfc3339(now), "2023-11-14T22:13:20.000Z");
        assert_eq!(at(now), "2023-11-14 22:13:20 UTC");
        // What no calendar has.
        let far = verk_core::time::from_unix_seconds(1e18);
        assert!(at(far).parse::<f64>().is_ok(), "{}", at(far));
    }

    #[test]
    fn times_of_a_sentence_are_found() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let text = |text: &str| Piece::Text(text.to_owned());
        assert_eq!(
            pieces("It died 2023-11-14T22:13:20Z after é.", now),
            [
                text("It died "),
                Piece::Time(when(now, now)),
                text(" after é.")
            ]
        );
        for none in [
            "",
            "2023-11-14T22:13:99Z",
            "x2023-11-14T22:13:20",
            "ééééééééééZ",
        ] {
            assert_eq!(pieces(none, now), [text(none)]);
        }
    }

    #[test]
    fn sizes_and_short_texts() {
        assert_eq!(bytes(412), "412 bytes");
        assert_eq!(bytes(17_400_000), "17 MiB");
        assert_eq!(short("one\ntwo", 10), "one…");
        assert_eq!(short("ééééé", 3), "ééé…");
        assert_eq!(short("same", 4), "same");
        assert_eq!(cut("é\né", 2), "é\n…");
        assert_eq!(cut("é\n", 2), "é\n");
        assert_eq!((visible(" a"), visible("💥")), (" a".into(), "💥".into()));
        for nothing in ["", " \t", "\0", "\u{202e}\u{feff}"] {
            assert_eq!(visible(nothing), "(no visible name)");
        }
    }
}
