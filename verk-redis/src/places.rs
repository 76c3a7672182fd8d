//! An operator's work on waiting jobs: searches, moves, clears.

use std::{ops::Range, time::SystemTime};

use async_trait::async_trait;
use bb8_redis::redis::{self, Value};
use verk_core::{
    QueueName, StorageError,
    storage::{
        Cleared, JobSet, ListRequest, Listing, MAX_BATCH_JOBS, Move, MoveTarget, Order, Position,
        Scan, Settled, Source, WaitingStore,
    },
    time::unix_seconds,
};

use crate::{
    batch::{self, Call, cut, push_dead},
    connect::{
        link::Link,
        reply,
        scripts::{self, arg, borrowed},
    },
    effect_args,
    error::Failure,
    keys::{Key, KeyList, Keys},
    lists,
    storage::RedisStorage,
};

#[async_trait]
impl WaitingStore for RedisStorage {
    async fn queues(&self) -> Result<Vec<QueueName>, StorageError> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(self.link.keys.queues());
        self.ask("list the queues", &command, reply::queue_names)
            .await
    }

    async fn len(&self, source: &Source) -> Result<usize, StorageError> {
        let keys = &self.link.keys;
        let (op, command, key) = match source {
            Source::Queue(queue) => ("count the jobs of a queue", "LLEN", keys.queue(queue)),
            Source::Set(set) => ("count the jobs of a set", "ZCARD", keys.set(*set)),
        };
        let mut command = redis::cmd(command);
        command.arg(key);
        self.ask(op, &command, reply::count).await
    }

    async fn list(&self, source: &Source, request: &ListRequest) -> Result<Listing, StorageError> {
        let keys = &self.link.keys;
        let (op, key, is_set) = match source {
            Source::Queue(queue) => ("read the jobs of a queue", keys.queue(queue), false),
            Source::Set(set) => ("read the jobs of a set", keys.set(*set), true),
        };
        lists::list(&self.link, key, is_set, request)
            .await
            .map_err(|failure| failure.during(op))
    }

    async fn scan(
        &self,
        source: &Source,
        cursor: u64,
        texts: &[String],
    ) -> Result<Scan, StorageError> {
        let keys = &self.link.keys;
        match source {
            Source::Queue(queue) => scan_queue(&self.link, queue, cursor, texts)
                .await
                .map_err(|failure| failure.during("search the jobs of a queue")),
            Source::Set(set) => lists::scan(&self.link, keys.set(*set), cursor, texts)
                .await
                .map_err(|failure| failure.during("search the jobs of a set")),
        }
    }

    async fn move_jobs(
        &self,
        from: &Source,
        moves: &[Move],
        due_by: Option<SystemTime>,
    ) -> Vec<Settled> {
        if moves.is_empty() {
            return Vec::new();
        }
        let max_moves = max_moves(&self.link, from).await;
        let calls = move_calls(&self.link.keys, from, moves, due_by, max_moves);
        let op = match due_by {
            Some(_) => "move due jobs",
            None => "move jobs",
        };
        batch::run(&self.link, op, &scripts::MOVE, calls, moves.len()).await
    }

    async fn clear(&self, source: &Source) -> Result<Cleared, StorageError> {
        clear(&self.link, source)
            .await
            .map_err(|failure| failure.during("clear a queue or a set"))
    }
}

/// How many entries of a queue one call may skip: each of its jobs costs a walk through the list,
/// and the server does nothing else meanwhile. Measured: about 20 ms for a million.
const MAX_WALK: usize = 200_000;

/// The next jobs after the `cursor` that came last.
async fn scan_queue(
    link: &Link,
    queue: &QueueName,
    cursor: u64,
    texts: &[String],
) -> Result<Scan, Failure> {
    let request = ListRequest {
        from: Position::Index(cursor),
        order: Order::NewestFirst,
        texts: texts.to_vec(),
        ..ListRequest::default()
    };
    let listing = lists::list(link, link.keys.queue(queue), false, &request).await?;
    let mut jobs = listing.jobs;
    for waiting in &mut jobs {
        waiting.index = None;
    }
    let read = listing.looked_at;
    Ok(Scan {
        jobs,
        looked_at: read,
        next: (read > 0).then_some(cursor.saturating_add(read as u64)),
    })
}

/// How many jobs one call may move.
async fn max_moves(link: &Link, from: &Source) -> usize {
    let Source::Queue(queue) = from else {
        return MAX_BATCH_JOBS;
    };
    let mut command = redis::cmd("LLEN");
    command.arg(link.keys.queue(queue));
    let length = link.ask(&command).await.and_then(reply::count);
    // An error here occurs again with the moves, and is reported then.
    let length = length.unwrap_or(usize::MAX).max(1);
    (MAX_WALK / length).clamp(1, MAX_BATCH_JOBS)
}

/// The moves as calls of the script `move` for at most `max_moves` jobs, with the places of their
/// answers, in the order to send them.
fn move_calls<'a>(
    keys: &Keys,
    from: &Source,
    moves: &'a [Move],
    due_by: Option<SystemTime>,
    max_moves: usize,
) -> Vec<(Range<usize>, Call<'a>)> {
    let (key, kind) = source(keys, from);
    let call = |range: Range<usize>| {
        let mut targets = KeyList::new(vec![key.clone(), keys.set(JobSet::Dead), keys.queues()]);
        let due_by = due_by.map_or(borrowed(""), |due_by| arg(unix_seconds(due_by)));
        let mut args = vec![borrowed(kind), due_by];
        let moves = &moves[range.clone()];
        effect_args::push(
            &mut args,
            keys,
            &mut targets,
            moves.iter().map(|one| &one.effects[..]),
        );
        for Move { held, to, .. } in moves {
            match to {
                MoveTarget::Delete => args.extend([borrowed("delete"), borrowed(held)]),
                MoveTarget::Replace { job } => {
                    args.extend([borrowed("replace"), borrowed(held), borrowed(job)]);
                }
                MoveTarget::Queue { queue, job } => args.extend([
                    borrowed("queue"),
                    borrowed(held),
                    arg(targets.index(keys.queue(queue))),
                    borrowed(queue.as_str()),
                    borrowed(job),
                ]),
                MoveTarget::Set { set, job } => args.extend([
                    borrowed("set"),
                    borrowed(held),
                    arg(targets.index(keys.set((*set).into()))),
                    arg(unix_seconds(job.at)),
                    borrowed(&job.job),
                ]),
                MoveTarget::Dead { job, limits } => {
                    args.extend([borrowed("dead"), borrowed(held)]);
                    push_dead(&mut args, job, *limits);
                }
            }
        }
        let keys = targets.keys;
        (range, Call { keys, args })
    };
    cut(moves.iter().map(bytes))
        .into_iter()
        .flat_map(|range| {
            let end = range.end;
            let starts = range.step_by(max_moves);
            starts.map(move |start| start..end.min(start + max_moves))
        })
        .map(call)
        .collect()
}

async fn clear(link: &Link, of: &Source) -> Result<Cleared, Failure> {
    let (key, kind) = source(&link.keys, of);
    let mut keys = vec![key, link.keys.marks(), link.keys.locks()];
    let mut args = vec![borrowed(kind)];
    if let Source::Queue(queue) = of {
        keys.push(link.keys.queues());
        args.push(borrowed(queue.as_str()));
    }
    match link.run(&scripts::CLEAR, &keys, &args).await? {
        Value::Int(-1) => Ok(Cleared::HasEffects),
        jobs => Ok(Cleared::Jobs(reply::count(jobs)?)),
    }
}

/// The key of a source, and its type.
fn source(keys: &Keys, source: &Source) -> (Key, &'static str) {
    match source {
        Source::Queue(queue) => (keys.queue(queue), "list"),
        Source::Set(set) => (keys.set(*set), "zset"),
    }
}

fn bytes(step: &Move) -> usize {
    let payload = match &step.to {
        MoveTarget::Delete => 0,
        MoveTarget::Replace { job } | MoveTarget::Queue { job, .. } => job.len(),
        MoveTarget::Set { job, .. } | MoveTarget::Dead { job, .. } => job.job.len(),
    };
    step.held.len() + payload + effect_args::bytes(&step.effects)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn calls_are_as_short_as_asked_for() {
        let step = Move::new(Bytes::from("job"), MoveTarget::Delete);
        let (moves, from) = (vec![step; 205], Source::Set(JobSet::Dead));
        for (max_moves, lengths) in [(100, vec![100, 100, 5]), (1, vec![1; 205])] {
            let calls = move_calls(&Keys::default(), &from, &moves, None, max_moves);
            let found: Vec<usize> = calls.iter().map(|(range, _)| range.len()).collect();
            assert_eq!(found, lengths);
        }
    }
}
