//! The fields above a list: [`Filters`].

use std::time::SystemTime;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use verk_core::{manage::Filter, time::from_unix_seconds};

use crate::{context::Params, failure::Failure, place::Place};

/// The names of the fields, which are those of the query.
const FIELDS: [&str; 6] = ["class", "queue", "error", "text", "since", "until"];

/// The longest field. Pages show the fields, and the audit has them.
const MAX_FIELD: usize = 1_024;

/// What a visitor filters a list by, as it was typed. Empty fields filter nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    fields: [String; FIELDS.len()],
    since: Option<SystemTime>,
    until: Option<SystemTime>,
}

impl Filters {
    /// Reads the filter of a query or a form. Fields that a place does not have are ignored. The
    /// text of a payload is searched only where it may be shown, because a search can guess it.
    pub(crate) fn read(
        params: &Params,
        place: &Place,
        shows_payloads: bool,
    ) -> Result<Self, Failure> {
        let mut filters = Self::default();
        for (field, name) in filters.fields.iter_mut().zip(FIELDS) {
            let has = match name {
                "queue" => !place.is_queue(),
                "error" => place.has_errors(),
                "text" => shows_payloads,
                _ => true,
            };
            if let (true, Some(value)) = (has, params.get(name)) {
                if value.len() > MAX_FIELD {
                    return Err(Failure::bad(format!(
                        "`{name}` is longer than {MAX_FIELD} bytes."
                    )));
                }
                value.clone_into(field);
            }
        }
        filters.since = time(filters.get("since"))?;
        filters.until = time(filters.get("until"))?;
        Ok(filters)
    }

    /// The field as it was typed.
    pub(crate) fn get(&self, name: &str) -> &str {
        let mut fields = FIELDS.iter().zip(&self.fields);
        fields
            .find(|(field, _)| **field == name)
            .map_or("", |(_, value)| value)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.fields.iter().any(|field| !field.is_empty())
    }

    /// The fields that are set, for a form that acts on the same jobs.
    pub(crate) fn set(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let fields = FIELDS
            .into_iter()
            .zip(self.fields.iter().map(String::as_str));
        fields.filter(|(_, value)| !value.is_empty())
    }

    /// The filter for people: `class Charge, error "timeout"`.
    pub(crate) fn phrase(&self) -> String {
        let set: Vec<String> = self
            .set()
            .map(|(name, value)| format!("{name} “{value}”"))
            .collect();
        set.join(", ")
    }

    pub(crate) fn filter(&self) -> Filter {
        let text = |name| Some(self.get(name)).filter(|text| !text.is_empty());
        let mut filter = Filter::new();
        if let Some(class) = text("class") {
            filter = filter.class(class);
        }
        if let Some(queue) = text("queue") {
            filter = filter.queue(queue);
        }
        if let Some(error) = text("error") {
            filter = filter.error(error);
        }
        if let Some(text) = text("text") {
            filter = filter.text(text);
        }
        if let Some(since) = self.since {
            filter = filter.since(since);
        }
        if let Some(until) = self.until {
            filter = filter.until(until);
        }
        filter
    }
}

/// A time as a browser's field writes it (`2026-11-28T14:02`, taken as UTC), or as RFC 3339.
pub(crate) fn time(text: &str) -> Result<Option<SystemTime>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let with_zone = text.parse::<Timestamp>().ok();
    let in_utc = || {
        let time = text.parse::<DateTime>().ok()?;
        Some(time.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp())
    };
    let time = with_zone.or_else(in_utc).ok_or_else(|| {
        Failure::bad(
            "A time is written as 2026-11-28T14:02 (in UTC), or as RFC 3339 with its zone.",
        )
    })?;
    let since_1970 = time.as_duration();
    Ok(Some(from_unix_seconds(since_1970.as_secs_f64())))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_are_read_in_utc_unless_they_say_otherwise() {
        let at = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
        for (text, expected) in [
            ("", None),
            ("2023-11-14T22:13", at(1_699_999_980)),
            ("2023-11-14T22:13:20", at(1_700_000_000)),
            ("2023-11-14T23:13:20+01:00", at(1_700_000_000)),
            ("2023-11-14", at(1_699_920_000)),
        ] {
            assert_eq!(time(text).unwrap(), expected, "{text}");
        }
        for wrong in ["yesterday", "2023-13-01", "1e99", "\0"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_place_ignores_fields_that_it_does_not_have() {
        let params = Params::parse(b"class=A&queue=b&error=c&text=d&since=&until=");
        let read = |place: &Place, shows| {
            let filters = Filters::read(&params, place, shows).unwrap();
            filters.set().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(
            read(&Place::Dead, true),
            ["class", "queue", "error", "text"]
        );
        assert_eq!(read(&Place::Scheduled, false), ["class", "queue"]);
        assert_eq!(read(&Place::queue("b").unwrap(), true), ["class", "text"]);
    }
}
