//! Drain of jobs with payloads of five sizes.

use anyhow::Result;
use serde_json::json;

use super::drain;
use crate::{
    child::Load,
    lab::Lab,
    report::{Measured, Report},
    server::Server,
    systems::Contender,
};

/// ARGV[1] jobs of about ARGV[2] bytes, from ARGV[3] on. The bytes are in a key that no system
/// reads, so a job does not depend on them.
const PAYLOADS: &str = r#"
local padding = string.rep('x', ARGV[2])
for i = 1, tonumber(ARGV[1]) do
  local number = string.format('%024d', ARGV[3] + i)
  redis.call('LPUSH', 'queue:bench-0', '{"jid":"' .. number .. '","class":"Bench","args":[0,0],"queue":"bench-0","padding":"' .. padding .. '"}')
end"#;

/// The name of a payload, its bytes, and how many jobs have it.
const SIZES: [(&str, u64, u64); 5] = [
    ("100_b", 100, 50_000),
    ("1_kb", 1_000, 20_000),
    ("10_kb", 10_000, 5_000),
    ("100_kb", 100_000, 1_000),
    ("1_mb", 1_000_000, 150),
];

/// How many bytes one script stores: the server does nothing else meanwhile.
const PORTION: u64 = 5_000_000;

/// The parts have the rate of verk and of the floor for each size, with 1, 25 and 100 jobs at once.
pub(crate) fn run(lab: &Lab) -> Report {
    let mut report = Report::new("payloads", "jobs_per_s", &[], Vec::new());
    for (size, bytes, usual) in SIZES {
        // The server must have room for all of them.
        let most = if lab.settings.quick {
            10_000_000
        } else {
            1_000_000_000
        } / bytes;
        for concurrency in [1, 25, 100] {
            let load = Load {
                concurrency,
                ..Load::of(lab.settings.jobs(usual).min(most))
            };
            let name = format!("{size}_at_{concurrency}");
            report = report.with(&name, of(lab, &name, bytes, &load));
        }
    }
    report
}

fn of(lab: &Lab, name: &str, bytes: u64, load: &Load) -> Report {
    let what = format!("payloads, {name}");
    let contenders = [Contender::verk(), lab.floor()];
    let outcomes = lab.measure(&what, &contenders, |contender| {
        measure(contender, bytes, load)
    });
    let settings = [
        ("payload_bytes", json!(bytes)),
        ("concurrency", json!(load.concurrency)),
        ("jobs", json!(load.jobs)),
        ("runs", json!(lab.settings.runs())),
    ];
    Report::new("payloads", "jobs_per_s", &settings, outcomes)
}

/// Also has how long the server, and the whole, take for each megabyte of payloads.
fn measure(contender: &Contender, bytes: u64, load: &Load) -> Result<Measured> {
    let server = Server::start();
    let jobs = load.jobs.unwrap_or(1);
    let portion = (PORTION / bytes).max(1);
    for from in (0..jobs).step_by(portion as usize) {
        let count = portion.min(jobs - from);
        let args = [count, bytes, from].map(|number| number.to_string());
        server.fill(PAYLOADS, &args.each_ref().map(String::as_str))?;
    }
    let before = server.fetching_ms()?;
    let mut measured = drain::run_jobs(contender, load, &server, &server.url())?;
    let server_ms = server.fetching_ms()? - before;
    let megabytes = (jobs * bytes) as f64 / 1e6;
    let rate = measured.first().map_or(0.0, |(_, jobs_per_s)| *jobs_per_s);
    measured.push(("mb_per_s", rate * bytes as f64 / 1e6));
    measured.push(("server_ms_per_mb", server_ms / megabytes));
    measured.push(("wall_ms_per_mb", jobs as f64 / rate * 1e3 / megabytes));
    Ok(measured)
}
