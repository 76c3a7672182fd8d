//! Reads replies: the only code that knows the forms in which the two versions of the protocol
//! answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bb8_redis::redis::Value;
use bytes::Bytes;
use verk_core::{QueueName, storage::WaitingJob, time::from_unix_seconds};

use crate::error::Failure;

pub(crate) fn integer(value: Value) -> Result<i64, Failure> {
    match value {
        Value::Int(number) => Some(number),
        Value::BulkString(digits) => std::str::from_utf8(&digits)
            .ok()
            .and_then(|digits| digits.parse().ok()),
        _ => None,
    }
    .ok_or_else(|| Failure::unexpected_reply("an integer"))
}

pub(crate) fn count(value: Value) -> Result<usize, Failure> {
    usize::try_from(integer(value)?).map_err(|_| Failure::unexpected_reply("a count"))
}

pub(crate) fn payload(value: Value) -> Result<Bytes, Failure> {
    match value {
        Value::BulkString(bytes) => Ok(bytes.into()),
        _ => Err(Failure::unexpected_reply("a bulk string")),
    }
}

pub(crate) fn payloads(value: Value) -> Result<Vec<Bytes>, Failure> {
    array(value)?.into_iter().map(payload).collect()
}

pub(crate) fn text(value: Value) -> Result<String, Failure> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
    .ok_or_else(|| Failure::unexpected_reply("a text"))
}

/// A number that any program may have written as text: 0 if it is missing, or no number.
pub(crate) fn number<T: std::str::FromStr + Default>(value: Value) -> T {
    let text = text(value).unwrap_or_default();
    text.parse().unwrap_or_default()
}

pub(crate) fn array(value: Value) -> Result<Vec<Value>, Failure> {
    match value {
        Value::Array(values) | Value::Set(values) => Ok(values),
        _ => Err(Failure::unexpected_reply("an array")),
    }
}

/// The fields of a hash with their values.
pub(crate) fn pairs(value: Value) -> Result<Vec<(Value, Value)>, Failure> {
    if let Value::Map(pairs) = value {
        return Ok(pairs);
    }
    let mut values = array(value)?.into_iter();
    let mut pairs = Vec::new();
    while let (Some(field), Some(value)) = (values.next(), values.next()) {
        pairs.push((field, value));
    }
    Ok(pairs)
}

/// The members of a sorted set with their scores.
pub(crate) fn scored(value: Value) -> Result<Vec<WaitingJob>, Failure> {
    let values = array(value)?;
    if values.iter().all(|value| matches!(value, Value::Array(_))) {
        return values
            .into_iter()
            .map(|pair| match <[Value; 2]>::try_from(array(pair)?) {
                Ok([job, score]) => scored_job(job, score),
                Err(_) => Err(Failure::unexpected_reply("members with scores")),
            })
            .collect();
    }
    let mut values = values.into_iter();
    let mut jobs = Vec::new();
    while let (Some(job), Some(score)) = (values.next(), values.next()) {
        jobs.push(scored_job(job, score)?);
    }
    Ok(jobs)
}

fn scored_job(job: Value, score_of_job: Value) -> Result<WaitingJob, Failure> {
    Ok(WaitingJob {
        score: Some(score(score_of_job)?),
        job: payload(job)?,
        index: None,
    })
}

pub(crate) fn score(value: Value) -> Result<f64, Failure> {
    match value {
        Value::Double(score) => Ok(score),
        value => text(value)?
            .parse()
            .map_err(|_| Failure::unexpected_reply("a score")),
    }
}

/// The score of the first member, if there is one, as a time.
pub(crate) fn due_time(value: Value) -> Result<Option<SystemTime>, Failure> {
    match value {
        Value::Nil => Ok(None),
        value => score(value).map(|score| Some(from_unix_seconds(score))),
    }
}

/// The answer to `TIME`.
pub(crate) fn time(seconds: Value, microseconds: Value) -> Result<SystemTime, Failure> {
    let part = |value| {
        u64::try_from(integer(value)?).map_err(|_| Failure::unexpected_reply("a time of day"))
    };
    UNIX_EPOCH
        .checked_add(Duration::from_secs(part(seconds)?))
        .and_then(|time| time.checked_add(Duration::from_micros(part(microseconds).ok()?)))
        .ok_or_else(|| Failure::unexpected_reply("a time of day"))
}

/// The names in a set of queues, sorted. Names that verk does not accept are left out, because no
/// queue of verk has one.
pub(crate) fn queue_names(value: Value) -> Result<Vec<QueueName>, Failure> {
    let mut names: Vec<QueueName> = payloads(value)?
        .iter()
        .filter_map(|name| QueueName::new(std::str::from_utf8(name).ok()?).ok())
        .collect();
    names.sort();
    Ok(names)
}
