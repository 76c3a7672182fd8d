//! How much other data in Redis costs: a million jobs that wait, a million that are scheduled, 100
//! other nodes. And how much payloads of three sizes cost.

use anyhow::Result;
use serde_json::json;

use super::{drain, idle};
use crate::{
    child::Load,
    lab::{self, Lab},
    report::{Measured, Report},
    server::Server,
    systems::Contender,
};

/// Scheduled jobs for the far future, ARGV[1] of them from ARGV[2] on.
const SCHEDULE: &str = r#"
for i = 1, tonumber(ARGV[1]) do
  local number = string.format('%024d', ARGV[2] + i)
  redis.call('ZADD', 'schedule', 4e9 + i, '{"jid":"' .. number .. '","class":"Bench","args":[0,0],"queue":"bench-0"}')
end"#;

/// ARGV[1] live nodes, with a queue and a job in progress each.
const NODES: &str = r#"
for i = 1, tonumber(ARGV[1]) do
  local node = string.format('other-%d.%012x', i, i)
  redis.call('SET', 'verk:node:' .. node, 'alive', 'EX', 3600)
  redis.call('SADD', 'verk_nodes', node)
  redis.call('SADD', 'verk:node:' .. node .. ':queues', 'bench-0')
  redis.call('LPUSH', 'inprogress:bench-0:' .. node, '{"jid":"' .. i .. '","class":"Bench","args":[0,0],"queue":"bench-0"}')
end"#;

/// ARGV[1] jobs of about ARGV[2] bytes, from ARGV[3] on.
const PAYLOADS: &str = r#"
local padding = string.rep('x', ARGV[2])
for i = 1, tonumber(ARGV[1]) do
  local number = string.format('%024d', ARGV[3] + i)
  redis.call('LPUSH', 'queue:bench-0', '{"jid":"' .. number .. '","class":"Bench","args":[0,0],"queue":"bench-0","padding":"' .. padding .. '"}')
end"#;

/// The name of a payload, its bytes, and how many jobs have it.
const SIZES: [(&str, u64, u64); 3] = [
    ("payload_100_b", 100, 50_000),
    ("payload_10_kb", 10_000, 5_000),
    ("payload_1_mb", 1_000_000, 150),
];

/// How many scheduled jobs one script makes.
const PORTION: u64 = 10_000;

/// The main figure is the rate of `drain` on an empty Redis. The parts have that rate, and what an
/// idle node costs, with other data in Redis.
pub(crate) fn run(lab: &Lab) -> Report {
    let million = lab.settings.scaled(1_000_000);
    let mut report = beside_others(lab, million);
    for (name, bytes, jobs) in SIZES {
        for concurrency in [1, 25, 100] {
            let load = Load {
                concurrency,
                ..Load::of(lab.settings.jobs(jobs))
            };
            let name = format!("{name}_at_{concurrency}");
            report = report.with(&name, payloads(lab, &name, bytes, &load));
        }
    }
    report
}

fn beside_others(lab: &Lab, million: u64) -> Report {
    part(lab, "empty", |_| Ok(()))
        .with("waiting", waiting(lab, million))
        .with(
            "scheduled",
            part(lab, "scheduled", |server| {
                for from in (0..million).step_by(PORTION as usize) {
                    let count = PORTION.min(million - from);
                    server.fill(SCHEDULE, &[&count.to_string(), &from.to_string()])?;
                }
                Ok(())
            }),
        )
        .with(
            "nodes",
            part(lab, "nodes", |server| server.fill(NODES, &["100"])),
        )
}

fn part(lab: &Lab, beside: &str, prepare: impl Fn(&Server) -> Result<()>) -> Report {
    measured(lab, beside, |contender, load| {
        let server = Server::start();
        prepare(&server)?;
        let mut measured = drain::measure(contender, load, &server, &server.url())?;
        measured.extend(idle::measure(lab, contender, 1, &server)?);
        Ok(measured)
    })
}

/// The queue has a million jobs more than are run.
fn waiting(lab: &Lab, million: u64) -> Report {
    measured(lab, "waiting", |contender, load| {
        let server = Server::start();
        let jobs = load.jobs.map(|jobs| jobs + million);
        lab::fill(
            contender,
            &server,
            &Load {
                jobs,
                ..load.clone()
            },
        )?;
        drain::run_jobs(contender, load, &server, &server.url())
    })
}

/// How long the server, and the whole, take for each megabyte of payloads.
fn payloads(lab: &Lab, name: &str, bytes: u64, load: &Load) -> Report {
    let what = format!("growth, {name}");
    let jobs = load.jobs.unwrap_or(1);
    let megabytes = (jobs * bytes) as f64 / 1e6;
    let outcomes = lab.measure(&what, &[Contender::verk()], |contender| {
        let server = Server::start();
        // A few megabytes at a time: the server does nothing else meanwhile.
        let portion = (5_000_000 / bytes).max(1);
        for from in (0..jobs).step_by(portion as usize) {
            let count = portion.min(jobs - from);
            let args = [count, bytes, from].map(|number| number.to_string());
            server.fill(PAYLOADS, &args.each_ref().map(String::as_str))?;
        }
        let before = server.fetching_ms()?;
        let mut measured = drain::run_jobs(contender, load, &server, &server.url())?;
        let server_ms = server.fetching_ms()? - before;
        let rate = measured.first().map_or(0.0, |(_, jobs_per_s)| *jobs_per_s);
        measured.push(("server_ms_per_mb", server_ms / megabytes));
        measured.push(("wall_ms_per_mb", jobs as f64 / rate * 1e3 / megabytes));
        Ok(measured)
    });
    let settings = [
        ("payload_bytes", json!(bytes)),
        ("concurrency", json!(load.concurrency)),
        ("jobs", json!(jobs)),
        ("runs", json!(lab.settings.runs())),
    ];
    Report::new("growth", "jobs_per_s", &settings, outcomes)
}

fn measured(
    lab: &Lab,
    beside: &str,
    run: impl Fn(&Contender, &Load) -> Result<Measured>,
) -> Report {
    let load = Load::of(lab.settings.jobs(100_000));
    let what = format!("growth, {beside}");
    let outcomes = lab.measure(&what, &[Contender::verk()], |contender| {
        run(contender, &load)
    });
    let settings = [
        ("beside", json!(beside)),
        ("jobs", json!(load.jobs)),
        ("runs", json!(lab.settings.runs())),
    ];
    Report::new("growth", "jobs_per_s", &settings, outcomes)
}
