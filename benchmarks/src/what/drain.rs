//! Jobs that wait in Redis, run until none is left: from the first job's start to the last one's
//! end.

use std::{num::NonZero, thread, time::Duration};

use anyhow::Result;
use benchmark_harness::Role;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::{
    child::{Child, Load},
    lab::{self, Lab},
    report::{Measured, Report},
    server::Server,
    systems::{Contender, floor},
};

/// For how long the tool measures how much CPU other programs leave.
const PROBE: Duration = Duration::from_millis(500);

/// The main figure is that of 25 no-op jobs at once, from one queue. The parts are for verk and the
/// floor: 100 at once; four queues, 25 of each at once; a runtime with one thread, which is the
/// fastest setting where Redis needs a core; 2000 jobs at once that sleep 100 ms; the worker's log
/// at info, into a file; jobs that compute for 100 µs and for 1 ms.
pub(crate) fn run(lab: &Lab, contenders: &[Contender]) -> Result<Report> {
    let load = Load::of(lab.settings.jobs(100_000));
    let wide = Load {
        concurrency: 100,
        ..load.clone()
    };
    let four = Load {
        queues: 4,
        ..load.clone()
    };
    let narrow = Load {
        threads: Some(1),
        ..load.clone()
    };
    let sleeping = Load {
        concurrency: 2000,
        sleep: Duration::from_millis(100),
        ..load.clone()
    };
    let computing = |spin, usual| Load {
        spin,
        ..Load::of(lab.settings.jobs(usual))
    };
    let (short, long) = (
        computing(Duration::from_micros(100), 20_000),
        computing(Duration::from_millis(1), 4_000),
    );
    let file = NamedTempFile::new()?;
    let logged = Load {
        log: Some(file.path().to_owned()),
        ..load
    };
    let (verk, floor) = (Contender::verk(), lab.floor());
    // The floor runs one job after the other, and logs nothing.
    let (own, only_verk) = ([verk.clone(), floor], [verk]);
    Ok(plain(lab, contenders)
        .with(
            "concurrency_100",
            with(lab, "drain, 100 at once", &own, &wide),
        )
        .with("queues_4", with(lab, "drain, 4 queues", &own, &four))
        .with("one_thread", with(lab, "drain, one thread", &own, &narrow))
        .with(
            "sleep_100_ms",
            with(lab, "drain, sleeping jobs", &only_verk, &sleeping),
        )
        .with(
            "spin_100_us",
            with(lab, "drain, 100 µs of CPU", &only_verk, &short),
        )
        .with(
            "spin_1_ms",
            with(lab, "drain, 1 ms of CPU", &only_verk, &long),
        )
        .with(
            "log_info",
            with(lab, "drain, with a log", &only_verk, &logged),
        ))
}

/// Without the parts.
pub(crate) fn plain(lab: &Lab, contenders: &[Contender]) -> Report {
    with(
        lab,
        "drain",
        contenders,
        &Load::of(lab.settings.jobs(100_000)),
    )
}

fn with(lab: &Lab, what: &str, contenders: &[Contender], load: &Load) -> Report {
    let threads = load.threads.unwrap_or_else(benchmark_harness::threads);
    let outcomes = lab.measure(what, contenders, |contender| {
        let computes = !load.spin.is_zero();
        let available = computes.then(|| benchmark_harness::cores_available(threads, PROBE));
        let server = Server::start();
        let mut measured = measure(contender, load, &server, &server.url())?;
        if let Some((available, (_, rate))) = available.zip(measured.first().copied()) {
            // How many cores compute jobs. Redis, and the worker itself, need some CPU too.
            let busy = rate * load.spin.as_secs_f64();
            let cores = thread::available_parallelism().map_or(1, NonZero::get);
            measured.push(("of_ideal", busy / threads.min(cores) as f64));
            measured.push(("of_available", busy / available));
        }
        Ok(measured)
    });
    let settings = [
        ("jobs", json!(load.jobs)),
        ("concurrency", json!(load.concurrency)),
        ("queues", json!(load.queues)),
        ("sleep_ms", json!(load.sleep.as_millis() as u64)),
        ("spin_us", json!(load.spin.as_micros() as u64)),
        ("log", json!(load.log.is_some())),
        (
            "floor_ahead",
            json!(
                lab.settings
                    .floor_ahead
                    .unwrap_or_else(|| floor::most_ahead(load.concurrency as usize) as u64)
            ),
        ),
        ("threads", json!(threads)),
        ("runs", json!(lab.settings.runs())),
    ];
    Report::new("drain", "jobs_per_s", &settings, outcomes)
}

/// Fills the queues, and lets a worker that uses the server at `url` empty them.
pub(crate) fn measure(
    contender: &Contender,
    load: &Load,
    server: &Server,
    url: &str,
) -> Result<Measured> {
    let load = Load {
        jobs: load.jobs.map(|jobs| jobs.min(contender.most_jobs)),
        ..load.clone()
    };
    lab::fill(contender, &server.url(), &load)?;
    run_jobs(contender, &load, server, url)
}

/// Lets a worker run so many of the stored jobs.
pub(crate) fn run_jobs(
    contender: &Contender,
    load: &Load,
    server: &Server,
    url: &str,
) -> Result<Measured> {
    let mut worker = Child::start(contender, Role::Work, url, load)?;
    let before = server.activity()?;
    worker.go()?;
    let done = worker.done()?;
    let after = server.activity()?;
    let (jobs, usage) = (done.jobs as f64, worker.usage()?);
    Ok(vec![
        ("jobs_per_s", jobs / done.seconds),
        ("peak_mib", usage.peak_mib),
        ("cpu_us_per_job", usage.cpu.as_secs_f64() * 1e6 / jobs),
        ("redis_us_per_job", (after.cpu - before.cpu) * 1e6 / jobs),
        (
            "commands_per_job",
            (after.commands - before.commands) / jobs,
        ),
        ("reads_per_job", (after.reads - before.reads) / jobs),
    ])
}
