//! Reads the jobs of one place, in order or not: the calls of the scripts `list` and `scan`, and
//! their replies.

use bb8_redis::redis::Value;
use verk_core::storage::{
    ListRequest, Listing, MAX_BATCH_BYTES, MAX_BATCH_JOBS, MAX_LIST_LOOKS, Order, Position, Scan,
    WaitingJob,
};

use crate::{
    connect::{
        link::Link,
        reply,
        scripts::{self, Arg, arg, borrowed},
    },
    error::Failure,
    keys::Key,
};

/// No list is that long, and Lua counts exactly up to this number.
const END: u64 = 1 << 50;

/// Reads the list, or the set, called `key`.
pub(crate) async fn list(
    link: &Link,
    key: Key,
    is_set: bool,
    request: &ListRequest,
) -> Result<Listing, Failure> {
    let args = args(is_set, request);
    let reply = link.ask_script(&scripts::LIST, key, &args).await?;
    listing(reply, is_set, request.order)
}

/// Reads the next members of the set called `key`, in no order.
pub(crate) async fn scan(
    link: &Link,
    key: Key,
    cursor: u64,
    texts: &[String],
) -> Result<Scan, Failure> {
    let max_looks = if texts.is_empty() {
        MAX_BATCH_JOBS
    } else {
        MAX_LIST_LOOKS
    };
    let mut args = vec![arg(cursor), arg(max_looks), arg(MAX_BATCH_BYTES)];
    args.extend(texts.iter().map(borrowed));
    let reply = link.ask_script(&scripts::SCAN, key, &args).await?;
    let reply = reply::array(reply)?;
    let Ok([next, looked_at, members]) = <[Value; 3]>::try_from(reply) else {
        return Err(Failure::unexpected_reply("a cursor and members"));
    };
    let next: u64 = reply::text(next)?
        .parse()
        .map_err(|_| Failure::unexpected_reply("a cursor"))?;
    Ok(Scan {
        jobs: reply::scored(members)?,
        looked_at: reply::count(looked_at)?,
        next: (next != 0).then_some(next),
    })
}

fn args(is_set: bool, request: &ListRequest) -> Vec<Arg<'_>> {
    let (score, skip) = match request.from {
        Position::Index(index) => (borrowed(""), index),
        Position::Score { score, skip } if is_set => (arg(format_args!("{score:e}")), skip),
        Position::Score { .. } => (borrowed(""), 0),
    };
    let mut args = vec![
        borrowed(if is_set { "zset" } else { "list" }),
        borrowed(match request.order {
            Order::OldestFirst => "oldest",
            Order::NewestFirst => "newest",
        }),
        score,
    ];
    let numbers = [request.limit, request.max_looks(), request.max_bytes];
    let numbers = numbers.map(|number| number as u64);
    args.push(arg(skip.min(END)));
    args.extend(numbers.map(|number| arg(number.min(END))));
    args.extend(request.texts.iter().map(borrowed));
    args
}

fn listing(value: Value, is_set: bool, order: Order) -> Result<Listing, Failure> {
    let mut values = reply::array(value)?.into_iter();
    let mut next = || (values.next()).ok_or_else(|| Failure::unexpected_reply("a listing"));
    let [len, start, looked_at] = [next()?, next()?, next()?].map(reply::count);
    let (len, start, looked_at) = (len?, start?, looked_at?);
    let (to_first, to_last) = ((next()?, next()?), (next()?, next()?));
    let end = start.saturating_add(looked_at);
    let jobs = jobs(values, is_set, order, len, start)?;
    Ok(Listing {
        next: at(end < len, to_last, end)?,
        previous: at(start > 0, to_first, len.saturating_sub(start))?,
        jobs,
        looked_at,
        len,
    })
}

/// A position that exists if something follows it: by a score and how many members with it are
/// passed over; or else by how many entries are.
fn at(
    follows: bool,
    (score, skip): (Value, Value),
    passed: usize,
) -> Result<Option<Position>, Failure> {
    if !follows {
        return Ok(None);
    }
    Ok(Some(match score {
        Value::Nil => Position::Index(passed as u64),
        score => Position::Score {
            score: reply::score(score)?,
            skip: reply::count(skip)? as u64,
        },
    }))
}

fn jobs(
    mut values: impl Iterator<Item = Value>,
    is_set: bool,
    order: Order,
    len: usize,
    start: usize,
) -> Result<Vec<WaitingJob>, Failure> {
    let mut jobs = Vec::new();
    while let (Some(passed), Some(job), Some(score)) = (values.next(), values.next(), values.next())
    {
        let passed = start.saturating_add(reply::count(passed)?);
        let index = match order {
            Order::OldestFirst => passed,
            Order::NewestFirst => len.saturating_sub(passed).saturating_sub(1),
        };
        let score = if is_set {
            Some(reply::score(score)?)
        } else {
            None
        };
        jobs.push(WaitingJob {
            job: reply::payload(job)?,
            score,
            index: (!is_set).then_some(index as u64),
        });
    }
    Ok(jobs)
}
