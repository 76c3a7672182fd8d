//! What a node costs that has nothing to do.

use std::{thread, time::Duration};

use anyhow::Result;
use benchmark_harness::Role;
use serde_json::json;

use crate::{
    child::{Child, Load},
    lab::Lab,
    report::{Measured, Report},
    server::Server,
    systems::Contender,
};

/// The start of a worker is over by then.
const SETTLE: Duration = Duration::from_secs(3);

/// The main figure is how many commands Redis runs in a second, those in scripts included.
/// `sent_per_s` is how many it receives. All contenders are observed at once.
pub(crate) fn run(lab: &Lab, contenders: &[Contender]) -> Report {
    let outcomes = lab.measure_at_once("idle", contenders, |contender| {
        measure(lab, contender, 1, &Server::start())
    });
    let settings = [
        ("queues", json!(1)),
        ("seconds", json!(lab.settings.watch().as_secs())),
        ("runs", json!(lab.settings.runs())),
    ];
    Report::new("idle", "commands_per_s", &settings, outcomes)
}

/// Watches a worker of so many queues for a while.
pub(crate) fn measure(
    lab: &Lab,
    contender: &Contender,
    queues: u64,
    server: &Server,
) -> Result<Measured> {
    let load = Load {
        jobs: None,
        queues,
        ..Load::of(0)
    };
    let mut worker = Child::start(contender, Role::Work, &server.url(), &load)?;
    worker.go()?;
    thread::sleep(SETTLE);
    let (before, used) = (server.activity()?, worker.usage()?);
    let sent = server.count_sent(lab.settings.watch())?;
    let (after, usage) = (server.activity()?, worker.usage()?);
    let seconds = lab.settings.watch().as_secs_f64();
    // Two of the commands are ours: MONITOR, and INFO.
    let commands = after.commands - before.commands - 2.0;
    Ok(vec![
        ("commands_per_s", commands / seconds),
        ("sent_per_s", sent as f64 / seconds),
        (
            "cpu_percent",
            usage.cpu.saturating_sub(used.cpu).as_secs_f64() * 100.0 / seconds,
        ),
        (
            "redis_cpu_percent",
            (after.cpu - before.cpu) * 100.0 / seconds,
        ),
        ("mib", usage.mib),
    ])
}
