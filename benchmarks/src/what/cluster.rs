//! What a job, and a process without jobs, cost the servers of a cluster: in one slot of it, and in
//! 16 cells.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use benchmark_harness::Role;
use serde_json::json;

use crate::{
    child::{Child, Load},
    lab::{self, Lab, Named},
    report::{Measured, Outcome, Report},
    systems::Contender,
    topology::{Found, Servers, Spent, Topology},
};

const PLAIN: Topology = Topology {
    name: "plain",
    cells: None,
    replicas: false,
};
const SLOT: Topology = Topology {
    name: "slot",
    cells: Some(1),
    replicas: true,
};
const CELLS: Topology = Topology {
    name: "cells_16",
    cells: Some(16),
    replicas: true,
};
const SLOT_ALONE: Topology = Topology {
    name: "slot_without_replicas",
    replicas: false,
    ..SLOT
};
const CELLS_ALONE: Topology = Topology {
    name: "cells_16_without_replicas",
    replicas: false,
    ..CELLS
};

/// How many queues the jobs are in.
const QUEUES: u64 = 16;
/// How many jobs a second arrive in `stream`: as many as in `nodes`.
const RATE: u64 = 2_000;
/// How many tasks enqueue them.
const RATE_TASKS: u64 = 8;
/// For how many numbers of queues the tool counts how they are spread.
const SPREAD: [u64; 4] = [16, 64, 256, 1024];
/// How many processes are idle at once.
const PROCESSES: u64 = 10;
/// How long all processes may take to register.
const START: Duration = Duration::from_secs(60);
/// How often the tool checks whether they have registered.
const LOOK: Duration = Duration::from_millis(50);
/// The start of the processes is over by then.
const SETTLE: Duration = Duration::from_secs(3);

/// What is done with the jobs.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// 50 tasks enqueue them one by one.
    Enqueue,
    /// One task enqueues them by calls of 1000.
    Bulk,
    /// One process runs those that wait, 25 of each queue at once.
    Drain,
    /// One process enqueues some each second, and another runs them.
    Stream,
}

/// Processes without jobs.
struct Fleet {
    name: &'static str,
    topology: Topology,
    processes: u64,
    queues: u64,
}

impl Named for Fleet {
    fn name(&self) -> &str {
        self.name
    }
}

/// The parts `enqueue`, `bulk`, `drain` and `stream` have what a job costs the servers, `idle` what
/// processes without jobs cost them, and `spread` how many queues each primary has.
pub(crate) fn run(lab: &Lab) -> Result<Report> {
    let all = [PLAIN, SLOT_ALONE, SLOT, CELLS_ALONE, CELLS];
    Ok(Report::new("cluster", "redis_us_per_job", &[], Vec::new())
        .with("enqueue", jobs(lab, Step::Enqueue, &all))
        .with("bulk", jobs(lab, Step::Bulk, &all))
        .with("drain", jobs(lab, Step::Drain, &all))
        .with("stream", jobs(lab, Step::Stream, &[PLAIN, SLOT, CELLS]))
        .with("idle", idle(lab))
        .with("spread", spread(lab)?))
}

fn jobs(lab: &Lab, step: Step, topologies: &[Topology]) -> Report {
    let load = load(lab, step);
    let what = format!("cluster, {step:?}");
    let rows = lab.measure(&what, topologies, |topology| {
        measure(*topology, step, &load)
    });
    let settings = [
        ("jobs", json!(load.jobs)),
        ("jobs_per_s", json!(load.rate)),
        ("queues", json!(load.queues)),
        ("concurrency_of_a_queue", json!(load.concurrency)),
        ("runs", json!(lab.settings.runs())),
    ];
    Report::new("cluster", "redis_us_per_job", &settings, Vec::new()).rows(rows)
}

fn load(lab: &Lab, step: Step) -> Load {
    let jobs = lab.settings.jobs(320_000);
    let load = Load {
        queues: QUEUES,
        ..Load::of(jobs)
    };
    match step {
        Step::Enqueue => Load { tasks: 50, ..load },
        Step::Bulk => Load {
            batch: 1000.min(jobs.div_ceil(QUEUES)),
            ..load
        },
        Step::Drain => load,
        Step::Stream => Load {
            jobs: Some(RATE * (lab.settings.watch().as_secs() / 4).max(1)),
            tasks: RATE_TASKS,
            rate: Some(RATE),
            ..load
        },
    }
}

fn measure(topology: Topology, step: Step, load: &Load) -> Result<Measured> {
    let (verk, servers) = (Contender::verk(), Servers::start(topology));
    let load = Load {
        prefix: servers.prefix(),
        ..load.clone()
    };
    let start = |role| Child::start(&verk, role, &servers.url(), &load);
    let mut program = match step {
        Step::Enqueue | Step::Bulk => start(Role::Enqueue)?,
        Step::Drain => {
            lab::fill(&verk, &servers.url(), &load)?;
            start(Role::Work)?
        }
        Step::Stream => start(Role::Work)?,
    };
    let mut producer = None;
    if matches!(step, Step::Stream) {
        program.go()?;
        wait_until_registered(&servers, topology, 1)?;
        producer = Some(start(Role::Enqueue)?);
    }
    servers.wait_for_replicas()?;
    let before = servers.look()?;
    producer.as_mut().unwrap_or(&mut program).go()?;
    let done = program.done()?;
    let usage = program.usage()?;
    servers.wait_for_replicas()?;
    let spent = servers.look()?.since(&before)?;
    let jobs = done.jobs as f64;
    let mut measured = vec![("redis_us_per_job", spent.cpu() * 1e6 / jobs)];
    measured.extend(of_some(&spent, "replica_us_per_job", 1e6 / jobs));
    measured.push(("commands_per_job", spent.commands_except(1.0) / jobs));
    measured.push(("reads_per_job", spent.reads() / jobs));
    measured.push(("cpu_us_per_job", usage.cpu.as_secs_f64() * 1e6 / jobs));
    measured.push(("jobs_per_s", jobs / done.seconds));
    Ok(measured)
}

/// The figures that only clusters have. The time of replicas is multiplied.
fn of_some(spent: &Spent, replicas: &'static str, times: f64) -> Measured {
    let cpu = spent.replica_cpu().map(|cpu| (replicas, cpu * times));
    let busiest = spent.busiest().map(|part| ("busiest_primary", part));
    cpu.into_iter().chain(busiest).collect()
}

fn idle(lab: &Lab) -> Report {
    let fleet = |name, topology, processes, queues| Fleet {
        name,
        topology,
        processes,
        queues,
    };
    let fleets = [
        fleet("no_process", CELLS, 0, QUEUES),
        fleet("cell_01_queue_01", SLOT, 1, 1),
        fleet("cell_01_queues_16", SLOT, 1, QUEUES),
        fleet("cells_16_queue_01", CELLS, 1, 1),
        fleet("cells_16_queues_16", CELLS, 1, QUEUES),
        fleet("cell_01_queues_16_processes_10", SLOT, PROCESSES, QUEUES),
        fleet("cells_16_queues_16_processes_10", CELLS, PROCESSES, QUEUES),
    ];
    let watch = lab.settings.watch();
    let rows = lab.measure("cluster, idle", &fleets, |fleet| watched(fleet, watch));
    let settings = [
        ("seconds", json!(watch.as_secs_f64())),
        ("runs", json!(lab.settings.runs())),
    ];
    Report::new("cluster", "redis_cpu_percent", &settings, Vec::new()).rows(rows)
}

fn watched(fleet: &Fleet, watch: Duration) -> Result<Measured> {
    let (verk, servers) = (Contender::verk(), Servers::start(fleet.topology));
    let load = Load {
        jobs: None,
        queues: fleet.queues,
        prefix: servers.prefix(),
        ..Load::of(0)
    };
    let mut workers = Vec::new();
    for _ in 0..fleet.processes {
        workers.push(Child::start(&verk, Role::Work, &servers.url(), &load)?);
    }
    for worker in &mut workers {
        worker.go()?;
    }
    wait_until_registered(&servers, fleet.topology, fleet.processes)?;
    thread::sleep(SETTLE);
    let usage = || workers.iter().map(Child::usage).collect::<Result<Vec<_>>>();
    let (before, used, begun) = (servers.look()?, usage()?, Instant::now());
    // Each command costs the server a little more meanwhile.
    let sent = servers.count_sent(watch)?;
    let (after, usage, seconds) = (servers.look()?, usage()?, begun.elapsed().as_secs_f64());
    let spent = after.since(&before)?;
    // Before there are monitors.
    let (connections, most) = before.connections();
    let mut measured = vec![("redis_cpu_percent", spent.cpu() * 100.0 / seconds)];
    measured.extend(of_some(&spent, "replica_cpu_percent", 100.0 / seconds));
    measured.extend([
        // Two of the commands are ours: MONITOR, and INFO.
        ("commands_per_s", spent.commands_except(2.0) / seconds),
        ("sent_per_s", sent as f64 / watch.as_secs_f64()),
        ("connections", connections),
        ("connections_of_one_primary", most),
    ]);
    if !workers.is_empty() {
        let of_each = workers.len() as f64;
        let cpu = usage.iter().zip(&used);
        let cpu = cpu.map(|(after, before)| after.cpu.saturating_sub(before.cpu));
        let cpu: Duration = cpu.sum();
        measured.extend([
            (
                "cpu_percent_of_a_process",
                cpu.as_secs_f64() * 100.0 / seconds / of_each,
            ),
            (
                "mib_of_a_process",
                usage.iter().map(|one| one.mib).sum::<f64>() / of_each,
            ),
            (
                "threads_of_a_process",
                usage.iter().map(|one| one.threads).sum::<f64>() / of_each,
            ),
        ]);
    }
    Ok(measured)
}

fn wait_until_registered(servers: &Servers, topology: Topology, processes: u64) -> Result<()> {
    let wanted = processes.cast_signed() * topology.cells.unwrap_or(1) as i64;
    let until = Instant::now() + START;
    loop {
        let registered = servers.registrations()?;
        if registered >= wanted {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "only {registered} of {wanted} registrations"
        );
        thread::sleep(LOOK);
    }
}

/// Enqueues a job into each of some queues, and looks where it is. The settings have the place of
/// each of the queues of the other parts.
fn spread(lab: &Lab) -> Result<Report> {
    let (mut rows, mut places) = (Vec::new(), String::new());
    for queues in if lab.settings.quick {
        &SPREAD[..1]
    } else {
        &SPREAD[..]
    } {
        let (verk, servers) = (Contender::verk(), Servers::start(CELLS));
        let load = Load {
            queues: *queues,
            ..Load::of(*queues)
        };
        let mut producer = Child::start(&verk, Role::Enqueue, &servers.url(), &load)?;
        producer.go()?;
        producer.done()?;
        let found = servers.queues()?;
        ensure!(
            found.len() as u64 == *queues,
            "{} of {queues} queues have jobs",
            found.len()
        );
        let of = |primary| found.iter().filter(|one| one.primary == primary).count() as f64;
        let cells: BTreeSet<&str> = found.iter().map(|one| &*one.cell).collect();
        let most = f64::max(of(0), of(1)).max(of(2));
        let measured = vec![
            ("busiest_primary", most / *queues as f64),
            ("cells_with_jobs", cells.len() as f64),
            ("queues_of_primary_1", of(0)),
            ("queues_of_primary_2", of(1)),
            ("queues_of_primary_3", of(2)),
        ];
        rows.push((format!("queues_{queues:04}"), Outcome::of(&[measured])));
        if *queues == QUEUES {
            let place = |one: &Found| {
                format!(
                    "{} in cell {} of primary {}",
                    one.queue,
                    one.cell,
                    one.primary + 1
                )
            };
            places = found.iter().map(place).collect::<Vec<_>>().join(", ");
        }
    }
    let settings = [("cells", json!(CELLS.cells)), ("places", json!(places))];
    Ok(Report::new("cluster", "busiest_primary", &settings, Vec::new()).rows(rows))
}
