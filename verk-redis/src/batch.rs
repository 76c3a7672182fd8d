//! Batches of settlements and moves: cut to size, sent one after the other, each job with its
//! own answer.

use std::{ops::Range, time::SystemTime};

use bb8_redis::redis::Value;
use verk_core::{
    storage::{
        DeadLimits, Due, Inprogress, JobSet, MAX_BATCH_BYTES, MAX_BATCH_JOBS,
        NO_PREFETCH_AFTER_RESTORE, Settled, Settlement, Target,
    },
    time::unix_seconds,
};

use crate::{
    connect::{
        link::Link,
        reply,
        scripts::{Arg, Script, arg, borrowed},
        slot::Repeats,
    },
    effect_args,
    error::Failure,
    keys::{Key, KeyList, Keys},
};

/// The script reads the oldest jobs of a list to cut off the done ones. If that may be more than
/// these bytes, the script removes each job by its value instead, which costs less then.
const MAX_BYTES_TO_READ: usize = 64 * 1024;

/// To remove so few jobs by their values takes as many commands as to read and cut them off.
const MAX_JOBS_TO_REMOVE: usize = 2;

/// A call of a script for some jobs of a batch.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) keys: Vec<Key>,
    pub(crate) args: Vec<Arg<'a>>,
}

/// The settlements as calls of the script `settle`, with the places of their answers, in the order
/// to send them. Those of a dead node take effect only while its heartbeat is missing.
pub(crate) fn settle_calls<'a>(
    all_keys: &Keys,
    inprogress: &'a Inprogress,
    settlements: &'a [Settlement],
    of_dead_node: bool,
) -> Vec<(Range<usize>, Call<'a>)> {
    let (queue, node) = (&inprogress.queue, &inprogress.node);
    let call = |range: Range<usize>| {
        let restores = of_dead_node.then_some(NO_PREFETCH_AFTER_RESTORE.as_secs());
        let mut args = vec![borrowed(queue.as_str()), restores.map_or(borrowed(""), arg)];
        let mut keys = vec![
            all_keys.inprogress(queue, node),
            all_keys.queue(queue),
            all_keys.queues(),
            all_keys.set(JobSet::Retry),
            all_keys.set(JobSet::Schedule),
            all_keys.set(JobSet::Dead),
        ];
        if of_dead_node {
            keys.extend([all_keys.heartbeat(node), all_keys.restored(queue)]);
        }
        let settlements = &settlements[range.clone()];
        let mut keys = KeyList::new(keys);
        effect_args::push(
            &mut args,
            all_keys,
            &mut keys,
            settlements.iter().map(|one| &one.effects[..]),
        );
        push_settlements(&mut args, settlements, 0);
        let keys = keys.keys;
        (range, Call { keys, args })
    };
    let mut ranges = cut(settlements.iter().map(settlement_bytes));
    // Handed back jobs go to the front of the queue, so the first must be sent last.
    if settlements.iter().any(|s| s.to == Target::Requeue) {
        ranges.reverse();
    }
    ranges.into_iter().map(call).collect()
}

/// Reads the answer of a script for `jobs` jobs.
pub(crate) fn answers(
    op: &'static str,
    reply: Result<Value, Failure>,
    jobs: usize,
) -> Vec<Settled> {
    let answers = reply.and_then(|reply| {
        match reply {
            Value::Int(0) => return Ok(vec![Settled::NotHeld; jobs]),
            Value::Int(all) if usize::try_from(all) == Ok(jobs) => {
                return Ok(vec![Settled::Done; jobs]);
            }
            _ => {}
        }
        let answers = reply::array(reply)?;
        if answers.len() != jobs {
            return Err(Failure::unexpected_reply("an answer for each job"));
        }
        answers
            .into_iter()
            .map(|answer| settled(op, answer))
            .collect()
    });
    answers.unwrap_or_else(|failure| {
        let failed = Settled::Failed(failure.during(op));
        vec![failed; jobs]
    })
}

fn settled(op: &'static str, answer: Value) -> Result<Settled, Failure> {
    match answer {
        Value::Int(0) => Ok(Settled::NotHeld),
        Value::Int(1) => Ok(Settled::Done),
        Value::Int(2) => Ok(Settled::Merged),
        Value::Int(3) => Ok(Settled::Superseded),
        Value::Array(values) => match <[Value; 1]>::try_from(values) {
            Ok([jid]) => Ok(Settled::Conflict {
                jid: reply::text(jid)?.into(),
            }),
            Err(_) => Err(Failure::unexpected_reply("the job that has the lock")),
        },
        Value::BulkString(text) => Ok(Settled::Failed(Failure::refused(&text).during(op))),
        _ => Err(Failure::unexpected_reply("what became of a job")),
    }
}

/// Cuts jobs of these sizes into batches within the bounds, of at least one job.
pub(crate) fn cut(sizes: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0_usize;
    for (index, size) in sizes.enumerate() {
        bytes = bytes.saturating_add(size);
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_BATCH_JOBS && bytes <= MAX_BATCH_BYTES => {
                batch.end = index + 1;
            }
            _ => {
                batches.push(index..index + 1);
                bytes = size;
            }
        }
    }
    batches
}

/// The settlements of jobs, as `settling.lua` reads them. The list that they leave had a job of
/// `largest` bytes, and may still have it.
pub(crate) fn push_settlements<'a>(
    args: &mut Vec<Arg<'a>>,
    settlements: &'a [Settlement],
    largest: usize,
) {
    if settlements.is_empty() {
        return;
    }
    let bytes_of_acks = settlements.iter().try_fold(0, |bytes, one| {
        (one.to == Target::Ack).then(|| bytes + one.held.len())
    });
    if let Some(bytes) = bytes_of_acks {
        let jobs = settlements.len();
        let by_value = jobs <= MAX_JOBS_TO_REMOVE || bytes.max(jobs * largest) > MAX_BYTES_TO_READ;
        args.reserve(1 + jobs);
        args.push(borrowed(if by_value { "remove" } else { "acks" }));
        args.extend(settlements.iter().map(|one| borrowed(&one.held)));
        return;
    }
    for settlement in settlements {
        push_settlement(args, settlement);
    }
}

fn push_settlement<'a>(args: &mut Vec<Arg<'a>>, settlement: &'a Settlement) {
    let (name, due) = match &settlement.to {
        Target::Ack => ("ack", None),
        Target::Requeue => ("requeue", None),
        Target::Retry(due) => ("retry", Some(due)),
        Target::Schedule(due) => ("schedule", Some(due)),
        Target::Dead { job, limits } => {
            args.extend([borrowed("dead"), borrowed(&settlement.held)]);
            return push_dead(args, job, *limits);
        }
    };
    args.extend([borrowed(name), borrowed(&settlement.held)]);
    if let Some(due) = due {
        args.extend([arg(unix_seconds(due.at)), borrowed(&due.job)]);
    }
}

pub(crate) fn push_dead<'a>(args: &mut Vec<Arg<'a>>, job: &'a Due, limits: DeadLimits) {
    args.extend([arg(unix_seconds(job.at)), borrowed(&job.job)]);
    args.extend(dead_limits(job.at, limits));
}

/// The score below which dead jobs are deleted at `now`, and how many stay.
pub(crate) fn dead_limits(now: SystemTime, limits: DeadLimits) -> [Arg<'static>; 2] {
    let oldest = unix_seconds(now) - limits.timeout.as_secs_f64();
    [arg(oldest), arg(limits.max_jobs)]
}

fn settlement_bytes(settlement: &Settlement) -> usize {
    let payload = match &settlement.to {
        Target::Ack | Target::Requeue => 0,
        Target::Retry(job) | Target::Schedule(job) | Target::Dead { job, .. } => job.job.len(),
    };
    settlement.held.len() + payload + effect_args::bytes(&settlement.effects)
}

/// Runs a script for `jobs` jobs, in calls one after the other, until one gets no reply: the calls
/// after it are not sent. In a cluster, a call is sent again as long as no server has taken it.
pub(crate) async fn run(
    link: &Link,
    op: &'static str,
    script: &Script,
    calls: Vec<(Range<usize>, Call<'_>)>,
    jobs: usize,
) -> Vec<Settled> {
    if jobs == 0 {
        return Vec::new();
    }
    let mut connection = match link.connection().await {
        Ok(connection) => connection,
        Err(failure) => return vec![Settled::Failed(failure.during(op)); jobs],
    };
    let mut settled = vec![None; jobs];
    let mut repeats = Repeats::new(&link.connector);
    for (range, call) in calls {
        let reply = loop {
            if connection.is_broken() {
                break Err(Failure::not_sent(BROKEN));
            }
            match script.run(&mut connection, &call.keys, &call.args).await {
                Err(failure) if repeats.after(&failure).await => match link.connection().await {
                    Ok(other) => connection = other,
                    Err(_) => break Err(failure),
                },
                reply => break reply,
            }
        };
        let of_call = answers(op, reply, range.len());
        for (job, answer) in settled[range].iter_mut().zip(of_call) {
            *job = Some(answer);
        }
    }
    settled
        .into_iter()
        .map(|answer| {
            // Every job is in one of the calls.
            answer.unwrap_or_else(|| Settled::Failed(Failure::not_sent(BROKEN).during(op)))
        })
        .collect()
}

const BROKEN: &str = "the connection broke before this was sent";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_by_count_and_bytes() {
        assert_eq!(cut(std::iter::empty()), []);
        assert_eq!(cut([1; 250].into_iter()), [0..100, 100..200, 200..250]);
        let half = MAX_BATCH_BYTES / 2;
        assert_eq!(cut([half, half, 1, half].into_iter()), [0..2, 2..4]);
    }

    #[test]
    fn a_job_over_the_bound_goes_alone() {
        let large = MAX_BATCH_BYTES + 1;
        assert_eq!(
            cut([1, large, large, 1, 1].into_iter()),
            [0..1, 1..2, 2..3, 3..5]
        );
    }

    #[test]
    fn scores_are_the_shortest_text_that_reads_back() {
        assert_eq!(arg(1_732_387_200.0_f64), arg("1732387200"));
        assert_eq!(arg(1_732_387_200.123_456_f64), arg("1732387200.123456"));
        assert_eq!(arg(-1e300_f64).last(), Some(&b'0'), "no exponent");
    }
}
