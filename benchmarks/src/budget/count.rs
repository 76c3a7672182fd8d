//! Counting what a [`Workload`] takes.

use std::{
    collections::BTreeMap,
    env, fs,
    future::Future,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tokio::runtime;
use verk::redis::RedisStorage;
use verk_testing::{RedisServer, Reply};

use super::{WORKLOAD, workload::Workload};

/// With so many jobs, the commands that a node sends at its start and every few seconds are at most
/// a hundredth of all.
const JOBS_ON_REDIS: usize = 10_000;
const TRIES: usize = 3;
/// callgrind runs so many jobs, and twice as many. The difference is the cost of so many jobs.
const JOBS: usize = 2_000;

/// How many instructions a job takes, in the release profile, on a storage in memory: callgrind
/// counts them.
pub(super) fn instructions(workload: Workload) -> Result<f64> {
    instructions_by(|jobs| callgrind(workload, jobs, None))
}

/// The same with Redis, without its preparation: the instructions of the client library are
/// included.
pub(super) fn instructions_on_redis(workload: Workload) -> Result<f64> {
    instructions_by(|jobs| {
        let server = RedisServer::start();
        on_one_thread(async {
            let storage = RedisStorage::connect(server.url().as_str()).await?;
            workload.prepare(&storage, jobs).await
        })?;
        callgrind(workload, jobs, Some(server.url().as_str()))
    })
}

fn instructions_by(count: impl Fn(usize) -> Result<f64>) -> Result<f64> {
    let (once, twice) = (count(JOBS)?, count(2 * JOBS)?);
    Ok((twice - once) / JOBS as f64)
}

/// How many commands Redis runs for a job, those in scripts included, by name. It returns the least
/// of a few tries: when Redis is slow, one batch may become two.
pub(super) fn commands(workload: Workload) -> Result<BTreeMap<String, f64>> {
    let mut tries = Vec::new();
    for _ in 0..TRIES {
        tries.push(commands_once(workload)?);
    }
    let total = |commands: &BTreeMap<String, f64>| commands.values().sum::<f64>();
    let least = tries
        .into_iter()
        .min_by(|one, other| total(one).total_cmp(&total(other)));
    least.context("nothing was tried")
}

fn commands_once(workload: Workload) -> Result<BTreeMap<String, f64>> {
    let server = RedisServer::start();
    on_one_thread(async {
        let storage = RedisStorage::connect(server.url().as_str()).await?;
        workload.prepare(&storage, JOBS_ON_REDIS).await?;
        server.command(&["CONFIG", "RESETSTAT"]);
        workload.run(storage, JOBS_ON_REDIS).await
    })?;
    let Reply::Bulk(stats) = server.command(&["INFO", "commandstats"]) else {
        bail!("INFO answered something else");
    };
    String::from_utf8_lossy(&stats)
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="))
        .map(|(name, rest)| {
            let calls = rest.split(',').next().context("no number of calls")?;
            Ok((
                name.to_owned(),
                calls.parse::<f64>()? / JOBS_ON_REDIS as f64,
            ))
        })
        .collect()
}

/// Runs a workload for callgrind. The arguments are its name, a number of jobs, and the URL of a
/// Redis that has them; without a URL it runs in memory.
pub(super) fn run(args: &[String]) -> Result<()> {
    let (name, jobs, url) = match args {
        [name, jobs] => (name, jobs, None),
        [name, jobs, url] => (name, jobs, Some(url)),
        _ => bail!("a workload and a number of jobs are wanted"),
    };
    let workload = Workload::ALL.into_iter().find(|it| it.name() == name);
    let workload = workload.context("no such workload")?;
    let jobs = jobs.parse()?;
    on_one_thread(async {
        match url {
            Some(url) => {
                let storage = RedisStorage::connect(url.as_str()).await?;
                workload.run(storage, jobs).await
            }
            None => workload.run_in_memory(jobs).await,
        }
    })
}

/// With more threads, the number of instructions would depend on which thread runs a task.
fn on_one_thread(work: impl Future<Output = Result<()>>) -> Result<()> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

fn callgrind(workload: Workload, jobs: usize, url: Option<&str>) -> Result<f64> {
    let directory = TempDir::new()?;
    let counts = directory.path().join("counts");
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(env::current_exe()?)
        .args([WORKLOAD, workload.name(), &jobs.to_string()])
        .args(url)
        .stdin(Stdio::null())
        .output()
        .context("valgrind does not start: is it installed?")?;
    ensure!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let counts = fs::read_to_string(counts)?;
    let total = counts.lines().find_map(|line| line.strip_prefix("totals:"));
    Ok(total.context("callgrind has no total")?.trim().parse()?)
}
