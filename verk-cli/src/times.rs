//! Times as people write and read them: [`When`].

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// A time, as an argument: a point in time, or a duration before or after now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    At(SystemTime),
    Ago(Duration),
    In(Duration),
}

impl When {
    /// `2h` is two hours ago, and `+2h` in two hours.
    pub(crate) fn before(text: &str) -> Result<Self, String> {
        if let Some(later) = text.strip_prefix('+') {
            return Self::after(later);
        }
        let ago = duration(text).map(Self::Ago);
        let time = ago.or_else(|_| Self::at(text));
        time.map_err(|error| format!("{error}; or 90s, 10m, 2h and 7d for so long ago"))
    }

    /// `2h` is in two hours.
    pub(crate) fn after(text: &str) -> Result<Self, String> {
        duration(text).map(Self::In)
    }

    /// `2026-12-24T18:00` in the zone of this machine, or with an offset as RFC 3339.
    pub(crate) fn at(text: &str) -> Result<Self, String> {
        let with_offset = text.parse::<Timestamp>();
        let time = with_offset.or_else(|_| {
            let local: DateTime = text.parse()?;
            Ok(local.to_zoned_datetime(TimeZone::system())?.timestamp())
        });
        let time = time.map_err(|_: jiff::Error| {
            "a time is written as 2026-12-24T18:00, or with an offset as 2026-12-24T18:00:00Z"
        })?;
        let time = SystemTime::try_from(time).map_err(|_| "no program has that time")?;
        Ok(Self::At(time))
    }

    /// The time, if it is `now`.
    pub(crate) fn time(self, now: SystemTime) -> Option<SystemTime> {
        match self {
            Self::At(time) => Some(time),
            Self::Ago(ago) => now.checked_sub(ago),
            Self::In(later) => now.checked_add(later),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "a duration is written as 90s, 10m, 2h, 1h30m or 7d".to_owned())
}

/// A time in the zone of this machine: `2026-11-29 14:02:11`.
pub(crate) fn local(time: SystemTime, zone: &TimeZone) -> String {
    Timestamp::try_from(time).map_or_else(
        // Such as a score of another program, beyond what a calendar has.
        |_| format!("{}", verk_core::time::unix_seconds(time)),
        |time| {
            let zoned = time.to_zoned_datetime(zone.clone());
            zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
        },
    )
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let hour = Duration::from_secs(3_600);
        for (read, time) in [
            (When::before("2h"), now - 2 * hour),
            (When::before("1h30m"), now - hour - hour / 2),
            (When::before("7d"), now - 7 * 24 * hour),
            (When::before("+2h"), now + 2 * hour),
            (When::after("90s"), now + Duration::from_secs(90)),
            (When::at("2023-11-14T22:13:20Z"), now),
            (When::before("2023-11-14T23:13:20+01:00"), now),
        ] {
            assert_eq!(read.unwrap().time(now), Some(time));
        }
        assert!(When::at("2026-12-24T18:00").is_ok());
        assert!(When::at("2026-12-24").is_ok());
    }

    #[test]
    fn other_text_is_refused_with_an_example() {
        for text in ["", "soon", "-2h", "2", "2026-13-01T00:00", "1e9999s"] {
            assert!(When::after(text).unwrap_err().contains("10m"), "{text}");
            assert!(
                When::at(text).unwrap_err().contains("2026-12-24T18:00"),
                "{text}"
            );
        }
        let far = When::Ago(Duration::MAX);
        assert_eq!(far.time(UNIX_EPOCH), None);
    }

    #[test]
    fn a_time_that_no_calendar_has_is_its_number() {
        let far = verk_core::time::from_unix_seconds(1e18);
        assert!(local(far, &TimeZone::UTC).parse::<f64>().is_ok());
        assert_eq!(local(UNIX_EPOCH, &TimeZone::UTC), "1970-01-01 00:00:00");
    }
}
