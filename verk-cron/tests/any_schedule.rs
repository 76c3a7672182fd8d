//! What holds for any text, and for any schedule at any time.

use std::time::{Duration, SystemTime};

use jiff::ToSpan;
use proptest::prelude::*;
use verk_cron::{InvalidSchedule, Schedule};
use verk_testing::fuzz::{fuzz, lines};

#[test]
fn any_text_is_a_schedule_or_an_error_of_bounded_size() {
    let words = &[
        "*",
        "/",
        "-",
        ",",
        "#",
        "L",
        "W",
        "?",
        "+",
        " ",
        "@",
        "@daily",
        "MON",
        "SUN-",
        "JAN",
        "0",
        "59",
        "60",
        "31",
        "99999999999",
        "\u{661}",
        "|",
        "Europe/",
        "UTC",
    ];
    fuzz(lines(include_str!("corpus/schedule.txt")), words, |input| {
        let text = String::from_utf8_lossy(input);
        let (expression, zone) = text.split_once('|').unwrap_or((&text, "UTC"));
        match Schedule::cron(expression, zone) {
            Ok(schedule) => {
                assert!(schedule.words().len() < 400);
                let zone = schedule.zone().unwrap();
                let again = Schedule::cron(schedule.expression().unwrap(), zone);
                assert_eq!(again.as_ref(), Ok(&schedule));
                follow(&schedule, SystemTime::UNIX_EPOCH, 20);
            }
            Err(error) => {
                assert!(error.to_string().len() < 500, "{error}");
                if let Some(span) = error.span() {
                    assert!(expression.get(span).is_some_and(|part| !part.is_empty()));
                }
                if let InvalidSchedule::Field { token, .. } = error {
                    assert!(token.len() <= 400);
                }
            }
        }
    });
}

/// Each due time is after the one before, and none is between them.
fn follow(schedule: &Schedule, start: SystemTime, count: usize) {
    let mut last = start;
    for _ in 0..count {
        let Some(next) = schedule.next(last, start) else {
            return;
        };
        assert!(next > last, "{schedule:?}: {next:?} after {last:?}");
        let between = last + next.duration_since(last).unwrap() / 2;
        assert_eq!(
            schedule.next(between, start),
            Some(next),
            "{schedule:?} after {between:?}"
        );
        last = next;
    }
}

fn zone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Nuuk",
        "America/Santiago",
        "Antarctica/Casey",
        "Antarctica/Troll",
        "Africa/Cairo",
        "Africa/Casablanca",
        "Asia/Beirut",
        "Asia/Tehran",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Pacific/Chatham",
    ])
}

/// A field: a value, a list, a range, a step or all.
fn field(least: u32, most: u32) -> impl Strategy<Value = String> {
    let value = move || least..=most;
    prop_oneof![
        Just("*".to_owned()),
        value().prop_map(|value| value.to_string()),
        (value(), value()).prop_map(|(a, b)| format!("{a},{b}")),
        (value(), value()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        (1..=most - least).prop_map(|step| format!("*/{step}")),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    (
        field(0, 59),
        field(0, 23),
        field(1, 28),
        field(1, 12),
        field(0, 6),
    )
        .prop_map(|(minute, hour, day, month, weekday)| {
            format!("{minute} {hour} {day} {month} {weekday}")
        })
}

/// An instant from 2000 to 2040, to the nanosecond.
fn instant() -> impl Strategy<Value = SystemTime> {
    (946_684_800_u64..2_208_988_800, 0..1_000_000_000_u32)
        .prop_map(|(seconds, nanos)| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos))
}

proptest! {
    #[test]
    fn any_expression_has_increasing_times(
        expression in expression(), zone in zone(), start in instant(),
    ) {
        let schedule = Schedule::cron(&expression, zone).unwrap();
        follow(&schedule, start, 50);
    }

    #[test]
    fn any_list_ends_with_the_last_time(
        expression in expression(), zone in zone(), start in instant(), days in 0..40_u64,
    ) {
        let schedule = Schedule::cron(&expression, zone).unwrap();
        let until = start + Duration::from_secs(days * 86_400);
        let (due, more) = schedule.between(start, until, start, usize::MAX);
        prop_assert!(!more);
        prop_assert_eq!(due.last().copied(), schedule.last(start, until, start));
        let (some, more) = schedule.between(start, until, start, 3);
        prop_assert_eq!(&some[..], &due[..due.len().min(3)]);
        prop_assert_eq!(more, due.len() > 3);
    }

    #[test]
    fn any_period_is_due_at_its_multiples(
        seconds in 1..=31_622_400_u64, start in instant(), after in instant(),
    ) {
        let schedule = Schedule::every(Duration::from_secs(seconds)).unwrap();
        let next = schedule.next(after, start).unwrap();
        prop_assert!(next > after && next > start);
        let since = next.duration_since(start).unwrap();
        prop_assert_eq!(since.as_nanos() % (u128::from(seconds) * 1_000_000_000), 0);
        let before = next - Duration::from_secs(seconds);
        prop_assert!(before <= after || before == start);
        follow(&schedule, after, 5);
    }

    // 92 to 100, but others where a zone moved by more than an hour, and none on the day that Samoa
    // left out.
    #[test]
    fn any_local_day_has_its_quarters(zone in zone(), days in 0..15_000_i64) {
        let day = jiff::civil::date(2000, 1, 1).checked_add(days.days()).unwrap();
        let begins = |day: jiff::civil::Date| SystemTime::UNIX_EPOCH + Duration::from_secs(
            day.in_tz(zone).unwrap().timestamp().as_second().unsigned_abs(),
        );
        let (start, end) = (begins(day), begins(day.tomorrow().unwrap()));
        let schedule = Schedule::cron("*/15 * * * *", zone).unwrap();
        let instant = Duration::from_nanos(1);
        let (due, _) = schedule.between(start - instant, end - instant, start, 1_000);
        let length = end.duration_since(start).unwrap().as_secs();
        prop_assert_eq!(due.len(), usize::try_from(length / 900).unwrap());
    }
}
