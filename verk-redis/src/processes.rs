//! The processes of the fleet, in the keys of Sidekiq.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use bb8_redis::redis::{self, Value};
use bytes::Bytes;
use verk_core::{
    StorageError, log,
    storage::{MAX_BATCH_JOBS, ProcessReport, ProcessSignal, ProcessStore},
    time::{from_unix_seconds, unix_seconds},
};

use crate::{
    connect::{
        link::Link,
        reply,
        scripts::{self, Arg, arg},
    },
    error::Failure,
    storage::RedisStorage,
};

#[async_trait]
impl ProcessStore for RedisStorage {
    async fn report_process(
        &self,
        report: &ProcessReport,
    ) -> Result<Vec<ProcessSignal>, StorageError> {
        show(&self.link, report)
            .await
            .map_err(|failure| failure.during("show a process"))
    }

    async fn forget_process(&self, identity: &str) -> Result<(), StorageError> {
        forget(&self.link, identity)
            .await
            .map_err(|failure| failure.during("forget a process"))
    }

    async fn processes(&self) -> Result<Vec<ProcessReport>, StorageError> {
        list(&self.link)
            .await
            .map_err(|failure| failure.during("list the processes"))
    }

    async fn signal_process(
        &self,
        identity: &str,
        signal: ProcessSignal,
    ) -> Result<(), StorageError> {
        send(&self.link, identity, signal)
            .await
            .map_err(|failure| failure.during("ask something of a process"))
    }

    async fn prune_processes(&self) -> Result<usize, StorageError> {
        prune(&self.link)
            .await
            .map_err(|failure| failure.during("forget processes that ended"))
    }
}

/// How long a process is shown after its report, and a signal waits for it, in seconds.
const TTL: u32 = 60;

/// The fields that are read, in the order of [`read`].
const FIELDS: [&str; 7] = [
    "info",
    "concurrency",
    "busy",
    "beat",
    "quiet",
    "rss",
    "rtt_us",
];

async fn show(link: &Link, report: &ProcessReport) -> Result<Vec<ProcessSignal>, Failure> {
    let identity = report.identity.as_bytes();
    let mut keys = vec![
        link.keys.processes(),
        link.keys.process(identity),
        link.keys.signals(identity),
        link.keys.work(identity),
    ];
    if report.sidekiq_6_work {
        keys.push(link.keys.workers(identity));
    }
    let hash = [
        arg("info"),
        Arg::Borrowed(&report.info[..]),
        arg("concurrency"),
        arg(report.concurrency),
        arg("busy"),
        arg(report.busy),
        arg("beat"),
        arg(unix_seconds(report.beat)),
        arg("quiet"),
        arg(report.quiet),
        arg("rss"),
        arg(report.rss),
        arg("rtt_us"),
        arg(report.rtt.as_micros()),
    ];
    let mut args = vec![Arg::Borrowed(identity), arg(TTL), arg(hash.len())];
    args.extend(hash);
    for (tid, job) in &report.work {
        args.extend([Arg::Borrowed(tid.as_bytes()), Arg::Borrowed(&job[..])]);
    }
    let reply = link.run(&scripts::REPORT_PROCESS, &keys, &args).await?;
    let signals = reply::payloads(reply)?;
    Ok(signals.iter().filter_map(|name| signal(name)).collect())
}

async fn forget(link: &Link, identity: &str) -> Result<(), Failure> {
    let id = identity.as_bytes();
    let keys = [
        link.keys.processes(),
        link.keys.process(id),
        link.keys.signals(id),
        link.keys.work(id),
        link.keys.workers(id),
    ];
    link.run(&scripts::FORGET_PROCESS, &keys, &[Arg::Borrowed(id)])
        .await?;
    Ok(())
}

async fn send(link: &Link, identity: &str, signal: ProcessSignal) -> Result<(), Failure> {
    let key = link.keys.signals(identity.as_bytes());
    let mut commands = redis::pipe();
    commands
        .atomic()
        .cmd("LPUSH")
        .arg(&key)
        .arg(name(signal))
        .cmd("EXPIRE")
        .arg(&key)
        .arg(TTL);
    link.connection()
        .await?
        .query_transaction(&commands)
        .await?;
    Ok(())
}

async fn list(link: &Link) -> Result<Vec<ProcessReport>, Failure> {
    let mut processes = Vec::new();
    for ids in ids(link).await?.chunks(MAX_BATCH_JOBS) {
        let mut commands = redis::pipe();
        for id in ids {
            commands
                .cmd("HMGET")
                .arg(link.keys.process(id))
                .arg(&FIELDS)
                .cmd("HGETALL")
                .arg(link.keys.work(id));
        }
        let mut replies = link.ask_all(&commands).await?.into_iter();
        for id in ids {
            let (Some(hash), Some(work)) = (replies.next(), replies.next()) else {
                return Err(Failure::unexpected_reply("two replies for each process"));
            };
            processes.extend(read(id, hash?, work?)?);
        }
    }
    Ok(processes)
}

async fn prune(link: &Link) -> Result<usize, Failure> {
    let mut lock = redis::cmd("SET");
    lock.arg(link.keys.process_cleanup())
        .arg("1")
        .arg("NX")
        .arg("EX")
        .arg(TTL);
    if link.query(&lock).await? == Value::Nil {
        return Ok(0);
    }
    let mut pruned = 0;
    for ids in ids(link).await?.chunks(MAX_BATCH_JOBS) {
        let mut keys = vec![link.keys.processes()];
        keys.extend(ids.iter().map(|id| link.keys.process(id)));
        let args: Vec<_> = ids.iter().map(|id| Arg::Borrowed(&id[..])).collect();
        let reply = link.run(&scripts::PRUNE_PROCESSES, &keys, &args).await?;
        pruned += reply::count(reply)?;
    }
    Ok(pruned)
}

/// Every process that is listed, shown or not.
async fn ids(link: &Link) -> Result<Vec<Bytes>, Failure> {
    let mut members = redis::cmd("SMEMBERS");
    members.arg(link.keys.processes());
    let mut ids = reply::payloads(link.ask(&members).await?)?;
    ids.sort();
    Ok(ids)
}

/// Reads the report of a process of any program; `None` if it is not shown. Values that another
/// program left out, or wrote in another form, are 0.
fn read(id: &Bytes, hash: Value, work: Value) -> Result<Option<ProcessReport>, Failure> {
    let Ok([info, concurrency, busy, beat, quiet, rss, rtt]) =
        <[Value; 7]>::try_from(reply::array(hash)?)
    else {
        return Err(Failure::unexpected_reply("the fields of a process"));
    };
    let (Ok(identity), Ok(info)) = (String::from_utf8(id.to_vec()), reply::payload(info)) else {
        return Ok(None);
    };
    let mut all_work = BTreeMap::new();
    for (tid, job) in reply::pairs(work)? {
        all_work.insert(reply::text(tid)?, reply::payload(job)?);
    }
    Ok(Some(ProcessReport {
        identity,
        info,
        concurrency: number(concurrency),
        busy: number(busy),
        quiet: reply::text(quiet).is_ok_and(|quiet| quiet == "true"),
        beat: from_unix_seconds(number(beat)),
        rss: number(rss),
        rtt: Duration::from_micros(number(rtt)),
        work: all_work,
        sidekiq_6_work: false,
    }))
}

fn number<T: std::str::FromStr + Default>(value: Value) -> T {
    let text = reply::text(value).unwrap_or_default();
    text.parse().unwrap_or_default()
}

fn name(signal: ProcessSignal) -> &'static str {
    match signal {
        ProcessSignal::Quiet => "TSTP",
        ProcessSignal::Stop => "TERM",
        ProcessSignal::Dump => "TTIN",
    }
}

fn signal(name: &[u8]) -> Option<ProcessSignal> {
    match name {
        b"TSTP" => Some(ProcessSignal::Quiet),
        b"TERM" | b"INT" => Some(ProcessSignal::Stop),
        b"TTIN" => Some(ProcessSignal::Dump),
        other => {
            log::warn!(signal = %other.escape_ascii(), "asked for something that is not known");
            None
        }
    }
}
