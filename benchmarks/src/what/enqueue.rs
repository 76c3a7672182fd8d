//! Jobs enqueued one by one: each call returns when its job is stored.

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

/// The main figure is the rate of one task; the part `tasks_50` has that of 50.
pub(crate) fn run(lab: &Lab, contenders: &[Contender]) -> Report {
    by(lab, contenders, 1, 10_000).with("tasks_50", by(lab, contenders, 50, 50_000))
}

fn by(lab: &Lab, contenders: &[Contender], tasks: u64, usual: u64) -> Report {
    let load = Load {
        tasks,
        ..Load::of(lab.settings.jobs(usual))
    };
    let what = format!("enqueue with {tasks} tasks");
    let outcomes = lab.measure(&what, contenders, |contender| measure(contender, &load));
    let settings = [
        ("tasks", json!(tasks)),
        ("jobs", json!(load.jobs)),
        ("runs", json!(lab.settings.runs())),
    ];
    Report::new("enqueue", "jobs_per_s", &settings, outcomes)
}

/// Also measures calls of many jobs.
pub(crate) fn measure(contender: &Contender, load: &Load) -> Result<Measured> {
    let load = &load.of_peer_if(contender, 5_000 * load.tasks.min(4) * load.batch.min(4));
    let server = Server::start();
    let mut producer = Child::start(contender, Role::Enqueue, &server.url(), load)?;
    let before = server.activity()?;
    producer.go()?;
    let done = producer.done()?;
    let after = server.activity()?;
    let (jobs, usage) = (done.jobs as f64, producer.usage()?);
    Ok(vec![
        ("jobs_per_s", jobs / done.seconds),
        ("cpu_us_per_job", usage.cpu.as_secs_f64() * 1e6 / jobs),
        ("redis_us_per_job", (after.cpu - before.cpu) * 1e6 / jobs),
        (
            "commands_per_job",
            (after.commands - before.commands) / jobs,
        ),
        ("reads_per_job", (after.reads - before.reads) / jobs),
    ])
}
