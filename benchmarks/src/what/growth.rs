//! How much other data in Redis costs: a million jobs that wait, a million that are scheduled, 100
//! other nodes.

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

/// How many scheduled jobs one script makes.
const PORTION: u64 = 10_000;

/// The main figure is the rate of `drain` on an empty Redis. The parts have that rate, and what an
/// idle node costs, with other data in Redis.
pub(crate) fn run(lab: &Lab) -> Report {
    let million = lab.settings.scaled(1_000_000);
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
            &server.url(),
            &Load {
                jobs,
                ..load.clone()
            },
        )?;
        drain::run_jobs(contender, load, &server, &server.url())
    })
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
