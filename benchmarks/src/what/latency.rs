//! From sending a job to its first line, on a node that is otherwise idle. Producer and worker are
//! two processes.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result};
use benchmark_harness::Role;
use serde_json::json;

use crate::{
    child::{Child, Load},
    lab::Lab,
    report::{Measured, Report},
    server::Server,
    systems::Contender,
};

const EVERY: Duration = Duration::from_millis(10);

/// The start of a worker is over by then.
const SETTLE: Duration = Duration::from_secs(2);

/// The main figure is the median; the first 50 jobs are not counted.
pub(crate) fn run(lab: &Lab, contenders: &[Contender]) -> Report {
    let load = Load {
        every: Some(EVERY),
        ..Load::of(lab.settings.jobs(1000))
    };
    let outcomes = lab.measure("latency", contenders, |contender| measure(contender, &load));
    let settings = [
        ("jobs", json!(load.jobs)),
        ("every_ms", json!(EVERY.as_millis() as u64)),
        ("runs", json!(lab.settings.runs())),
    ];
    Report::new("latency", "p50_ms", &settings, outcomes)
}

fn measure(contender: &Contender, load: &Load) -> Result<Measured> {
    let load = &load.of_peer_if(contender, 500);
    let server = Server::start();
    let mut worker = Child::start(contender, Role::Work, &server.url(), load)?;
    let mut producer = Child::start(contender, Role::Enqueue, &server.url(), load)?;
    worker.go()?;
    thread::sleep(SETTLE);
    producer.go()?;
    producer.done()?;
    let latency = worker.done()?.latency.context("no job carried its time")?;
    Ok(vec![
        ("p50_ms", latency.p50_ms),
        ("p99_ms", latency.p99_ms),
        ("max_ms", latency.max_ms),
    ])
}
