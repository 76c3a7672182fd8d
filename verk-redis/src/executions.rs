//! The execution metrics of verk, Sidekiq 7 and Sidekiq 8, read back.
//!
//! Sidekiq 7 writes the year with four digits, the minute without padding and no steps of ten
//! minutes. verk and Sidekiq 8 write other keys, so each minute is read from two keys. Both keys of
//! a histogram are the same if the day and the hour have two digits.

use std::{collections::BTreeMap, time::Duration};

use bb8_redis::redis::{self, Pipeline, Value};
use verk_core::storage::{
    Counts, ExecutionCounts, ExecutionStep, Histogram, MAX_EXECUTION_CLASSES, Minute,
    StoredExecutions,
};

use crate::{
    connect::{link::Link, reply},
    error::Failure,
    keys::Key,
};

/// How many steps one pipeline reads, so that it delays no other client for long.
const STEPS_AT_ONCE: usize = 20;

/// What a hash has of each class.
const FIELDS: [&str; 3] = ["p", "f", "ms"];

/// How many bytes a histogram has: 26 counters of 16 bits.
const HISTOGRAM_BYTES: usize = 2 * HISTOGRAM_COUNTERS;
const HISTOGRAM_COUNTERS: usize = size_of::<Histogram>() / size_of::<u64>();

pub(crate) async fn read(
    link: &Link,
    step: ExecutionStep,
    times: &[Minute],
    class: Option<&str>,
) -> Result<Vec<StoredExecutions>, Failure> {
    let keys = |time: &Minute| match step {
        ExecutionStep::Minute => vec![
            link.keys.executions(*time),
            link.keys.executions_of_sidekiq_7(*time),
        ],
        ExecutionStep::TenMinutes => vec![link.keys.executions_of_ten_minutes(*time)],
    };
    let ask = |commands: &mut Pipeline, key: Key| match class {
        None => {
            let fields = FIELDS.len() * MAX_EXECUTION_CLASSES;
            commands.cmd("HSCAN").arg(key).arg(0);
            commands.arg("COUNT").arg(fields);
        }
        Some(class) => {
            commands.cmd("HMGET").arg(key);
            for field in FIELDS {
                commands.arg(format!("{class}|{field}"));
            }
        }
    };
    let add = |stored: &mut StoredExecutions, reply| match class {
        None => add_classes(stored, reply),
        Some(class) => add_class(stored, class, reply),
    };
    each_step(link, times, keys, ask, add).await
}

pub(crate) async fn histograms(
    link: &Link,
    class: &str,
    minutes: &[Minute],
) -> Result<Vec<Histogram>, Failure> {
    let keys = |minute: &Minute| {
        let mut keys = vec![
            link.keys.histogram(class, *minute),
            link.keys.histogram_of_sidekiq_7(class, *minute),
        ];
        keys.dedup();
        keys
    };
    let ask = |commands: &mut Pipeline, key: Key| {
        commands.cmd("GETRANGE").arg(key).arg(0);
        commands.arg(HISTOGRAM_BYTES - 1);
    };
    each_step(
        link,
        minutes,
        keys,
        ask,
        |histogram: &mut Histogram, reply| {
            add_histogram(histogram, &reply::payload(reply)?);
            Ok(())
        },
    )
    .await
}

/// Asks for each key of each step, some steps at once, and adds the replies of a step.
async fn each_step<T: Default>(
    link: &Link,
    times: &[Minute],
    keys: impl Fn(&Minute) -> Vec<Key>,
    ask: impl Fn(&mut Pipeline, Key),
    add: impl Fn(&mut T, Value) -> Result<(), Failure>,
) -> Result<Vec<T>, Failure> {
    let mut read = Vec::with_capacity(times.len());
    for times in times.chunks(STEPS_AT_ONCE) {
        let mut commands = redis::pipe();
        let mut replies_of_step = Vec::with_capacity(times.len());
        for time in times {
            let keys = keys(time);
            replies_of_step.push(keys.len());
            for key in keys {
                ask(&mut commands, key);
            }
        }
        let mut replies = link.ask_all(&commands).await?.into_iter();
        for count in replies_of_step {
            let mut of_step = T::default();
            for _ in 0..count {
                match replies.next() {
                    Some(Ok(reply)) => add(&mut of_step, reply)?,
                    // Another program uses the key.
                    Some(Err(failure)) if failure.is_wrong_type() => {}
                    Some(Err(failure)) => return Err(failure),
                    None => return Err(Failure::unexpected_reply("a reply to each command")),
                }
            }
            read.push(of_step);
        }
    }
    Ok(read)
}

/// Adds the fields of a hash, whose names are `CLASS|FIELD`.
fn add_classes(stored: &mut StoredExecutions, reply: Value) -> Result<(), Failure> {
    let Ok([next, fields]) = <[Value; 2]>::try_from(reply::array(reply)?) else {
        return Err(Failure::unexpected_reply("a cursor with fields"));
    };
    stored.cut |= reply::text(next)? != "0";
    let mut classes: BTreeMap<String, [u64; FIELDS.len()]> = BTreeMap::new();
    for (field, value) in reply::pairs(fields)? {
        let Some((class, place)) = reply::text(field).ok().and_then(of_class) else {
            continue;
        };
        // A scan may return a field twice, so this replaces and does not add.
        if let Some(number) = classes.entry(class).or_default().get_mut(place) {
            *number = number_of(value);
        }
    }
    for (class, numbers) in classes {
        let of_class = stored.classes.entry(class).or_default();
        of_class.add(counts(numbers));
    }
    while stored.classes.len() > MAX_EXECUTION_CLASSES {
        stored.classes.pop_last();
        stored.cut = true;
    }
    Ok(())
}

fn add_class(stored: &mut StoredExecutions, class: &str, reply: Value) -> Result<(), Failure> {
    let mut values = reply::array(reply)?.into_iter();
    let numbers = FIELDS.map(|_| values.next().map_or(0, number_of));
    if numbers != [0; FIELDS.len()] {
        let of_class = stored.classes.entry(class.to_owned()).or_default();
        of_class.add(counts(numbers));
    }
    Ok(())
}

/// The class of a field, and the place of its ending in [`FIELDS`].
fn of_class(field: String) -> Option<(String, usize)> {
    let (class, name) = field.rsplit_once('|')?;
    let place = FIELDS.iter().position(|field| *field == name)?;
    (!class.is_empty()).then(|| (class.to_owned(), place))
}

/// A counter of another program, which may hold anything: 0 unless it is a number from 0 on.
fn number_of(value: Value) -> u64 {
    reply::integer(value).map_or(0, |number| u64::try_from(number).unwrap_or(0))
}

fn counts([processed, failed, milliseconds]: [u64; FIELDS.len()]) -> ExecutionCounts {
    let failed = failed.min(processed);
    ExecutionCounts {
        counts: Counts {
            succeeded: processed.saturating_sub(failed),
            failed,
        },
        took: Duration::from_millis(milliseconds),
    }
}

fn add_histogram(histogram: &mut Histogram, bytes: &[u8]) {
    // Counters at the end that were never used are missing.
    for (counter, bytes) in histogram.iter_mut().zip(bytes.chunks(2)) {
        let count = match *bytes {
            [high, low] => u16::from_be_bytes([high, low]),
            [high] => u16::from_be_bytes([high, 0]),
            _ => 0,
        };
        *counter = counter.saturating_add(u64::from(count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn scanned(next: &str, fields: &[(&str, &str)]) -> StoredExecutions {
        let mut stored = StoredExecutions::default();
        let fields = fields
            .iter()
            .flat_map(|(field, value)| [bulk(field), bulk(value)]);
        let reply = Value::Array(vec![bulk(next), Value::Array(fields.collect())]);
        add_classes(&mut stored, reply).unwrap();
        stored
    }

    #[test]
    fn fields_of_any_kind_are_read_and_what_is_none_is_left_out() {
        let stored = scanned(
            "0",
            &[
                ("A::B|p", "5"),
                ("A::B|f", "2"),
                ("A::B|ms", "1500"),
                ("A::B|p", "5"),
                ("with|bar|p", "1"),
                ("failed more than ran|p", "1"),
                ("failed more than ran|f", "9"),
                ("no number|p", "many"),
                ("below 0|p", "-3"),
                ("too large|ms", "99999999999999999999"),
                ("A::B|s", "7"),
                ("|p", "1"),
                ("p", "1"),
                ("", ""),
            ],
        );
        let of = |class: &str| {
            let ExecutionCounts { counts, took } = stored.classes[class];
            (counts.succeeded, counts.failed, took.as_millis())
        };
        assert_eq!(
            of("A::B"),
            (3, 2, 1_500),
            "a field that came twice counts once"
        );
        assert_eq!(of("with|bar"), (1, 0, 0));
        assert_eq!(of("failed more than ran"), (0, 1, 0));
        for nothing in ["no number", "below 0", "too large"] {
            assert_eq!(of(nothing), (0, 0, 0), "{nothing}");
        }
        assert_eq!(stored.classes.len(), 6, "{stored:?}");
        assert!(!stored.cut);
    }

    #[test]
    fn a_hash_with_too_many_classes_is_cut_and_says_so() {
        assert!(scanned("17", &[("A|p", "1")]).cut, "there is more of it");
        let names: Vec<String> = (0..1_001).map(|number| format!("{number:04}|p")).collect();
        let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let stored = scanned("0", &fields);
        assert_eq!((stored.classes.len(), stored.cut), (1_000, true));
        let stored = scanned("0", &fields[..1_000]);
        assert_eq!((stored.classes.len(), stored.cut), (1_000, false));
    }

    #[test]
    fn a_histogram_may_be_shorter_or_longer_than_26_counters() {
        let mut histogram = Histogram::default();
        add_histogram(&mut histogram, &[]);
        assert_eq!(histogram, Histogram::default());
        add_histogram(&mut histogram, &[1, 2, 3]);
        assert_eq!(histogram[..3], [0x0102, 0x0300, 0]);
        add_histogram(&mut histogram, &[0xff; 99]);
        assert_eq!(histogram[0], 0x0102 + 0xffff);
        assert_eq!(histogram[25], 0xffff);
    }

    #[test]
    fn replies_of_another_form_are_refused() {
        let mut stored = StoredExecutions::default();
        for reply in [Value::Nil, Value::Array(vec![]), bulk("0"), Value::Int(1)] {
            assert!(add_classes(&mut stored, reply).is_err());
        }
        add_class(&mut stored, "A", Value::Array(vec![])).unwrap();
        add_class(&mut stored, "A", Value::Array(vec![Value::Nil; 3])).unwrap();
        assert_eq!(stored, StoredExecutions::default(), "no runs are no class");
    }
}
