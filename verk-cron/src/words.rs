//! Schedules in words.

use std::{fmt::Write, time::Duration};

/// The longest description, in bytes.
const MAX_BYTES: usize = 200;

/// What croner says about an expression, with `Monday through Friday` for the five of them.
pub(crate) fn of_days(description: &str, days: &[u16]) -> String {
    const NAMES: [&str; 7] = [
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
    ];
    let names = days.iter().filter_map(|&day| NAMES.get(usize::from(day)));
    let names = names.copied().collect::<Vec<_>>();
    let is_run = days.windows(2).all(|pair| pair[1] == pair[0] + 1);
    match &names[..] {
        [first, .., last] if is_run && (3..7).contains(&names.len()) => {
            let front = names[..names.len() - 1].join(", ");
            let list = format!("on {front}, and {last}");
            description.replacen(&list, &format!("{first} through {last}"), 1)
        }
        _ => description.to_owned(),
    }
}

/// What croner says about an expression, with the zone.
pub(crate) fn of_cron(description: &str, zone: &str) -> String {
    let description = description.trim_end_matches('.');
    let (mut words, description) = match description.strip_prefix("At every ") {
        Some(rest) => ("Every ".to_owned(), rest),
        None => (String::new(), description),
    };
    if description.len() > MAX_BYTES {
        words.push_str(&description[..description.floor_char_boundary(MAX_BYTES)]);
        words.push_str("...");
    } else {
        words.push_str(description);
    }
    // Writing to a string does not fail.
    let _ = write!(words, ", {zone}");
    words
}

/// `every 10 minutes`, `every hour`, `every 1 day 12 hours`.
pub(crate) fn of_period(period: Duration) -> String {
    let mut rest = period.as_secs();
    let mut parts = Vec::new();
    for (unit, seconds) in [
        ("day", 86_400),
        ("hour", 3_600),
        ("minute", 60),
        ("second", 1),
    ] {
        let count = rest / seconds;
        rest %= seconds;
        match count {
            0 => {}
            1 => parts.push(format!("1 {unit}")),
            _ => parts.push(format!("{count} {unit}s")),
        }
    }
    match &parts[..] {
        [one] => format!("every {}", one.strip_prefix("1 ").unwrap_or(one)),
        _ => format!("every {}", parts.join(" ")),
    }
}
