//! Expressions: croner reads them, and what it does not say about an error is found here: which
//! part of which field is wrong.

use std::ops::Range;

use croner::{Cron, CronComponent, parser::CronParser};
use jiff::civil::DateTime;

use crate::{
    civil::Civil,
    error::{Field, InvalidSchedule, Why, shown},
    words,
};

/// The longest expression, in bytes.
const MAX_BYTES: usize = 256;

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// An expression that was read.
#[derive(Debug)]
pub(crate) struct Expression {
    cron: Cron,
    /// As it was given, with one space between fields.
    text: String,
    /// Whether no `*` and no `/` says when on a day it is due.
    fixed: bool,
}

impl Expression {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidSchedule> {
        if text.len() > MAX_BYTES {
            return Err(InvalidSchedule::TooLong { bytes: text.len() });
        }
        let words = split(text);
        let fixed = match &words[..] {
            [(word, _)] if word.starts_with('@') => nickname_is_fixed(word)?,
            _ => fields(&words)?,
        };
        let whole = 0..text.len();
        let text = words.iter().map(|(word, _)| *word).collect::<Vec<_>>();
        let text = text.join(" ");
        let Ok(cron) = CronParser::new().parse(&text) else {
            // What croner refuses has an error above. If not, at least none of it is accepted.
            return Err(InvalidSchedule::Field {
                field: Field::Minute,
                token: shown(&text),
                span: whole,
                why: Why::Syntax,
            });
        };
        if words.len() > 1 && !occurs(&text, words.len()) {
            return Err(InvalidSchedule::Never);
        }
        Ok(Self { cron, text, fixed })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// In words, without the zone.
    pub(crate) fn description(&self) -> String {
        words::of_days(
            &self.cron.describe(),
            &self.cron.pattern.days_of_week.values(),
        )
    }

    /// The first local time after `from` that fits, or at it if `inclusive`.
    pub(crate) fn next(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        let found = self.cron.find_next_occurrence(&Civil(from), inclusive);
        found.ok().map(|Civil(next)| next)
    }
}

/// Whether an expression of five or six fields fits any day. The calendar is the same again after
/// 400 years, so croner need not search to its end, the year 5000.
fn occurs(text: &str, fields: usize) -> bool {
    let seconds = if fields == 5 { "0 " } else { "" };
    let cron = CronParser::new().parse(&format!("{seconds}{text} 2000-2400"));
    let first = Civil(DateTime::constant(2000, 1, 1, 0, 0, 0, 0));
    cron.is_ok_and(|cron| cron.find_next_occurrence(&first, true).is_ok())
}

/// The words of a text, each with its place.
fn split(text: &str) -> Vec<(&str, Range<usize>)> {
    text.split_ascii_whitespace()
        .map(|word| {
            let start = word.as_ptr().addr() - text.as_ptr().addr();
            (word, start..start + word.len())
        })
        .collect()
}

/// Whether the times of an `@` word are fixed.
fn nickname_is_fixed(word: &str) -> Result<bool, InvalidSchedule> {
    match word.to_ascii_lowercase().as_str() {
        "@hourly" => Ok(false),
        "@daily" | "@weekly" | "@monthly" | "@yearly" | "@annually" => Ok(true),
        _ => Err(InvalidSchedule::Nickname { word: shown(word) }),
    }
}

/// Checks the fields. Returns whether the times of a day are fixed.
fn fields(words: &[(&str, Range<usize>)]) -> Result<bool, InvalidSchedule> {
    const FIELDS: [Field; 6] = [
        Field::Second,
        Field::Minute,
        Field::Hour,
        Field::DayOfMonth,
        Field::Month,
        Field::DayOfWeek,
    ];
    let names = match words.len() {
        5 => &FIELDS[1..],
        6 => &FIELDS[..],
        count => return Err(InvalidSchedule::Fields { count }),
    };
    for (&field, (word, span)) in names.iter().zip(words) {
        check(field, word, span.start)?;
    }
    let times = &words[..words.len() - 3];
    Ok(!times.iter().any(|(word, _)| word.contains(['*', '/'])))
}

/// Checks a field, which starts at the byte `start` of the expression.
fn check(field: Field, word: &str, mut start: usize) -> Result<(), InvalidSchedule> {
    let whole = start..start + word.len();
    let mut rest = word;
    if field == Field::DayOfWeek && rest.len() > 1 && rest.starts_with('+') {
        rest = &rest[1..];
        start += 1;
    }
    let tokens = rest.split(',').collect::<Vec<_>>();
    let alone = tokens.len() == 1;
    for token in tokens {
        let span = start..start + token.len();
        start = span.end + 1;
        part(field, token, alone).map_err(|why| InvalidSchedule::Field {
            field,
            token: shown(if token.is_empty() { word } else { token }),
            span: if token.is_empty() {
                whole.clone()
            } else {
                span
            },
            why,
        })?;
    }
    Ok(())
}

/// Checks what is between two commas.
fn part(field: Field, token: &str, alone: bool) -> Result<(), Why> {
    let is_day = matches!(field, Field::DayOfMonth | Field::DayOfWeek);
    match token {
        "" => return Err(Why::Empty),
        "*" if alone => return Ok(()),
        "?" if alone && is_day => return Ok(()),
        "*" => return Err(Why::Syntax),
        _ => {}
    }
    let numbers = numbers(field, token)?;
    let known = |char: char| {
        let special = match field {
            Field::DayOfMonth => "LW",
            Field::DayOfWeek => "#L",
            _ => "",
        };
        char.is_ascii_digit() || "*/-".contains(char) || special.contains(char)
    };
    // Croner takes `15W3`, and `L` as a day of the week that never comes.
    let ends_in_w = numbers.find('W').is_none_or(|at| at + 1 == numbers.len());
    if !numbers.chars().all(known) || !ends_in_w || (field == Field::DayOfWeek && numbers == "L") {
        return Err(Why::Syntax);
    }
    steps(field, &numbers)?;
    let (least, most) = field.bounds();
    match component(field, least, most).parse(&numbers) {
        Ok(()) => Ok(()),
        Err(_) => Err(reason(&numbers, least, most)),
    }
}

/// The empty field of croner.
fn component(field: Field, least: u16, most: u16) -> CronComponent {
    // The bits of croner that are not public: 1 to 5 are the first to the fifth of a weekday, 6 is
    // the last, 7 the nearest weekday.
    let features = match field {
        Field::DayOfMonth => 0b1100_0000,
        Field::DayOfWeek => 0b0111_1110,
        _ => 0,
    };
    CronComponent::new(least, most, features, 0)
}

/// The token with the names of months and days as numbers, as croner replaces them.
fn numbers(field: Field, token: &str) -> Result<String, Why> {
    let mut numbers = String::with_capacity(token.len());
    let mut rest = token;
    while let Some(first) = rest.chars().next() {
        let letters = rest.find(|char: char| !char.is_ascii_alphabetic());
        let letters = letters.unwrap_or(rest.len());
        if letters == 0 {
            numbers.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let word = rest[..letters].to_ascii_uppercase();
        rest = &rest[letters..];
        numbers.push_str(&match field {
            Field::Month => number(&word, &MONTHS, 1)?,
            // Sunday ends a range as 7.
            Field::DayOfWeek if word == "SUN" && numbers.ends_with('-') => "7".to_owned(),
            Field::DayOfWeek if word == "L" => word,
            Field::DayOfWeek if word.len() == 4 && word.ends_with('L') => {
                format!("{}L", number(&word[..3], &DAYS, 0)?)
            }
            Field::DayOfWeek => number(&word, &DAYS, 0)?,
            Field::DayOfMonth if ["L", "W", "LW"].contains(&word.as_str()) => word,
            Field::DayOfMonth | Field::Second | Field::Minute | Field::Hour => {
                return Err(Why::Word { nearest: None });
            }
        });
    }
    Ok(numbers)
}

/// The number of a name, as text.
fn number(word: &str, names: &[&str], first: usize) -> Result<String, Why> {
    match names.iter().position(|&name| name == word) {
        Some(at) => Ok((at + first).to_string()),
        None => Err(Why::Word {
            nearest: names
                .iter()
                .find(|&&name| word.starts_with(name) || strsim::osa_distance(word, name) == 1)
                .map(|&name| name.to_owned()),
        }),
    }
}

/// Refuses steps that have no effect, which croner takes, and says what it does not say of others.
fn steps(field: Field, numbers: &str) -> Result<(), Why> {
    let Some((range, step)) = numbers.split_once('/') else {
        return Ok(());
    };
    let (least, most) = field.bounds();
    // Sunday is there twice.
    let most = if field == Field::DayOfWeek { 6 } else { most };
    match step.parse::<u16>() {
        Ok(step) if (1..=most - least + 1).contains(&step) => {}
        Ok(_) => return Err(Why::Step),
        Err(_) => {
            return Err(if is_number(step) {
                Why::Step
            } else {
                Why::Syntax
            });
        }
    }
    if is_number(range) || range.is_empty() {
        return Err(Why::StepWithoutRange);
    }
    Ok(())
}

/// Why croner refuses a token.
fn reason(numbers: &str, least: u16, most: u16) -> Why {
    let ends = numbers
        .split(['-', '/', '#', 'L', 'W'])
        .filter(|part| is_number(part))
        .map(|number| number.parse::<u16>().unwrap_or(u16::MAX))
        .collect::<Vec<_>>();
    let range = numbers.split(['/', '#']).next().unwrap_or_default();
    let parts = range.split('-').collect::<Vec<_>>();
    match parts[..] {
        [first, last] if is_number(first) && is_number(last) => {
            if ends.iter().take(2).any(|end| !(least..=most).contains(end)) {
                Why::OutOfRange
            } else if ends[0] > ends[1] {
                Why::Backwards
            } else {
                Why::Syntax
            }
        }
        [_] if ends.iter().any(|end| !(least..=most).contains(end)) => Why::OutOfRange,
        _ => Why::Syntax,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
