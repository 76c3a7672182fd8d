//! The processes of the fleet, in the keys of Sidekiq.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use bb8_redis::redis::{self, Value};
use bytes::Bytes;
use verk_core::{
    StorageError, log,
    storage::{
        MAX_BATCH_BYTES, MAX_BATCH_JOBS, ProcessReport, ProcessSignal, ProcessStore, ShownWork,
        WorkPage, WorkPlace,
    },
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

    async fn process(&self, identity: &str) -> Result<Option<ProcessReport>, StorageError> {
        find(&self.link, identity)
            .await
            .map_err(|failure| failure.during("read the report of a process"))
    }

    async fn work(&self, from: Option<&WorkPlace>, limit: usize) -> Result<WorkPage, StorageError> {
        work(&self.link, from, limit)
            .await
            .map_err(|failure| failure.during("read running jobs"))
    }

    async fn signal_process(
        &self,
        identity: &str,
        signal: ProcessSignal,
    ) -> Result<bool, StorageError> {
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

async fn send(link: &Link, identity: &str, signal: ProcessSignal) -> Result<bool, Failure> {
    let id = identity.as_bytes();
    let keys = [
        link.keys.processes(),
        link.keys.process(id),
        link.keys.signals(id),
    ];
    let args = [Arg::Borrowed(id), arg(TTL), arg(name(signal))];
    let sent = link.run(&scripts::SIGNAL_PROCESS, &keys, &args).await?;
    Ok(reply::integer(sent)? == 1)
}

async fn list(link: &Link) -> Result<Vec<ProcessReport>, Failure> {
    let mut processes = Vec::new();
    for ids in ids(link).await?.chunks(MAX_BATCH_JOBS) {
        let mut commands = redis::pipe();
        for id in ids {
            commands
                .cmd("HMGET")
                .arg(link.keys.process(id))
                .arg(&FIELDS);
        }
        let mut replies = link.ask_all(&commands).await?.into_iter();
        for id in ids {
            let Some(hash) = replies.next() else {
                return Err(Failure::unexpected_reply("a reply for each process"));
            };
            processes.extend(read(id, hash)?);
        }
    }
    Ok(processes)
}

async fn find(link: &Link, identity: &str) -> Result<Option<ProcessReport>, Failure> {
    let id = identity.as_bytes();
    let mut commands = redis::pipe();
    commands
        .cmd("SISMEMBER")
        .arg(link.keys.processes())
        .arg(id)
        .cmd("HMGET")
        .arg(link.keys.process(id))
        .arg(&FIELDS);
    let replies = link.ask_all(&commands).await?;
    let Ok([listed, hash]) = <[_; 2]>::try_from(replies) else {
        return Err(Failure::unexpected_reply("two replies for a process"));
    };
    if reply::integer(listed?)? == 0 {
        return Ok(None);
    }
    read(id, hash)
}

async fn work(link: &Link, from: Option<&WorkPlace>, limit: usize) -> Result<WorkPage, Failure> {
    let mut ids = ids(link).await?;
    // A name that is no text is none that verk or Sidekiq writes.
    ids.retain(|id| text(id).is_some());
    let mut cursor = 0;
    if let Some(from) = from {
        ids.retain(|id| **id >= *from.identity.as_bytes());
        if ids.first().is_some_and(|id| *id == from.identity) {
            cursor = from.cursor;
        }
    }
    let limit = limit.clamp(1, MAX_BATCH_JOBS);
    let mut page = WorkPage::default();
    let mut room = MAX_BATCH_BYTES;
    for ids in ids.chunks(MAX_BATCH_JOBS) {
        let keys = |id: &Bytes| {
            let keys = &link.keys;
            [keys.process(id), keys.work(id), keys.workers(id)]
        };
        let keys: Vec<_> = ids.iter().flat_map(keys).collect();
        let left = limit.saturating_sub(page.work.len());
        let args = [arg(cursor), arg(left), arg(room)];
        let reply = link.ask_script_of(&scripts::WORK, &keys, &args).await?;
        let mut values = reply::array(reply)?.into_iter();
        let (Some(next), Some(next_cursor)) = (values.next(), values.next()) else {
            return Err(Failure::unexpected_reply("the place of the next jobs"));
        };
        while let (Some(process), Some(thread), Some(job)) =
            (values.next(), values.next(), values.next())
        {
            let Some(id) = ids.get(reply::count(process)?) else {
                return Err(Failure::unexpected_reply("jobs of these processes"));
            };
            let work = reply::payload(job)?;
            room = room.saturating_sub(work.len());
            if let (Some(identity), Ok(thread)) = (text(id), reply::text(thread)) {
                page.work.push(ShownWork {
                    identity,
                    thread,
                    work,
                });
            }
        }
        let next = usize::try_from(reply::integer(next)?).ok();
        if let Some(id) = next.and_then(|next| ids.get(next)) {
            cursor = cursor_of(next_cursor)?;
            page.next = text(id).map(|identity| WorkPlace { identity, cursor });
            return Ok(page);
        }
        cursor = 0;
    }
    Ok(page)
}

fn cursor_of(value: Value) -> Result<u64, Failure> {
    let cursor = reply::text(value)?.parse();
    cursor.map_err(|_| Failure::unexpected_reply("a cursor"))
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

/// Reads the report of a process of any program; `None` if it is not shown, or if the key has
/// another type. Values that another program left out, or wrote in another form, are 0.
fn read(id: &[u8], hash: Result<Value, Failure>) -> Result<Option<ProcessReport>, Failure> {
    let hash = match hash {
        Err(failure) if failure.is_wrong_type() => return Ok(None),
        hash => hash?,
    };
    let Ok([info, concurrency, busy, beat, quiet, rss, rtt]) =
        <[Value; 7]>::try_from(reply::array(hash)?)
    else {
        return Err(Failure::unexpected_reply("the fields of a process"));
    };
    let (Some(identity), Ok(info)) = (text(id), reply::payload(info)) else {
        return Ok(None);
    };
    Ok(Some(ProcessReport {
        identity,
        info,
        concurrency: reply::number(concurrency),
        busy: reply::number(busy),
        quiet: reply::text(quiet).is_ok_and(|quiet| quiet == "true"),
        beat: from_unix_seconds(reply::number(beat)),
        rss: reply::number(rss),
        rtt: Duration::from_micros(reply::number(rtt)),
        work: BTreeMap::new(),
        sidekiq_6_work: false,
    }))
}

fn text(id: &[u8]) -> Option<String> {
    String::from_utf8(id.to_vec()).ok()
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
