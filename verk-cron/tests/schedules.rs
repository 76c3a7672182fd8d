//! Schedules by example: each row of the table in the documentation, and the errors.

use std::time::{Duration, SystemTime};

use verk_cron::{Field, InvalidSchedule, Schedule, Why};

/// An instant in UTC, as `2024-03-31T01:00:00Z`.
fn at(text: &str) -> SystemTime {
    let timestamp: jiff::Timestamp = text.parse().unwrap();
    let seconds = u64::try_from(timestamp.as_second()).unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn shown(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).unwrap().to_string()
}

/// The due times of an expression in a time, in UTC.
fn due(expression: &str, zone: &str, after: &str, until: &str) -> Vec<String> {
    let schedule = Schedule::cron(expression, zone).unwrap();
    let (due, more) = schedule.between(at(after), at(until), at(after), 1_000);
    assert!(!more);
    due.into_iter().map(shown).collect()
}

#[test]
fn a_skipped_fixed_time_is_due_at_the_end_of_the_gap() {
    // 2024-03-31 02:00 to 03:00 do not exist in Berlin.
    let night = ["2024-03-30T23:30:00Z", "2024-03-31T05:00:00Z"];
    let due = |expression| due(expression, "Europe/Berlin", night[0], night[1]);
    assert_eq!(due("30 2 * * *"), ["2024-03-31T01:00:00Z"]);
    assert_eq!(due("0 3 * * *"), ["2024-03-31T01:00:00Z"]);
    // Once each, and once together.
    assert_eq!(
        due("0,30 2,3 * * *"),
        ["2024-03-31T01:00:00Z", "2024-03-31T01:30:00Z"]
    );
    assert_eq!(due("10-20 2 * * *"), ["2024-03-31T01:00:00Z"]);
    // Those that repeat follow real time.
    assert_eq!(due("*/30 2 * * *"), Vec::<String>::new());
    assert_eq!(
        due("0 */2 * * *"),
        ["2024-03-31T02:00:00Z", "2024-03-31T04:00:00Z"]
    );
    assert_eq!(due("30 * * * *").len(), 5);
}

#[test]
fn a_repeated_fixed_time_is_due_the_first_time() {
    // 2024-10-27 02:00 to 03:00 exist twice in Berlin.
    let night = ["2024-10-26T22:30:00Z", "2024-10-27T03:59:00Z"];
    let due = |expression| due(expression, "Europe/Berlin", night[0], night[1]);
    assert_eq!(due("30 2 * * *"), ["2024-10-27T00:30:00Z"]);
    assert_eq!(
        due("0 2,3 * * *"),
        ["2024-10-27T00:00:00Z", "2024-10-27T02:00:00Z"]
    );
    assert_eq!(due("30 * * * *").len(), 5);
}

#[test]
fn the_next_of_a_repeated_fixed_time_is_found_from_its_second_pass() {
    let schedule = Schedule::cron("30 2 * * *", "Europe/Berlin").unwrap();
    let second_pass = at("2024-10-27T01:10:00Z");
    let next = schedule.next(second_pass, second_pass).unwrap();
    assert_eq!(shown(next), "2024-10-28T01:30:00Z");
}

#[test]
fn a_gap_across_midnight_keeps_a_time_of_the_day_before() {
    // In Nuuk, 2025-03-29 23:00 to 24:00 do not exist. It is a Saturday.
    assert_eq!(
        due(
            "30 23 * * SAT",
            "America/Nuuk",
            "2025-03-29T12:00:00Z",
            "2025-03-30T12:00:00Z"
        ),
        ["2025-03-30T01:00:00Z"]
    );
}

#[test]
fn a_gap_of_three_hours_keeps_its_times() {
    // In Casey, 2020-10-04 00:01 to 03:01 do not exist.
    assert_eq!(
        due(
            "30 0 * * *",
            "Antarctica/Casey",
            "2020-10-03T12:00:00Z",
            "2020-10-04T12:00:00Z"
        ),
        ["2020-10-03T16:01:00Z"]
    );
}

#[test]
fn a_day_that_does_not_exist_is_left_out() {
    // Samoa had no 2011-12-30, which would have been a Friday.
    let week = ["2011-12-29T00:00:00Z", "2012-01-07T12:00:00Z"];
    let due = |expression| due(expression, "Pacific/Apia", week[0], week[1]);
    assert_eq!(due("0 7 * * FRI"), ["2012-01-05T17:00:00Z"]);
    assert_eq!(due("0 7 30 12 *"), Vec::<String>::new());
    assert_eq!(
        due("0 7 * * *")[..3],
        [
            "2011-12-29T17:00:00Z",
            "2011-12-30T17:00:00Z",
            "2011-12-31T17:00:00Z"
        ]
    );
    assert_eq!(
        due("0 */6 * * *")[3..9],
        [
            "2011-12-29T22:00:00Z",
            "2011-12-30T04:00:00Z",
            "2011-12-30T10:00:00Z",
            "2011-12-30T16:00:00Z",
            "2011-12-30T22:00:00Z",
            "2011-12-31T04:00:00Z",
        ]
    );
}

#[test]
fn half_an_hour_is_skipped_and_repeated_in_lord_howe() {
    let due = |expression, after, until| due(expression, "Australia/Lord_Howe", after, until);
    // 2024-10-06 02:00 becomes 02:30, and 2024-04-07 02:00 becomes 01:30.
    let spring = ["2024-10-05T15:00:00Z", "2024-10-05T17:00:00Z"];
    assert_eq!(
        due("15 2 * * *", spring[0], spring[1]),
        ["2024-10-05T15:30:00Z"]
    );
    assert_eq!(due("*/15 * * * *", spring[0], spring[1]).len(), 8);
    let autumn = ["2024-04-06T14:00:00Z", "2024-04-06T17:00:00Z"];
    assert_eq!(
        due("45 1 * * *", autumn[0], autumn[1]),
        ["2024-04-06T14:45:00Z"]
    );
    assert_eq!(
        due("45 * * * *", autumn[0], autumn[1]),
        ["14:45", "15:15", "16:15"].map(|time| format!("2024-04-06T{time}:00Z"))
    );
}

#[test]
fn days_are_found_in_each_form() {
    let year = ["2023-12-31T12:00:00Z", "2024-04-30T12:00:00Z"];
    let due = |expression| {
        let days = due(expression, "UTC", year[0], year[1]);
        days.iter()
            .map(|day| day[5..10].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(due("0 7 L * *"), ["01-31", "02-29", "03-31", "04-30"]);
    assert_eq!(due("0 7 LW 2,3 *"), ["02-29", "03-29"]);
    assert_eq!(due("0 7 17W 2,3 *"), ["02-16", "03-18"]);
    assert_eq!(due("0 7 * * fri#2"), ["01-12", "02-09", "03-08", "04-12"]);
    assert_eq!(due("0 7 ? * FRIL"), ["01-26", "02-23", "03-29", "04-26"]);
    assert_eq!(due("0 7 13 * +FRI"), Vec::<String>::new());
    assert_eq!(due("0 7 1 jan,feb MON").len(), 2 + 9 - 1);
    assert_eq!(due("0 7 * feb FRI-SUN").len(), 12);
    assert_eq!(due("@monthly"), ["01-01", "02-01", "03-01", "04-01"]);
    assert_eq!(due("0 0 7 1 3 *"), ["03-01"]);
}

#[test]
fn what_is_due_in_no_year_is_refused_and_what_is_rare_is_found() {
    for never in [
        "0 0 31 2 *",
        "0 0 30 feb ?",
        "* * 31 4,6,9,11 *",
        "0 0 30 2 +MON",
    ] {
        assert_eq!(
            Schedule::cron(never, "UTC"),
            Err(InvalidSchedule::Never),
            "{never}"
        );
    }
    let leap_day = Schedule::cron("* * 29 2 +MON", "Europe/Berlin").unwrap();
    let start = at("2024-02-29T12:00:00Z");
    assert_eq!(
        shown(leap_day.next(start, start).unwrap()),
        "2044-02-28T23:00:00Z"
    );
    let last = at("4999-12-31T23:59:59Z");
    let daily = Schedule::cron("@daily", "UTC").unwrap();
    assert!(daily.next(last, last).is_some());
    let end = at("9999-12-30T21:00:00Z");
    assert_eq!(daily.next(end, end), None);
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1 << 40);
    assert_eq!(daily.next(before, before), Some(SystemTime::UNIX_EPOCH));
}

#[test]
fn an_error_is_at_its_part() {
    let wrong = |expression: &str| match Schedule::cron(expression, "UTC") {
        Err(InvalidSchedule::Field {
            field, span, why, ..
        }) => (field, expression[span].to_owned(), why),
        other => panic!("{expression}: {other:?}"),
    };
    let word = |nearest: Option<&str>| Why::Word {
        nearest: nearest.map(str::to_owned),
    };
    for (expression, field, token, why) in [
        ("60 * * * *", Field::Minute, "60", Why::OutOfRange),
        ("0  0-24 * * *", Field::Hour, "0-24", Why::OutOfRange),
        ("0 0 1,0,3 * *", Field::DayOfMonth, "0", Why::OutOfRange),
        ("0 0 32W * *", Field::DayOfMonth, "32W", Why::OutOfRange),
        (
            "0 0 1--100000000 * *",
            Field::DayOfMonth,
            "1--100000000",
            Why::Syntax,
        ),
        (
            "0 0 1-100000000 * *",
            Field::DayOfMonth,
            "1-100000000",
            Why::OutOfRange,
        ),
        ("0 0 * 13 *", Field::Month, "13", Why::OutOfRange),
        ("0 0 * Janury *", Field::Month, "Janury", word(Some("JAN"))),
        (
            "0 0 * * MONDAY",
            Field::DayOfWeek,
            "MONDAY",
            word(Some("MON")),
        ),
        ("0 0 * * XYZ", Field::DayOfWeek, "XYZ", word(None)),
        (
            "0 0 * * FRI-MON",
            Field::DayOfWeek,
            "FRI-MON",
            Why::Backwards,
        ),
        ("0 0 * * 8", Field::DayOfWeek, "8", Why::OutOfRange),
        ("0 0 * * MON#6", Field::DayOfWeek, "MON#6", Why::Syntax),
        ("0 0 * * L", Field::DayOfWeek, "L", Why::Syntax),
        ("0 0 * * +1,,2", Field::DayOfWeek, "+1,,2", Why::Empty),
        ("mon * * * *", Field::Minute, "mon", word(None)),
        ("*/0 * * * *", Field::Minute, "*/0", Why::Step),
        ("*/90 * * * *", Field::Minute, "*/90", Why::Step),
        (
            "*/99999999999 * * * *",
            Field::Minute,
            "*/99999999999",
            Why::Step,
        ),
        ("5/15 * * * *", Field::Minute, "5/15", Why::StepWithoutRange),
        ("*/15/2 * * * *", Field::Minute, "*/15/2", Why::Syntax),
        ("1,* * * * *", Field::Minute, "*", Why::Syntax),
        ("? * * * *", Field::Minute, "?", Why::Syntax),
        ("0 0 15W3 * *", Field::DayOfMonth, "15W3", Why::Syntax),
        ("61 * * * * *", Field::Second, "61", Why::OutOfRange),
        ("0 0 \u{661} * *", Field::DayOfMonth, "\u{661}", Why::Syntax),
    ] {
        assert_eq!(
            wrong(expression),
            (field, token.to_owned(), why),
            "{expression}"
        );
    }
}

#[test]
fn errors_say_what_to_write() {
    let said =
        |expression: &str, zone: &str| Schedule::cron(expression, zone).unwrap_err().to_string();
    assert_eq!(
        said("61 * * * *", "UTC"),
        "`61` is no minute, which is 0 to 59: out of range"
    );
    assert_eq!(
        said("0 0 * * MONDAY", "UTC"),
        "`MONDAY` is no day of week, which is 0 to 7, or `SUN` to `SAT`: an unknown name, did you \
         mean `MON`?"
    );
    assert!(said("0 0 * *", "UTC").starts_with("the expression has 4 fields and needs five:"));
    assert!(said("0 0 0 * * * 2025", "UTC").starts_with("the expression has 7 fields"));
    assert!(said("", "UTC").starts_with("the expression has no field"));
    assert!(said("@reboot", "UTC").starts_with("`@reboot` is unknown: there are `@hourly`"));
    assert_eq!(
        said(&"1,".repeat(200)[..], "UTC"),
        "the expression has 400 bytes, and at most 256 are allowed"
    );
    assert_eq!(
        said("@daily", "Europe/Berln"),
        "the time zone `Europe/Berln` is unknown, did you mean `Europe/Berlin`?"
    );
    assert_eq!(
        said("@daily", "berlin"),
        "the time zone `berlin` is unknown, did you mean `Europe/Berlin`?"
    );
    assert_eq!(
        said("@daily", "New York"),
        "the time zone `New York` is unknown, did you mean `America/New_York`?"
    );
    for zone in [
        "",
        "Mars/Olympus_Mons",
        "right/UTC",
        "localtime",
        "../../etc/passwd",
        "+02:00",
    ] {
        let error = Schedule::cron("@daily", zone).unwrap_err();
        assert!(error.is_zone(), "{zone}: {error}");
    }
}

#[test]
fn periods_count_from_their_anchor() {
    let start = at("2024-01-01T00:00:00Z") + Duration::from_nanos(7);
    let hourly = Schedule::every(Duration::from_secs(3_600)).unwrap();
    let due = |after| {
        hourly
            .next(after, start)
            .unwrap()
            .duration_since(start)
            .unwrap()
    };
    assert_eq!(due(start), Duration::from_secs(3_600));
    assert_eq!(
        due(start - Duration::from_secs(86_400)),
        Duration::from_secs(3_600)
    );
    assert_eq!(
        due(start + Duration::from_secs(3_599)),
        Duration::from_secs(3_600)
    );
    assert_eq!(
        due(start + Duration::from_secs(3_600)),
        Duration::from_secs(7_200)
    );
    for wrong in [
        Duration::ZERO,
        Duration::from_millis(1_500),
        Duration::from_secs(367 * 86_400),
        Duration::MAX,
    ] {
        let error = Schedule::every(wrong).unwrap_err();
        assert_eq!(error, InvalidSchedule::Period { period: wrong });
    }
}

#[test]
fn no_more_times_than_asked_for_are_listed_and_the_last_is_found() {
    let start = at("2024-01-01T00:00:00Z");
    let until = start + Duration::from_secs(86_400);
    let often = Schedule::cron("* * * * * *", "UTC").unwrap();
    let (due, more) = often.between(start, until, start, 1_000);
    assert_eq!((due.len(), more), (1_000, true));
    assert_eq!(often.between(start, until, start, 0), (Vec::new(), true));
    assert_eq!(often.between(until, start, start, 10), (Vec::new(), false));
    assert_eq!(often.last(start, until, start), Some(until));
    assert_eq!(often.last(until, start, start), None);
    let rarely = Schedule::cron("*/7 3 29 2 *", "Europe/Berlin").unwrap();
    let until = at("2031-05-05T05:05:05Z");
    let last = rarely.last(start, until, start).unwrap();
    assert_eq!(shown(last), "2028-02-29T02:56:00Z");
}

#[test]
fn schedules_are_said_in_words() {
    let words = |expression, zone| Schedule::cron(expression, zone).unwrap().words();
    assert_eq!(
        words("0 7 * * MON-FRI", "europe/berlin"),
        "At 07:00, Monday through Friday, Europe/Berlin"
    );
    assert_eq!(words("*/15 * * * *", "utc"), "Every 15 minutes, UTC");
    assert_eq!(
        words("30 9,17 L * MON,TUE", "UTC"),
        "At minute 30, of hour 9 and 17, on the last day of the month or Monday and Tuesday, UTC"
    );
    let long = format!(
        "{} * * * *",
        (0..59).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
    );
    assert!(words(&long, "UTC").len() < 300);
    let every = |seconds| {
        Schedule::every(Duration::from_secs(seconds))
            .unwrap()
            .words()
    };
    assert_eq!(every(1), "every second");
    assert_eq!(every(600), "every 10 minutes");
    assert_eq!(every(5_400), "every 1 hour 30 minutes");
    assert_eq!(every(86_400), "every day");
}

#[test]
fn schedules_are_equal_by_what_they_say() {
    let cron = |expression, zone| Schedule::cron(expression, zone).unwrap();
    assert_eq!(
        cron(" 0  7 * * * ", "europe/berlin"),
        cron("0 7 * * *", "Europe/Berlin")
    );
    assert_ne!(cron("0 7 * * *", "UTC"), cron("0 7 * * *", "Europe/Berlin"));
    assert_eq!(
        format!("{:?}", cron("0 7 * * *", "UTC")),
        r#"cron("0 7 * * *", tz = "UTC")"#
    );
}
