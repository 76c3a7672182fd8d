//! Statistics: the counters, and the number of waiting jobs.

use async_trait::async_trait;
use bb8_redis::redis::{self, Value};
use verk_core::{
    QueueName, StorageError,
    names::NodeId,
    stats::{Day, DayStats},
    storage::{
        Counts, ExecutionStep, Histogram, JobSet, MAX_BATCH_JOBS, Minute, StatsReport, StatsStore,
        StoredExecutions, StoredQueueStats, StoredStats,
    },
};

use crate::{
    connect::{
        link::Link,
        reply,
        scripts::{self, Arg, arg},
    },
    error::Failure,
    executions,
    keys::{Key, Keys, StatsOf},
    storage::RedisStorage,
};

#[async_trait]
impl StatsStore for RedisStorage {
    async fn record_stats(
        &self,
        node: &NodeId,
        sequence: u64,
        report: &StatsReport,
    ) -> Result<bool, StorageError> {
        record(&self.link, node, sequence, report)
            .await
            .map_err(|failure| failure.during("store statistics"))
    }

    async fn stats(&self, queues: &[QueueName]) -> Result<StoredStats, StorageError> {
        read(&self.link, queues)
            .await
            .map_err(|failure| failure.during("read statistics"))
    }

    async fn day_stats(&self, days: &[Day]) -> Result<Vec<DayStats>, StorageError> {
        of_days(&self.link, days)
            .await
            .map_err(|failure| failure.during("read the statistics of days"))
    }

    async fn executions(
        &self,
        step: ExecutionStep,
        times: &[Minute],
        class: Option<&str>,
    ) -> Result<Vec<StoredExecutions>, StorageError> {
        executions::read(&self.link, step, times, class)
            .await
            .map_err(|failure| failure.during("read execution metrics"))
    }

    async fn histograms(
        &self,
        class: &str,
        minutes: &[Minute],
    ) -> Result<Vec<Histogram>, StorageError> {
        executions::histograms(&self.link, class, minutes)
            .await
            .map_err(|failure| failure.during("read how long runs took"))
    }
}

/// How long the number of a node's last report is kept, in seconds: longer than any wait for a
/// reply.
const SEQUENCE_TTL: u32 = 24 * 60 * 60;

/// How long the numbers of a day are kept, in seconds: 5 years, as Sidekiq does.
const DAY_TTL: u32 = 5 * 365 * 24 * 60 * 60;

/// How long execution metrics of a minute are kept, in seconds: 8 hours, as Sidekiq does.
const SHORT_TTL: u32 = 8 * 60 * 60;

/// How long execution metrics of ten minutes are kept, in seconds: 3 days, as Sidekiq does.
const MEDIUM_TTL: u32 = 3 * 24 * 60 * 60;

/// Nothing ends it.
const FOREVER: u32 = 0;

async fn record(
    link: &Link,
    node: &NodeId,
    sequence: u64,
    report: &StatsReport,
) -> Result<bool, Failure> {
    let mut counters = Entries::default();
    let mut add = |of: StatsOf<'_>, processed: u64, failed: u64, ttl: u32| {
        for (key, amount) in [
            (link.keys.processed(of), processed),
            (link.keys.failed(of), failed),
        ] {
            if amount > 0 {
                counters.add(key, [arg(ttl), arg(amount)]);
            }
        }
    };
    let total = report.total();
    add(StatsOf::All, total.processed(), total.failed, FOREVER);
    for (&day, counts) in &report.days {
        add(
            StatsOf::Day(day),
            counts.processed(),
            counts.failed,
            DAY_TTL,
        );
    }
    for (queue, counts) in &report.queues {
        add(
            StatsOf::Queue(queue),
            counts.succeeded,
            counts.failed,
            FOREVER,
        );
    }
    let (hashes, histograms) = executions_of(&link.keys, report);

    let args = [
        arg(sequence),
        arg(SEQUENCE_TTL),
        arg(counters.keys.len()),
        arg(hashes.keys.len()),
    ];
    let mut all = Entries {
        keys: vec![link.keys.node_stats(node)],
        args: args.into(),
    };
    for entries in [counters, hashes, histograms] {
        all.keys.extend(entries.keys);
        all.args.extend(entries.args);
    }
    let (keys, args) = (all.keys, all.args);
    let reply = link.run(&scripts::RECORD_STATS, &keys, &args).await?;
    Ok(reply::integer(reply)? == 1)
}

/// Keys, and the number to add to each.
#[derive(Default)]
struct Entries {
    keys: Vec<Key>,
    args: Vec<Arg<'static>>,
}

impl Entries {
    fn add(&mut self, key: Key, args: impl IntoIterator<Item = Arg<'static>>) {
        self.keys.push(key);
        self.args.extend(args);
    }

    fn add_words(&mut self, key: Key, ttl: u32, words: Vec<Arg<'static>>) {
        self.add(key, [arg(ttl), arg(words.len())].into_iter().chain(words));
    }
}

/// The execution metrics of Sidekiq 8: hashes by the minute and by ten minutes, and histograms.
fn executions_of(keys: &Keys, report: &StatsReport) -> (Entries, Entries) {
    let (mut hashes, mut histograms) = (Entries::default(), Entries::default());
    for (&minute, classes) in &report.executions {
        let mut fields = Vec::new();
        for (class, executions) in classes {
            for (name, amount) in [
                ("p", u128::from(executions.counts.processed())),
                ("f", u128::from(executions.counts.failed)),
                ("ms", executions.took.as_millis()),
            ] {
                if amount > 0 {
                    fields.extend([arg(format_args!("{class}|{name}")), arg(amount)]);
                }
            }
            let buckets = executions.histogram.iter().enumerate();
            let words: Vec<_> = buckets
                .filter(|(_, count)| **count > 0)
                .flat_map(|(bucket, count)| [arg(bucket), arg(count)])
                .collect();
            if !words.is_empty() {
                histograms.add_words(keys.histogram(class, minute), SHORT_TTL, words);
            }
        }
        let ten_minutes = keys.executions_of_ten_minutes(minute);
        hashes.add_words(ten_minutes, MEDIUM_TTL, fields.clone());
        hashes.add_words(keys.executions(minute), SHORT_TTL, fields);
    }
    (hashes, histograms)
}

async fn read(link: &Link, queues: &[QueueName]) -> Result<StoredStats, Failure> {
    let keys = &link.keys;
    let mut commands = redis::pipe();
    commands
        .cmd("GET")
        .arg(keys.processed(StatsOf::All))
        .cmd("GET")
        .arg(keys.failed(StatsOf::All));
    for set in [JobSet::Schedule, JobSet::Retry, JobSet::Dead] {
        commands.cmd("ZCARD").arg(keys.set(set));
    }
    let mut stats = StoredStats::default();
    let mut left = queues;
    loop {
        let (some, others) = left.split_at(left.len().min(MAX_BATCH_JOBS));
        for queue in some {
            let of = StatsOf::Queue(queue);
            commands
                .cmd("GET")
                .arg(keys.processed(of))
                .cmd("GET")
                .arg(keys.failed(of))
                .cmd("LLEN")
                .arg(keys.queue(queue))
                .cmd("LINDEX")
                .arg(keys.queue(queue))
                .arg(-1);
        }
        let mut replies = link.ask_all(&commands).await?.into_iter();
        let mut next = || {
            replies
                .next()
                .ok_or_else(|| Failure::unexpected_reply("a reply to each command"))?
        };
        if left.len() == queues.len() {
            stats.processed = counter(next()?)?;
            stats.failed = counter(next()?)?;
            stats.scheduled = reply::count(next()?)?;
            stats.retry = reply::count(next()?)?;
            stats.dead = reply::count(next()?)?;
        }
        for _ in some {
            stats.queues.push(StoredQueueStats {
                counts: Counts {
                    succeeded: counter(next()?)?,
                    failed: counter(next()?)?,
                },
                enqueued: reply::count(next()?)?,
                oldest: match next()? {
                    Value::Nil => None,
                    payload => Some(reply::payload(payload)?),
                },
            });
        }
        if others.is_empty() {
            return Ok(stats);
        }
        left = others;
        commands = redis::pipe();
    }
}

async fn of_days(link: &Link, days: &[Day]) -> Result<Vec<DayStats>, Failure> {
    let mut stats = Vec::with_capacity(days.len());
    for days in days.chunks(MAX_BATCH_JOBS) {
        let mut commands = redis::pipe();
        for &day in days {
            commands
                .cmd("GET")
                .arg(link.keys.processed(StatsOf::Day(day)))
                .cmd("GET")
                .arg(link.keys.failed(StatsOf::Day(day)));
        }
        let mut replies = link.ask_all(&commands).await?.into_iter();
        for &day in days {
            let (Some(processed), Some(failed)) = (replies.next(), replies.next()) else {
                return Err(Failure::unexpected_reply("two replies for each day"));
            };
            stats.push(DayStats::new(day, counter(processed?)?, counter(failed?)?));
        }
    }
    Ok(stats)
}

/// A missing counter is 0, and so is one below 0.
fn counter(value: Value) -> Result<u64, Failure> {
    match value {
        Value::Nil => Ok(0),
        value => Ok(u64::try_from(reply::integer(value)?).unwrap_or(0)),
    }
}
